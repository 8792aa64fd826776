"""What a model remembers goes from batch to batch: cut into windows, a text has the loss that it has at once."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from transduce.config import from_data
from transduce.data.lanes import Lanes, Strip
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.objectives.carry import Carried
from transduce.objectives.language import NextTokenConfig
from transduce.runs.recipe import Recipe
from transduce.training import loop
from transduce.training.train import train

TOKENS, WIDTH = 41, 7
MIXERS: list[dict[str, Any]] = [
    {"mixer": "lstm", "positions": "none"},
    {"mixer": "delta", "positions": "none"},
    {"mixer": {"kind": "attention", "heads": 2, "window": 9}, "positions": "rotary"},
    {"mixer": {"kind": "attention", "heads": 2, "window": 9}, "positions": "transformer-xl"},
    {"mixer": {"kind": "attention", "heads": 2, "window": 5}, "positions": "alibi", "layers": ["gru", "attention"]},
]


@pytest.mark.parametrize("parts", MIXERS, ids=lambda parts: str(parts)[:60])
def test_windows_of_a_text_have_the_loss_of_the_whole(parts: dict[str, Any]) -> None:
    config = from_data(DecoderConfig, {"width": 16, "layers": 2, "feedforward": {"hidden": 24}, **parts})
    model, objective = config.build(19).eval().double(), NextTokenConfig().build()
    text = np.random.default_rng(0).integers(0, 19, TOKENS).astype(np.uint16)
    whole = Lanes(text, TOKENS, TOKENS).build(Strip(np.zeros(1, dtype=np.int64), np.array([TOKENS - 1]), 0))
    expected = objective(model, whole._replace(offset=None)).total
    lanes, carried = Lanes(text, WIDTH, WIDTH), Carried(model)
    losses = [objective(carried, lanes.build(strip)).total for strip in lanes.fixed()]
    assert len(losses) == -(-(TOKENS - 1) // WIDTH)
    torch.testing.assert_close(torch.stack(losses).sum(), expected, rtol=1e-10, atol=1e-10)
    sum(losses).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_without_what_was_remembered_the_loss_is_another() -> None:
    config = from_data(DecoderConfig, {"width": 16, "layers": 1, "mixer": "lstm", "positions": "none"})
    model, objective = config.build(19).eval().double(), NextTokenConfig().build()
    lanes = Lanes(np.random.default_rng(0).integers(0, 19, TOKENS).astype(np.uint16), WIDTH, WIDTH)
    second = lanes.build(lanes.fixed()[1])
    carried = Carried(model)
    objective(carried, lanes.build(lanes.fixed()[0]))
    difference = objective(carried, second).total - objective(Carried(model), second).total
    assert abs(difference.item()) > 1e-3


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"data.unit": "line"}, "batch.carry=true reads one stream"),
        ({}, "would have attention remember the whole text"),
        ({"model.mixer.window": 8, "model.positions": {"kind": "rotary", "limit": 50}}, "those of the model end at 50"),
        ({"model.mixer": "lstm", "model.positions": "none", "batch.batch_tokens": 20_000}, "lower batch.batch_tokens"),
    ],
)
def test_what_cannot_be_carried_on_is_refused(
    over: dict[str, Any], told: str, tiny: Callable[..., dict[str, Any]], tmp_path: Any
) -> None:
    recipe = tiny("language", {"data.unit": "file", "batch.carry": True, **over})
    with pytest.raises(UserError, match=told):
        train(from_data(Recipe, recipe), tmp_path, quiet=True)


@pytest.mark.parametrize("parts", MIXERS[:3], ids=lambda parts: str(parts)[:60])
def test_a_new_epoch_begins_with_an_empty_memory(parts: dict[str, Any]) -> None:
    config = from_data(DecoderConfig, {"width": 16, "layers": 1, "feedforward": {"hidden": 24}, **parts})
    model, objective = config.build(19).eval().double(), NextTokenConfig().build()
    lanes = Lanes(np.random.default_rng(0).integers(0, 19, TOKENS).astype(np.uint16), WIDTH, WIDTH)
    batches, carried = [lanes.build(strip) for strip in lanes.fixed()], Carried(model)
    first, second = ([objective(carried, batch).total.item() for batch in batches] for _ in range(2))
    assert first == second
    assert objective(carried, batches[1]).total.item() != pytest.approx(first[1], abs=1e-9)


def test_training_starts_every_epoch_with_an_empty_memory(
    recipe: Callable[..., Recipe], session: Callable[..., Any]
) -> None:
    over = {"data.unit": "file", "batch.carry": True, "model.mixer": "lstm", "model.positions": "none"}
    over |= {"train.samples": 0, "train.validate_every": 99, "train.max_steps": 25, "model.residual.dropout": 0.0}
    made = session(recipe("language", over))
    size, empty, features = made.job.loader.size(0), list[bool](), Carried.features

    def watched(carried: Carried, batch: Any) -> Any:
        model = carried.model
        if model.training:
            with torch.no_grad():
                here = features(copy.copy(carried), batch)
                anew = features(Carried(model), batch._replace(offset=0))
            empty.append(torch.equal(here, anew))
        return features(carried, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Carried, "features", watched)
        loop.train(made, lambda: False)
    assert size < 25, "the text must be read more than once"
    assert [i for i, e in enumerate(empty) if e] == list(range(0, 25, size))


def test_the_memory_itself_is_emptied_where_a_lane_begins() -> None:
    """A layout that begins at position 0 hides an old memory as well; this is asked without its help."""
    seen = list[float]()

    class Counter:
        def init_state(self, rows: int, most: int) -> tuple[torch.Tensor]:
            return (torch.zeros(rows),)

        def step(self, inputs: Any, layout: Any, state: tuple[torch.Tensor]) -> tuple[Any, tuple[torch.Tensor]]:
            seen.append(float(state[0][0]))
            return inputs, (state[0] + 1,)

    lanes, counter = Lanes(np.arange(29, dtype=np.uint16) % 7, WIDTH, WIDTH), Carried(Counter())  # type: ignore[arg-type]
    for strip in [*lanes.fixed(), *lanes.fixed()]:
        counter.features(lanes.build(strip))
    assert seen == [0.0, 1.0, 2.0, 3.0] * 2
