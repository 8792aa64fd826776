"""Every law on every mixer that discovery finds, with and without rotary positions, in float32 and float64."""

from collections.abc import Callable

import pytest
import torch

from transduce.config import kinds
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.positions.rotary import RotaryConfig
from transduce.testing.laws import LAWS

WIDTH = 16
CONFIGS = [config for kind in kinds(MixerConfig.folder).values() for config in kind.examples()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("rotary", [False, True], ids=["plain", "rotary"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_law(config: MixerConfig, law: Callable[[Mixer, int], None], rotary: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    positions = RotaryConfig(limit=64).build(WIDTH, config.head_dim(WIDTH)) if rotary else Positions()
    mixer = config.build(WIDTH, positions).to(dtype)
    law(mixer, WIDTH)
