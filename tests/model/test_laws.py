"""Every law on every mixer that discovery finds, with every kind of positions that acts inside it."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from _pytest.mark.structures import ParameterSet
from torch import Tensor, nn

from transduce.config import kinds
from transduce.errors import UserError
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import NoPositionsConfig, PositionsConfig
from transduce.testing.adapted import adapted
from transduce.testing.dropout import dropout
from transduce.testing.laws import LAWS, compilation, derivatives
from transduce.testing.sharding import ranks, shard, sharding
from transduce.tune.lora import LowRank

WIDTH = 16
MIXERS = [cast(type[MixerConfig], kind) for kind in kinds(MixerConfig.folder).values()]
POSITIONS = [cast(type[PositionsConfig], kind) for kind in kinds(PositionsConfig.folder).values()]


def refused(mixer: MixerConfig, position: PositionsConfig) -> bool:
    """Whether the two cannot go together, which tests of either state."""
    try:
        mixer.build(WIDTH, position.build(WIDTH, mixer.queries(WIDTH)).for_mixer())
    except UserError:
        return True
    return False


CASES = [
    pytest.param(mixer, position, id=f"{kind.kind}-{position.kind}-{mixer}")
    for kind in MIXERS
    if not kind.absent
    for mixer in kind.examples()
    for encoding in POSITIONS
    if encoding is NoPositionsConfig or encoding.acts in kind.positions
    for position in encoding.examples()
    if not refused(mixer, position)
]


def build(mixer: MixerConfig, position: PositionsConfig) -> Mixer:
    """A mixer with start values that hide nothing: gates and biases at constants would."""
    encoding = position.build(WIDTH, mixer.queries(WIDTH))
    built = mixer.build(WIDTH, encoding.for_stack(causal=True).for_mixer())
    XavierInit().apply(built, Sizes(WIDTH, 0, 1), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return built


def meeting() -> Iterator[ParameterSet]:
    """The cases of every mixer without positions, and one of each kind of mixer with each of these."""
    met = set[tuple[type[MixerConfig], PositionsConfig]]()
    for case in CASES:
        mixer, position = cast(tuple[MixerConfig, PositionsConfig], case.values)
        if position == NoPositionsConfig() or (type(mixer), position) not in met:
            yield case
        met.add((type(mixer), position))


ALL_CASES_IN_DOUBLE = [(law, torch.float64, CASES) for law in LAWS if law not in (compilation, derivatives)]
FEWER_IN_SINGLE = [(law, torch.float32, list(meeting())) for law in LAWS if law is not adapted]


@pytest.mark.parametrize(
    ("law", "dtype", "mixer", "position"),
    [
        pytest.param(law, dtype, *case.values, id=f"{case.id}-{law.__name__}-{dtype}")
        for law, dtype, cases in ALL_CASES_IN_DOUBLE + FEWER_IN_SINGLE
        for case in cases
    ],
)
def test_law(
    law: Callable[[Mixer, int], None], dtype: torch.dtype, mixer: MixerConfig, position: PositionsConfig
) -> None:
    torch.manual_seed(0)
    law(build(mixer, position).to(dtype), WIDTH)


@pytest.mark.parametrize(("mixer", "position"), CASES)
def test_every_plan_for_ranks_is_tried_unless_there_is_one_head(mixer: MixerConfig, position: PositionsConfig) -> None:
    built = build(mixer, position)
    if not built.tp_plan or "forward" in built.cannot:
        return
    heads = getattr(mixer, "heads", WIDTH)
    assert (ranks(built) == 1) == (min(heads, getattr(mixer, "kv_heads", None) or heads) == 1)


def test_every_kind_with_a_plan_is_split_in_one_of_its_examples() -> None:
    split = {type(mixer) for mixer, _ in (case.values for case in CASES) if ranks_of(cast(MixerConfig, mixer)) > 1}
    planned = {type(mixer) for mixer, _ in (case.values for case in CASES) if ranks_of(cast(MixerConfig, mixer)) > 0}
    assert split == planned
    assert len(split) >= 10


def ranks_of(mixer: MixerConfig) -> int:
    """0: there is no plan."""
    built = build(mixer, NoPositionsConfig())
    return ranks(built) if built.tp_plan else 0


def dropping(mixer: MixerConfig, p: float) -> MixerConfig | None:
    """The same mixer, or the one inside it, with dropout; None: it has none."""
    names = {field.name for field in fields(mixer)}
    if "dropout" in names:
        return replace(mixer, dropout=p)  # pyright: ignore[reportCallIssue]
    inner = dropping(mixer.mixer, p) if "mixer" in names else None  # pyright: ignore[reportAttributeAccessIssue]
    return None if inner is None else replace(mixer, mixer=inner)  # pyright: ignore[reportCallIssue]


DROPPING = [
    pytest.param(dropped, case.values[1], id=case.id)
    for case in meeting()
    if (dropped := dropping(cast(MixerConfig, case.values[0]), 0.5)) is not None
]


@pytest.mark.parametrize(("mixer", "position"), DROPPING)
def test_half_is_dropped_in_training_and_nothing_in_evaluation(mixer: MixerConfig, position: PositionsConfig) -> None:
    torch.manual_seed(0)
    dropout(build(mixer, position), WIDTH)


class Slack(nn.Linear):
    """Its gradient is right for the input, and 1 % too small for the weight."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, 0.99 * self.weight + 0.01 * self.weight.detach(), self.bias)


