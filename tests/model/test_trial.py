"""Tokens that are tried leave the state that those that are accepted leave."""

from typing import Any, cast

import pytest
import torch

from transduce.config import kinds
from transduce.model.layout import dense
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.state import snapshot
from transduce.model.trial import Trail, accepted, one_by_one, tried, trying

HERE: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
CONFIGS = [
    config
    for kind in kinds(MixerConfig.folder).values()
    if not cast(type[MixerConfig], kind).absent
    for config in cast(type[MixerConfig], kind).examples()
    if "forward" not in config.build(16, Positions()).cannot
]


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_tokens_that_were_not_accepted_leave_no_trace(config: MixerConfig) -> None:
    """What a mixer says of itself (`rewinds`) holds: six tokens, four tried, two of them accepted, two others."""
    mixer, generator = config.build(16, Positions()).eval(), torch.Generator().manual_seed(0)
    for parameter in mixer.parameters():
        parameter.normal_(0.0, 0.3, generator=generator)
    x = torch.randn(1, 12, 16, generator=generator)
    expected = mixer(torch.cat([x[:, :8], x[:, 10:]], 1), dense(1, 10))[0][:, 8:]
    state = mixer(x[:, :6], dense(1, 6), mixer.init_state(1, 12, **HERE))[1]
    before = snapshot(state)
    y, after = one_by_one(mixer, x[:, 6:10], dense(1, 4, 6), state, mixer.rewinds)
    torch.testing.assert_close(y, mixer(x[:, 6:10], dense(1, 4, 6), before)[0])
    z, _ = mixer(x[:, 10:], dense(1, 2, 8), accepted((after,), 2)[0])
    torch.testing.assert_close(z, expected)


def test_a_state_without_a_trail_stays() -> None:
    a, b = torch.zeros(1, 2), torch.ones(1, 2)
    state = (None, (Trail(((a, None), (b, None))), b))
    assert accepted(state, 1) == (None, ((a, None), b))
    assert accepted(state, 2)[1][0][0] is b


def test_tokens_are_tried_inside_only() -> None:
    assert not tried()
    with trying():
        assert tried()
    assert not tried()
