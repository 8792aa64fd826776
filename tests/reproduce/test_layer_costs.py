"""Layers that are not what the table says: the marks of `layer-costs` must see it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.model.layout import dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.elman import Elman, ElmanConfig
from transduce.model.mixers.linear import LinearConfig
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.recurrent import Hidden
from transduce.reproduce.experiments import layer_costs
from transduce.reproduce.mark import finite

from .conftest import small

WORK = "greatest error of the formulas"


def missed() -> set[str]:
    experiment = small("layer-costs")
    measured = finite(experiment.run(0))
    return {mark.what for mark in experiment.marks if not mark.holds([measured])}


def swap(monkeypatch: pytest.MonkeyPatch, name: str, mixer: Any) -> None:
    monkeypatch.setitem(layer_costs.TABLE, name, replace(layer_costs.TABLE[name], mixer=mixer))


def test_small_sizes_meet_the_marks() -> None:
    assert not missed()


@pytest.mark.parametrize(
    ("name", "mixer", "seen"),
    [
        ("attention", lambda s: LinearConfig(), {WORK}),
        ("attention", lambda s: AttentionConfig(window=4), {"path, attention"}),
        ("attention", lambda s: ElmanConfig(), {WORK, "graph depth per token, attention"}),
        ("Elman", lambda s: ElmanConfig(size=2 * s.d), {WORK}),
        ("gated convolution", lambda s: ConvolutionConfig(kernel=s.k + 1), {WORK}),
        ("window", lambda s: AttentionConfig(window=s.r + 1), {WORK, "path, window - formula"}),
        ("window", lambda s: AttentionConfig(), {WORK, "path, window - formula", "exponent, window"}),
    ],
)
def test_a_layer_that_costs_or_connects_otherwise_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, mixer: Any, seen: set[str]
) -> None:
    if name == "Elman":  # whose path asks for states as wide as tokens
        monkeypatch.setattr(layer_costs, "RECURRENT", ("GRU",))
    swap(monkeypatch, name, mixer)
    assert seen <= missed()


def test_convolutions_that_are_not_dilated_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = layer_costs.built
    monkeypatch.setattr(layer_costs, "built", lambda name, s, seed, dilation=1: real(name, s, seed))
    assert missed() == {"path, dilated convolution - formula"}


def test_a_state_that_is_forgotten_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: Elman, a: Tensor, state: Hidden) -> Hidden:
        self.recur(state.h)  # in vain
        return Hidden(torch.sigmoid(a))

    swap(monkeypatch, "Elman", lambda s: ElmanConfig(activation="sigmoid"))
    assert not missed()
    monkeypatch.setattr(Elman, "step", step)
    assert missed() == {"path, recurrent - (n - 1)", "graph depth per token, Elman"}


def test_a_look_ahead_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    real = layer_costs.at_once

    def ahead(mixer: Mixer, x: Tensor) -> Tensor:
        return real(mixer, x) if "encode" in mixer.cannot else mixer.encode(x, dense(x.shape[0], x.shape[1]))

    monkeypatch.setattr(layer_costs, "at_once", ahead)
    paths = {"path, attention", "path, dilated convolution - formula", "path, window - formula"}
    assert missed() == {WORK, *paths}  # a window sees the block behind it, too
