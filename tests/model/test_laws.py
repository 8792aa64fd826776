"""Every law on every mixer that discovery finds, with every kind of positions that acts inside it."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import kinds
from transduce.errors import UserError
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import NoPositionsConfig, PositionsConfig
from transduce.testing.laws import LAWS, compilation, derivatives

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


LAWS_AND_PRECISIONS = [
    pytest.param(law, dtype, id=f"{law.__name__}-{dtype}")
    for law in LAWS
    for dtype in (torch.float32, torch.float64)
    if law not in (compilation, derivatives) or dtype == torch.float32  # these do not depend on the precision
]


@pytest.mark.parametrize(("law", "dtype"), LAWS_AND_PRECISIONS)
@pytest.mark.parametrize(("mixer", "position"), CASES)
def test_law(
    mixer: MixerConfig, position: PositionsConfig, law: Callable[[Mixer, int], None], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    law(build(mixer, position).to(dtype), WIDTH)


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