def test_a_gradient_that_is_one_per_cent_off_is_found() -> None:
    mixer = build(AttentionConfig(heads=2), NoPositionsConfig())
    derivatives(mixer, WIDTH)
    mixer.out = Slack(WIDTH, WIDTH)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        derivatives(mixer, WIDTH)


class Deaf(nn.Linear):
    """It multiplies by the weight that it was made with, whatever an adapter makes of it."""

    def forward(self, x: Tensor) -> Tensor:
        own = self.parametrizations.weight.original if hasattr(self, "parametrizations") else self.weight  # type: ignore[union-attr]
        return F.linear(x, own, self.bias)  # type: ignore[arg-type]


def test_a_map_that_passes_an_adapter_by_is_found() -> None:
    mixer = build(AttentionConfig(heads=2), NoPositionsConfig())
    adapted(mixer, WIDTH)
    mixer.k = Deaf(WIDTH, WIDTH)
    with pytest.raises(AssertionError, match="adapted, forward, dense, output"):
        adapted(mixer, WIDTH)


def test_an_adapter_whose_factors_do_not_learn_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LowRank, "product", lambda self, x, W, bias: F.linear(x, W, bias))
    monkeypatch.setattr(LowRank, "forward", lambda self, W: W + self.scale * self.B @ self.A.detach())
    with pytest.raises(AssertionError, match="adapted, forward, dense, gradient of A of q: there is none"):
        adapted(build(AttentionConfig(heads=2), NoPositionsConfig()), WIDTH)


def test_every_mixer_is_shared_out_or_says_why_not() -> None:
    mixer = build(AttentionConfig(heads=2), NoPositionsConfig())
    mixer.tp_plan = {}  # type: ignore[misc]
    with pytest.raises(AssertionError, match="a mixer without tp_plan says why, in no_plan"):
        sharding(mixer, WIDTH)
    mixer.no_plan = "it is a test"
    sharding(mixer, WIDTH)
    with pytest.raises(UserError, match="Attention is not shared out over ranks: it is a test"):
        shard(mixer, 0, 2)
    mixer = build(AttentionConfig(heads=2), NoPositionsConfig())
    mixer.tp_plan = {**mixer.tp_plan, "out": "columns"}  # type: ignore[misc]
    with pytest.raises((AssertionError, RuntimeError)):
        sharding(mixer, WIDTH)
