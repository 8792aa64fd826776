"""Block by block: the loss against its formula, what moves when, and what is left behind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import transduce as td
from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.heads.projection import ProjectionHead
from transduce.model.layered import each_block, width_of_block
from transduce.model.layout import Layout, dense, right_padded
from transduce.model.models import Model
from transduce.objectives import layer_wise
from transduce.objectives.layer_wise import DenoisingAutoencoderConfig
from transduce.runs.checkpoint import read_tensors
from transduce.tune.layer_wise import LayerWise
from transduce.tune.tuning import Tuning

BODIES: dict[str, dict[str, Any]] = {
    "attention": {"mixer": {"kind": "attention", "heads": 3}},
    "lstm": {"mixer": {"kind": "lstm", "size": 7}},
    "delta": {"mixer": {"kind": "delta", "heads": 3}, "residual": {"kind": "post-norm", "dropout": 0.0}},
    "repeated": {"layers": [{"times": 2, "tied": True}, {"times": 1}]},
}
KINDS: dict[str, Any] = {"encoder": EncoderConfig, "decoder": DecoderConfig}


def model_of(kind: str = "encoder", body: str = "attention", layers: Any = 2, **more: Any) -> Model:
    data = {"width": 12, "layers": layers, "residual": {"kind": "pre-norm", "dropout": 0.0}, **BODIES[body], **more}
    model = from_data(KINDS[kind], {"feedforward": {"kind": "mlp", "hidden": 9}, **data}).build(40, seed=3)
    LayerWise().adapt(model, torch.Generator())
    draw = torch.Generator().manual_seed(5)
    for name, p in model.heads.named_parameters():  # which start at 0
        with torch.no_grad():
            p.copy_(torch.randn(p.shape, generator=draw) / 4)
        assert name.startswith("restore_")
    return model.double().eval()


def texts(rows: int = 3, tokens: int = 7) -> Batch:
    ids = torch.randint(4, 40, (rows, tokens), generator=torch.Generator().manual_seed(1))
    return Batch(ids, dense(rows, tokens), ids, examples=tuple(range(rows)))


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", BODIES)
def test_the_loss_is_its_formula(kind: str, body: str, vectors: bool) -> None:
    model, batch = model_of(kind, body), texts()
    loss = DenoisingAutoencoderConfig(fraction=0.3, vectors=vectors).build_for(model, None)(model, batch)
    x, total = model.towers()[0].embed(batch.inputs, batch.layout), 0.0
    known = set[int]()
    for number in model.stacks()[0].order:
        block = model.stacks()[0].blocks[number]
        if number in known:  # only what it is given first is restored
            x = block(x, batch.layout)[0]
            continue
        known.add(number)
        kept = layer_wise.noise(x, batch, vectors, training=False) >= 0.3
        assert kept.shape == (3, 7, 1 if vectors else 12)
        assert 0.4 < kept.double().mean() < 0.95
        head = model.heads[f"restore_{number + 1}"]
        assert isinstance(head, ProjectionHead)
        guess = block(x * kept, batch.layout)[0] @ head.out.weight.T + head.out.bias
        for i in range(3):
            for t in range(7):
                v = x[i, t]
                wanted = (v - v.mean()) / (v.var(correction=0) + 1e-5).sqrt()
                total += float((wanted - guess[i, t]).detach().square().sum()) / 12 / 2
        x = block(x, batch.layout)[0]
    assert len(known) == 2
    assert int(loss.count) == 21
    assert loss.total.item() == pytest.approx(total, rel=1e-9)


def test_no_gradient_leads_to_the_blocks_below() -> None:
    model, batch = model_of(), texts()
    tuning = Tuning(LayerWise(updates=3), model, [])
    objective = DenoisingAutoencoderConfig().build_for(model, None)
    for step, own in ((1, 1), (3, 1), (4, 2), (7, 2), (100, 2)):
        moving = tuning.arrange(step)
        model.train().zero_grad()
        objective(model, batch).total.backward()
        names = {name for name, p in model.named_parameters() if p.grad is not None}
        assert names == {name for name, p in model.named_parameters() if any(p is q for q in moving)}
        parts = (f"stack.blocks.{own - 1}.", f"heads.restore_{own}.")
        assert names == {name for name, _ in model.named_parameters() if name.startswith(parts)}
        assert model.training


def of_ids(x: torch.Tensor, batch: Batch, whole: bool, training: bool) -> torch.Tensor:
    feature = torch.arange(1 if whole else x.shape[2])
    return ((batch.inputs[..., None] * 0.37 + feature * 0.61) % 1).double()


@pytest.mark.parametrize("body", ["attention", "lstm", "delta"])
def test_padded_packed_and_alone_are_the_same(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_of("decoder" if body == "lstm" else "encoder", body), texts(2, 6)
    objective = DenoisingAutoencoderConfig().build_for(model, None)
    monkeypatch.setattr(layer_wise, "noise", of_ids)
    one, two = batch.inputs[0], batch.inputs[1, :4]
    rows = [Batch(row[None], dense(1, len(row)), row[None]) for row in (one, two)]
    ids = torch.zeros(2, 9, dtype=torch.long)
    ids[0, :6], ids[1, :4] = one, two
    padded = Batch(ids, right_padded(torch.tensor([6, 4]), 9), ids)
    joined = torch.cat([one, two, torch.zeros(2, dtype=torch.long)])[None]
    places = torch.tensor([[*range(6), *range(4), -1, -1]])
    documents = torch.tensor([[0] * 6 + [1] * 4 + [-1] * 2])
    packed = Batch(joined, Layout(places, documents), joined)
    results = list[tuple[float, int, list[torch.Tensor]]]()
    for batches in (rows, [padded], [packed]):
        model.zero_grad()
        losses = [objective(model, one) for one in batches]
        sum(loss.total for loss in losses).backward()  # type: ignore[union-attr]
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append((sum(x.total.item() for x in losses), sum(int(x.count) for x in losses), gradients))
    for total, count, gradients in results[1:]:
        assert total == pytest.approx(results[0][0], rel=1e-9)
        assert count == results[0][1] == 10
        torch.testing.assert_close(gradients, results[0][2])


SMALL: dict[str, Any] = {
    "model.width": 12, "model.mixer.heads": 2, "model.feedforward.hidden": 16, "tokenizer": "char",
    "batch.max_length": 16, "batch.batch_tokens": 64, "schedule": "constant", "optimizer.learning_rate": 0.01,
    "train.max_steps": 5, "train.validate_every": 5, "train.save_every": 1, "train.keep": 9, "train.device": "cpu",
    "train.threads": 1, "train.samples": 0, "objective": "denoising-autoencoder", "tune": "layer-wise",
    "tune.updates": 3,
}  # fmt: skip
Trained = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "text.txt").write_text("".join(f"{'ab' * (i % 5)}c{i % 10} d\n" for i in range(60)))

    def train(name: str, recipe: str = "pretrain-mlm", **more: Any) -> Any:
        changes = {"data.path": str(folder / "text.txt"), "name": name, **SMALL, **more}
        changes = {key: value for key, value in changes.items() if value is not None}
        return td.train(recipe, changes, out=folder, quiet=True)

    return train


def weights_at(run: Any, step: int) -> dict[str, torch.Tensor]:
    own = read_tensors(run.checkpoints / f"step-{step:08}" / "model.safetensors")
    return {**own, **read_tensors(run.path / "base.safetensors")}


def test_one_block_after_the_other_moves_and_all_else_keeps_its_bits(trained: Trained) -> None:
    run = trained("whole")
    assert run.recipe.tune == LayerWise(updates=3)
    for step in range(2, 6):
        before, after = (weights_at(run, step - i) for i in (1, 0))
        own = ("stack.blocks.0.", "heads.restore_1.") if step <= 3 else ("stack.blocks.1.", "heads.restore_2.")
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        assert moved
        assert all(name.startswith(own) for name in moved)
        assert {f"{own[1]}out.weight", f"{own[1]}out.bias"} <= moved
    text = (run.path / "log.txt").read_text()
    assert "2 blocks, one after the other, each for 3 updates" in text
    assert "what does not move keeps its random start values" in text


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_run_that_is_stopped_inside_a_block_or_between_two_goes_on_bit_for_bit(trained: Trained, stop: int) -> None:
    whole = trained("reference") if stop == 2 else td.train  # trained once
    trained(f"part-{stop}", **{"train.max_steps": stop})
    part = trained(f"part-{stop}")
    reference = part.path.parent / "reference"
    for file in ("model.safetensors", "optimizer.safetensors"):
        a, b = (read_tensors(path / "checkpoints" / "step-00000005" / file) for path in (reference, part.path))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a), file
    assert whole


def test_the_maps_stay_behind(trained: Trained) -> None:
    run = trained("lower")
    more = {"start": str(run.path), "objective": "masked-lm", "tune": None, "tune.updates": None, "train.max_steps": 1}
    more |= {"tokenizer": None, "model.width": None, "model.mixer.heads": None, "model.feedforward.hidden": None}
    after = trained("upper", **more)
    assert "heads.restore_1.out.weight" in (after.path / "log.txt").read_text()
    assert not td.load(after.path, device="cpu").model.heads
    again = trained("evaluated")
    assert td.load(again.path, device="cpu").evaluate().loss < 1.0


def test_blocks_learn(trained: Trained) -> None:
    run = trained("learns", **{"train.max_steps": 80, "train.validate_every": 40, "train.save_every": 40,
                               "tune.updates": 40})  # fmt: skip
    losses = [line["val_loss"] for line in run.metrics if "val_loss" in line]
    assert 0.5 < losses[0] < 0.95  # of which a block that has not moved costs 0.5
    assert losses[1] < losses[0] - 0.05


def test_what_does_not_suit_is_refused(trained: Trained) -> None:
    for more, message in (
        ({"tune": None, "tune.updates": None}, "set tune=layer-wise"),
        ({"objective": "masked-lm"}, "which objective=masked-lm does not; set objective=denoising-autoencoder"),
        ({"model.residual": "residual-dual"}, "restores one stream"),
        ({"objective.fraction": 0}, "fraction=0"),
    ):
        with pytest.raises(UserError, match=message):
            trained("refused", **more)
    with pytest.raises(UserError, match="the blocks of one stack"):
        trained("refused", "pretrain-t5", **{"tokenizer.sentinels": 9})
    with pytest.raises(UserError, match=r"batch\.carry=false"):
        trained("refused", "pretrain-clm", **{"batch.carry": True, "model.mixer.window": 4})


def test_the_width_of_a_block_is_that_of_what_enters_it() -> None:
    for kind in ("attention", "lstm", "elman", "gru", "delta", "ssm", "convolution", "bidirectional", "maxout"):
        part = {"feedforward": kind} if kind == "maxout" else {"mixer": kind, "feedforward": "none"}
        for width in (8, 24):
            model = from_data(EncoderConfig, {"width": width, "layers": 1, **part}).build(9)
            assert [width_of_block(block) for block in each_block(model)] == [width]
    lstm = from_data(DecoderConfig, {"width": 8, "layers": 1, "mixer": "lstm", "feedforward": "none"}).build(9)
    assert [width_of_block(block) for block in each_block(lstm)] == [8]


def test_of_pictures_nothing_is_told_by_the_pictures_beside_them() -> None:
    patches = {"kind": "patches", "patch": 2, "picture": [6, 4]}
    more: dict[str, Any] = {"embedding": patches, "positions": "sinusoidal-2d", "head": {"kind": "projection"}}
    model, x = model_of(**more), torch.rand(3, 40, 6, 4, dtype=torch.float64)
    objective = DenoisingAutoencoderConfig().build_for(model, None)

    def loss(of: range) -> Any:
        some, rows = x[of.start : of.stop], len(of)
        return objective(model, Batch(some, dense(rows, 1), torch.zeros(rows, dtype=torch.long), examples=tuple(of)))

    whole, parts = loss(range(3)), [loss(range(1)), loss(range(1, 3))]
    assert int(whole.count) == 3 * 6
    assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-9)
