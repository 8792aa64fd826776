"""Attention maps are the weights that were used."""

import pytest
import torch

from transduce.config import from_data
from transduce.data.batch import Batch
from transduce.errors import UserError
from transduce.inspect.attention import cross_attention
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.layout import dense


def test_weights_times_values_are_what_the_mixer_gave() -> None:
    config = from_data(EncoderDecoderConfig, {"width": 16, "layers": 2, "mixer": {"heads": 4, "kv_heads": 2}})
    model = config.build(13).eval()
    source, inputs = [4, 5, 6, 7, 2], [1, 8, 9]
    maps = cross_attention(model, source, inputs)
    assert [tuple(m.shape) for m in maps] == [(4, 3, 5)] * 2
    torch.testing.assert_close(torch.stack(maps).sum(-1), torch.ones(2, 4, 3))
    seen: list[torch.Tensor] = []
    last = model.stacks()[1].blocks[1].parts[1].mixer  # type: ignore[union-attr]
    handle = last.out.register_forward_hook(lambda _m, x, _y: seen.append(x[0]))
    memory = model.remember(torch.tensor([source]), dense(1, 5))
    ids = torch.tensor([inputs])
    model.features(Batch(ids, ids, dense(1, 3), torch.tensor([source]), dense(1, 5)))
    handle.remove()
    values = memory[1][1].values[0].transpose(0, 1).repeat_interleave(2, 0)
    torch.testing.assert_close((maps[1] @ values).transpose(0, 1).flatten(1), seen[0][0])


def test_a_language_model_has_no_source() -> None:
    with pytest.raises(UserError, match="no encoder"):
        cross_attention(from_data(DecoderConfig, {"width": 16, "layers": 1}).build(9), [4], [1])
