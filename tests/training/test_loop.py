"""The laws of the update: what may not change a number, and what must."""

from collections.abc import Callable
from copy import deepcopy
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.model.batch import Batch
from transduce.model.layout import right_padded
from transduce.model.models import Model
from transduce.runs.recipe import Recipe
from transduce.training import loop
from transduce.training.loop import Interrupted
from transduce.training.session import Session

RecipeOf = Callable[..., Recipe]
SessionOf = Callable[..., Session]
PLAIN = {"model.residual.dropout": 0.0, "train.clip": None, "schedule.kind": "constant", "train.max_steps": 1}


def never() -> bool:
    return False


def row_batch(rows: list[list[int]], width: int) -> Batch:
    """Rows of ids, padded on the right to `width` targets."""
    ids = torch.zeros(len(rows), width + 1, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    layout = right_padded(torch.tensor([len(row) - 1 for row in rows]), width)
    return Batch(ids[:, :-1], layout, torch.where(layout.valid, ids[:, 1:], -1), examples=tuple(range(len(rows))))


def weights_after(session: Session) -> dict[str, Tensor]:
    loop.train(session, never)
    return {name: p.detach().clone() for name, p in session.job.model.named_parameters()}


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], **tolerance: float) -> None:
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance)


@pytest.mark.parametrize("kind", ["next-token", "translation"])
def test_accumulation_of_uneven_batches_is_one_large_batch(kind: str, recipe: RecipeOf, session: SessionOf) -> None:
    """Four micro-batches of other sizes, other padding and one without any target, against all rows in one."""
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randint(4, 9, (n,), generator=draw).tolist() for n in (3, 13, 5, 8, 2, 11)]
    empty = row_batch([[5, 6]], 4)._replace(targets=torch.full((1, 4), -1))
    parts = [row_batch(rows[:1], 2), empty, row_batch(rows[1:4], 14), row_batch(rows[4:], 10)]
    objective = {"objective.kind": kind, "objective.label_smoothing": 0.1}
    one = session(recipe("language", {**PLAIN, **objective}), [row_batch(rows, 17)], sgd=1.0)
    four = session(recipe("language", {**PLAIN, **objective, "train.accumulate": 4}), parts, sgd=1.0)
    start = {name: p.detach().clone() for name, p in one.job.model.named_parameters()}
    a, b = weights_after(one), weights_after(four)
    assert any((a[name] - start[name]).abs().max() > 1e-3 for name in a)
    assert_close(a, b, atol=2e-6, rtol=1e-5)


def test_an_update_without_any_target_changes_nothing_and_is_legal(recipe: RecipeOf, session: SessionOf) -> None:
    nothing = row_batch([[4, 5, 6]], 2)._replace(targets=torch.full((1, 2), -1))
    made = session(recipe("language", PLAIN), [nothing], sgd=1.0)
    start = {name: p.detach().clone() for name, p in made.job.model.named_parameters()}
    assert_close(weights_after(made), start, atol=0, rtol=0)


def test_clipping_bounds_the_step_and_leaves_its_direction(recipe: RecipeOf, session: SessionOf) -> None:
    batch = [row_batch([[4, 5, 6, 7]], 3)]
    free, clipped = (session(recipe("language", {**PLAIN, "train.clip": c}), batch, sgd=1.0) for c in (None, 0.01))
    start = {name: p.detach().clone() for name, p in free.job.model.named_parameters()}
    long, short = (torch.cat([(w[n] - start[n]).flatten() for n in w]) for w in map(weights_after, (free, clipped)))
    assert long.norm() > 0.1
    assert short.norm() == pytest.approx(0.01, rel=1e-3)
    assert torch.nn.functional.cosine_similarity(long, short, dim=0) > 0.9999


def test_looking_does_not_touch_the_training(recipe: RecipeOf, session: SessionOf) -> None:
    """Validation, logging and saving draw from no generator and change no weight."""
    often = {"train.validate_every": 1, "train.log_every": 1, "train.save_every": 3}
    seldom = {"train.validate_every": 6, "train.log_every": 6, "train.save_every": 6}
    a, b = (weights_after(session(recipe("translation", {"train.max_steps": 6, **x}))) for x in (often, seldom))
    assert_close(a, b, atol=0, rtol=0)


def test_the_same_seed_is_the_same_training_and_the_callers_generator_is_left_alone(
    recipe: RecipeOf, session: SessionOf
) -> None:
    runs = {}
    for name, noise in (("a", 1), ("b", 2)):
        torch.manual_seed(noise)
        runs[name] = weights_after(session(recipe(over={"train.max_steps": 3})))
    assert_close(runs["a"], runs["b"], atol=0, rtol=0)


@pytest.mark.parametrize("option", ["recompute", "workers"])
def test_options_that_change_no_number(option: str, recipe: RecipeOf, session: SessionOf) -> None:
    key, value = {"recompute": ("train.recompute", True), "workers": ("batch.workers", 2)}[option]
    a, b = (weights_after(session(recipe(over={"train.max_steps": 3, **x}))) for x in ({}, {key: value}))
    assert_close(a, b, atol=0, rtol=0)


def test_bf16_learns_and_keeps_weights_in_float32(recipe: RecipeOf, session: SessionOf) -> None:
    over = {"train.max_steps": 20, "train.validate_every": 20, "train.log_every": 5}
    made = session(recipe("language", {**over, "train.precision": "bf16"}))
    assert all(w.dtype == torch.float32 for w in weights_after(made).values())
    made.report.flush()
    losses = [line["loss"] for line in made.run.metrics if "loss" in line]
    exact = session(recipe("language", over))
    weights_after(exact)
    exact.report.flush()
    assert losses[-1] < losses[0] - 0.2
    assert losses == pytest.approx([line["loss"] for line in exact.run.metrics if "loss" in line], rel=0.02)


