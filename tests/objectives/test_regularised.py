"""The training of the AWD-LSTM: masks are those of the generator, in evaluation there are none, AR and TAR are sums."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import transduce as td
from transduce.config import from_data
from transduce.data.lanes import Lanes
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.drops import LockedAdded, WeightDropLSTM, WordDropTable
from transduce.model.layout import Layout, dense, right_padded
from transduce.model.models import Model
from transduce.model.ops.dropout import dropout
from transduce.model.ops.locked import locked_dropout, word_factors
from transduce.objectives.carry import Carried
from transduce.objectives.language import NextTokenConfig
from transduce.objectives.regularised import RegularisedConfig
from transduce.runs.checkpoint import read_tensors
from transduce.runs.weights import weights

SIZE, VOCABULARY = 6, 13
NOTHING: dict[str, Any] = {
    "weights": 0,
    "words": 0,
    "inputs": 0,
    "between": 0,
    "outputs": 0,
    "activation": 0,
    "change": 0,
}
P: dict[str, Any] = {"weights": 0.5, "words": 0.2, "inputs": 0.3, "between": 0.25, "outputs": 0.4}


def model_of(**more: Any) -> Model:
    data = {
        "width": SIZE, "layers": 2, "mixer": {"kind": "lstm", "size": 7}, "feedforward": "none", "positions": "none",
        "residual": {"kind": "none", "dropout": 0.0}, "norm": "none", **more,
    }  # fmt: skip
    return from_data(DecoderConfig, data).build(VOCABULARY, seed=2).double().train()


def text(rows: int, tokens: int, seed: int = 0) -> Batch:
    ids = torch.randint(VOCABULARY, (rows, tokens + 1), generator=torch.Generator().manual_seed(seed))
    return Batch(ids[:, :-1], dense(rows, tokens), ids[:, 1:])


def built(model: Model, **values: Any) -> Any:
    return from_data(RegularisedConfig, {**NOTHING, **values}).build_for(model, None)


def gradients(model: Model, total: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(total, list(model.parameters()), allow_unused=True, materialize_grads=True))


def close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def written_out(model: Any, batch: Batch, seed: int, a: float, b: float) -> torch.Tensor:
    """The loss of the paper, mask by mask as they are drawn, token by token."""
    torch.manual_seed(seed)

    def mask(*shape: int, p: float) -> torch.Tensor:
        return dropout(torch.ones(shape, dtype=torch.float64), p, training=True)

    rows, tokens = batch.targets.shape
    words = mask(VOCABULARY, 1, p=P["words"])
    x = (words * model.embed.weight)[batch.inputs] * model.embed.scale * mask(rows, 1, SIZE, p=P["inputs"])
    for number, block in enumerate(model.stack.blocks):
        cell = block.mix
        U = cell.hidden.weight * mask(*cell.hidden.weight.shape, p=P["weights"])
        h = c = torch.zeros(rows, 7, dtype=torch.float64)
        outputs = list[torch.Tensor]()
        for t in range(tokens):
            i, f, g, o = (cell.input(x[:, t]) + h @ U.mT).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        x = cell.out(torch.stack(outputs, 1))
        x = x * mask(rows, 1, SIZE, p=P["between"]) if number == 0 else x
    m = x * mask(rows, 1, SIZE, p=P["outputs"])
    loss = F.cross_entropy(model.head(m).flatten(0, 1), batch.targets.flatten(), reduction="sum")
    return loss + a * (m**2).mean(-1).sum() + b * ((x[:, :-1] - x[:, 1:]) ** 2).mean(-1).sum()


def test_it_is_the_papers_formula_with_masks_of_the_generator() -> None:
    model, batch = model_of(), text(3, 9)
    objective = built(model, **P, activation=2.0, change=1.5)
    torch.manual_seed(7)
    loss = objective(model, batch)
    expected = written_out(model, batch, 7, 2.0, 1.5)
    close(loss.total, expected)
    assert int(loss.count) == 27
    for one, other in zip(gradients(model, loss.total), gradients(model, expected), strict=True):
        close(one, other)
    torch.manual_seed(8)
    assert abs(float(objective(model, batch).total.detach()) - float(expected.detach())) > 1e-3


def test_a_mask_is_one_for_a_row_or_for_a_word_and_keeps_the_mean() -> None:
    x, ids = torch.ones(400, 5, 30), torch.arange(50).expand(3, -1)
    y = locked_dropout(x, 0.3, training=True)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    assert float(y.mean()) == pytest.approx(1, abs=5 * (0.3 / 0.7 / 12_000) ** 0.5)
    assert locked_dropout(x, 0.3, training=False) is x
    words = word_factors(ids, 50, 0.4, x)
    assert words.shape == (3, 50, 1)
    assert torch.equal(words, words[:1].expand_as(words))
    assert 0 < int((words[0] == 0).sum()) < 40


@pytest.mark.parametrize("packed", [False, True])
def test_a_packed_row_has_one_mask_of_weights(packed: bool) -> None:
    """Documents of a row that are read side by side, or one after the other in a loop over tokens."""
    model = model_of(mixer={"kind": "lstm", "size": 7, "peephole": packed})
    built(model, weights=0.5)
    ids = text(1, 12).inputs
    layout = Layout(torch.cat([torch.arange(7), torch.arange(5)])[None], torch.tensor([0] * 7 + [1] * 5)[None])
    torch.manual_seed(1)
    together = model.features(Batch(ids, layout, ids))
    for own in (slice(0, 7), slice(7, 12)):
        part = ids[:, own]
        torch.manual_seed(1)
        close(together[:, own], model.features(Batch(part, dense(*part.shape), part)))


def test_in_evaluation_it_is_the_model_without_to_the_bit() -> None:
    model, plain, batch = model_of(), model_of(), text(3, 9)
    objective, other = built(model, **P, activation=2.0, change=1.0), NextTokenConfig().build()
    kinds = {type(part) for part in model.modules()}
    assert {WeightDropLSTM, WordDropTable, LockedAdded} <= kinds
    assert weights(model).keys() == weights(plain).keys()
    state = torch.get_rng_state()
    one, two = objective(model.eval(), batch), other(plain.eval(), batch)
    assert torch.equal(one.total, two.total)
    assert torch.equal(one.metrics["nll"], two.metrics["nll"])
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"
    states = [one.init_state(3, 9) for one in (model, plain)]
    with torch.no_grad():
        y, z = (m.step(batch.inputs, batch.layout, s)[0] for m, s in zip((model, plain), states, strict=True))
    assert torch.equal(y, z)


def test_where_nothing_is_dropped_a_training_is_that_without_to_the_bit() -> None:
    model, plain, batch = model_of(), model_of(), text(3, 9)
    one, two = built(model)(model, batch).total, NextTokenConfig().build()(plain, batch).total
    assert torch.equal(one, two)
    assert all(map(torch.equal, gradients(model, one), gradients(plain, two)))


def test_sums_do_not_depend_on_how_rows_are_filled() -> None:
    """AR and TAR of texts alone, padded, and in one row, where no difference is taken across their border."""
    model = model_of()
    objective = built(model, activation=2.0, change=3.0)
    long, short = text(1, 9), text(1, 4, seed=1)
    alone = [objective(model, batch) for batch in (long, short)]
    layout = right_padded(torch.tensor([9, 4]), 9)
    inputs, targets = (
        torch.cat([a, F.pad(b, (0, 5), value=fill)])
        for a, b, fill in ((long.inputs, short.inputs, 0), (long.targets, short.targets, -1))
    )
    row = Layout(torch.cat([torch.arange(9), torch.arange(4)])[None], torch.tensor([0] * 9 + [1] * 4)[None])
    packed = Batch(torch.cat([long.inputs, short.inputs], 1), row, torch.cat([long.targets, short.targets], 1))
    expected = gradients(model, sum(loss.total for loss in alone))  # type: ignore[arg-type]
    for batch in (Batch(inputs, layout, targets), packed):
        loss = objective(model, batch)
        assert int(loss.count) == 13
        for name in ("nll", "activation", "change"):
            close(loss.metrics[name], alone[0].metrics[name] + alone[1].metrics[name])
        close(loss.total, alone[0].total + alone[1].total)
        for one, other in zip(gradients(model, loss.total), expected, strict=True):
            close(one, other)
    assert float(alone[0].metrics["change"]) > 0


def test_a_change_to_or_from_a_token_without_a_target_is_not_counted() -> None:
    model, batch = model_of(), text(2, 6)
    targets = batch.targets.clone()
    targets[0, 2], targets[1, 5] = -1, -1
    loss = built(model, change=1.0)(model, batch._replace(targets=targets))
    hidden = model.features(batch)
    moved = (hidden[:, 1:] - hidden[:, :-1]).square().mean(-1)
    expected = moved[0, [0, 3, 4]].sum() + moved[1, :4].sum()
    torch.testing.assert_close(loss.metrics["change"].double(), expected.detach().double())


def test_a_text_in_windows_goes_on_from_what_was_remembered() -> None:
    """With a mask of weights of its own for each window, as in the paper; the state is handed on."""
    model, whole = model_of(), text(1, 12)
    objective, ids = built(model, weights=0.5), np.concatenate([whole.inputs[0].numpy(), whole.targets[0, -1:].numpy()])
    lanes, carried = Lanes(ids.astype(np.uint16), 4, 4), Carried(model)
    totals, state = list[torch.Tensor](), model.init_state(1, 12)
    for number, strip in enumerate(lanes.fixed()):
        batch = lanes.build(strip)
        torch.manual_seed(number)
        totals.append(objective(carried, batch).total.detach())
        torch.manual_seed(number)
        with torch.no_grad():
            hidden, state = model.step(batch.inputs, batch.layout, state)
            scores = model.token_head(hidden)[0]
        close(totals[-1], F.cross_entropy(scores, batch.targets[0], reduction="sum"))
    assert len(totals) == 3


def test_activations_that_are_computed_again_have_the_same_masks() -> None:
    model, batch = model_of(), text(3, 9)
    objective, slopes = built(model, **P, activation=2.0, change=1.0), list[list[torch.Tensor]]()
    for again in (False, True):
        for block in model.stacks()[0].blocks:
            if again:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
        torch.manual_seed(5)
        slopes.append(gradients(model, objective(model, batch).total))
    assert all(map(torch.equal, *slopes))


@pytest.mark.parametrize(
    ("more", "values", "sentence"),
    [
        ({"mixer": "gru"}, {"weights": 0.5}, r"weights=0\.5 drops numbers of LSTMs, of which this model has none"),
        (
            {"positions": "learned"},
            {"words": 0.1},
            r"words=0\.1 drops vectors of words before .* and model\.positions=none, or",
        ),
        ({}, {"outputs": 1.0}, r"outputs=1\.0 is not a probability below 1"),
        ({}, {"change": -1.0}, r"change=-1\.0 must be 0 or a positive number"),
    ],
)
def test_what_cannot_be_dropped_is_one_sentence(more: dict[str, Any], values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        built(model_of(**more), **values)


def test_an_encoder_is_refused_and_other_mixers_are_dropped_between() -> None:
    encoder = from_data(EncoderConfig, {"width": SIZE, "layers": 1, "mixer": {"heads": 2}}).build(VOCABULARY)
    with pytest.raises(UserError, match="an encoder sees"):
        built(encoder)
    model, batch = model_of(mixer="gru"), text(2, 9)
    objective = built(model, between=0.5)
    one, two = (objective(model, batch).total for _ in range(2))
    assert not torch.equal(one, two)
    objective = built(model)
    assert torch.equal(objective(model, batch).total, objective(model, batch).total), "the last numbers count"


def test_a_run_that_is_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """By the architecture of that name, on a text read on from batch to batch."""
    (tmp_path / "text.txt").write_text("".join(f"{'ab' * (i % 5)}c{i % 10}\n" for i in range(90)))
    data = {
        "data.path": str(tmp_path / "text.txt"), "model": {"base": "awd-lstm-2017", "width": 12, "layers": 2},
        "model.mixer.size": 16, "objective": "regularised-next-token", "batch.carry": True, "batch.max_length": 12,
        "batch.batch_tokens": 48, "schedule": "constant", "optimizer": "adamw", "train.max_steps": 4, "train.ema": None,
        "train.validate_every": 2, "train.threads": 1, "train.device": "cpu",
    }  # fmt: skip
    whole = td.train("shakespeare", {**data, "name": "whole"}, out=tmp_path, quiet=True)
    td.train("shakespeare", {**data, "name": "part", "train.max_steps": 2}, out=tmp_path, quiet=True)
    part = td.train("shakespeare", {**data, "name": "part"}, out=tmp_path, quiet=True)
    for file in ("model.safetensors", "carried.safetensors", "optimizer.safetensors"):
        a, b = (read_tensors(run.checkpoints / "step-00000004" / file) for run in (whole, part))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a), file
    assert (whole.path / "metrics.jsonl").read_bytes() == (part.path / "metrics.jsonl").read_bytes()
    opened = td.load(whole.path, device="cpu")
    assert not any(isinstance(part, WeightDropLSTM) for part in opened.model.modules()), "it is used as a plain LSTM"
    logged = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["val_loss"] for line in logged if "val_loss" in line]
    assert min(losses) == pytest.approx(opened.evaluate("valid").loss, rel=1e-5)