@pytest.mark.filterwarnings("ignore")  # those inside torch._dynamo
def test_compiled_blocks_give_the_same_training(
    recipe: RecipeOf, session: SessionOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_with: Any = partialmethod(nn.Module.compile, backend="aot_eager")  # the default one takes half a minute
    monkeypatch.setattr(nn.Module, "compile", compiled_with)
    over = {**PLAIN, "train.max_steps": 3, "train.validate_every": 2}
    a, b = (weights_after(session(recipe("language", {**over, "train.compile": c}), sgd=0.1)) for c in (False, True))
    assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_average_follows_its_formula_and_is_what_is_validated(recipe: RecipeOf, session: SessionOf) -> None:
    made = session(recipe(over={"train.ema": 0.5, "train.max_steps": 1}))
    start = {name: p.detach().clone() for name, p in made.job.model.named_parameters()}
    end = weights_after(made)
    assert made.moving.average is not None
    decay = 2 / 11
    for name, mean in made.moving.average.mean.items():
        torch.testing.assert_close(mean, decay * start[name] + (1 - decay) * end[name])
    with made.moving.averaged():
        assert all(torch.equal(p, made.moving.average.mean[n]) for n, p in made.job.model.named_parameters())
    assert all(torch.equal(p, end[n]) for n, p in made.job.model.named_parameters())


def test_patience_ends_the_training(recipe: RecipeOf, session: SessionOf) -> None:
    over = {"train.max_steps": 40, "train.validate_every": 2, "train.patience": 2, "optimizer.learning_rate": 1e-12}
    made = session(recipe("language", {**over, "train.metric": "loss"}))
    made.moving.optimizers[0].step = lambda: None  # type: ignore[method-assign]  (nothing is learnt)
    position = loop.train(made, never)
    assert (position.step, position.best_step, position.stale) == (6, 2, 2)


def test_asked_to_stop_it_saves_and_the_rest_is_as_if_it_had_not(recipe: RecipeOf, session: SessionOf) -> None:
    whole = weights_after(session(recipe(over={"train.max_steps": 9})))
    made = session(recipe(over={"train.max_steps": 9}))
    calls = iter([False] * 4 + [True])
    with pytest.raises(Interrupted, match=r"stopped after step 5 of 9; all is saved .* same command again") as caught:
        loop.train(made, lambda: next(calls))
    assert caught.value.exit_code == 130
    assert made.run.last.resolve().name == "step-00000005"
    assert_close(weights_after(made), whole, atol=0, rtol=0)


def test_auto_precision_is_bf16_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from transduce.runs.recipe import TrainConfig
    from transduce.training import precision

    cpu = torch.device("cpu")
    for able in (False, True):
        monkeypatch.setattr(precision, "multiplies_bf16", lambda _device, able=able: able)
        with precision.autocast(TrainConfig(precision="auto"), cpu):
            assert torch.is_autocast_enabled("cpu") is able
    with precision.autocast(TrainConfig(precision="fp32"), cpu):
        assert not torch.is_autocast_enabled("cpu")


def test_of_instructions_for_bfloat16_those_that_are_slower_do_not_count() -> None:
    from transduce.training.precision import faster_in_bf16

    for able, intel, faster in [
        (set[str](), True, False), (set[str](), False, False),
        ({"avx512_bf16"}, True, False), ({"avx512_bf16"}, False, True),
        ({"avx512_bf16", "amx_bf16"}, True, True), ({"bf16"}, False, True),
    ]:  # fmt: skip
        assert faster_in_bf16(able, intel) is faster, (able, intel)


def test_checkpoints_made_because_time_has_passed_change_nothing(recipe: RecipeOf, tmp_path: Path) -> None:
    from transduce.training.train import train

    def ended(name: str, minutes: float) -> tuple[list[str], dict[str, bytes]]:
        run = train(recipe(over={"train.save_minutes": minutes}), tmp_path / name, quiet=True)
        files = ("metrics.jsonl", "best/model.safetensors", "last/optimizer.safetensors")
        return sorted(p.name for p in run.checkpoints.iterdir()), {f: (run.path / f).read_bytes() for f in files}

    assert ended("often", 1e-9) == ended("seldom", 5.0)


@pytest.mark.parametrize("kind", ["adamw", "muon", "sgd"])
def test_decoding_between_updates_sees_the_weights_of_now(kind: str, recipe: RecipeOf, session: SessionOf) -> None:
    """Decoding keeps packed copies of the weights by their version, which fused updates do not count."""
    wide = {"model.width": 64, "model.feedforward.hidden": 8192}  # so that matrices are worth packing
    over = {
        **wide,
        "train.max_steps": 3,
        "optimizer.kind": kind,
        "optimizer.learning_rate": 0.1,
        "schedule.kind": "constant",
    }
    one = session(recipe("language", over), [row_batch([[4, 5, 6, 7, 8], [6, 4]], 6)])
    model, tokenizer = one.job.model, one.job.readers.text
    options = GenerateConfig(max_new_tokens=4)

    def written(which: Model) -> list[tuple[list[int], float]]:
        return [(row[0].ids, row[0].score) for row in decode(which.eval(), tokenizer, options, prompt=[[4, 5], [6]])]

    before = written(model)
    loop.train(one, never)
    after = written(model)
    assert after != before
    assert after == written(deepcopy(model))
