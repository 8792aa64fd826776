"""Attention maps are the weights that were used."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.inspect.attention import cross_attention
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.block import Block
from transduce.model.layout import Layout, dense
from transduce.model.mixers.additive import Additive
from transduce.model.mixers.attention import Attention
from transduce.model.mixers.differentiable_window import DifferentiableWindow
from transduce.model.mixers.latent import LatentAttention
from transduce.model.mixers.luong import Luong


def test_weights_times_values_are_what_the_mixer_gave() -> None:
    config = from_data(EncoderDecoderConfig, {"width": 16, "layers": 2, "mixer": {"heads": 4, "kv_heads": 2}})
    model = config.build(13).eval()
    source, inputs = [4, 5, 6, 7, 2], [1, 8, 9]
    maps = cross_attention(model, source, inputs)
    assert [tuple(m.shape) for m in maps] == [(4, 3, 5)] * 2
    torch.testing.assert_close(torch.stack(maps).sum(-1), torch.ones(2, 4, 3))
    seen: list[torch.Tensor] = []
    last = model.stacks()[1].blocks[1].cross  # type: ignore[union-attr]
    handle = last.out.register_forward_hook(lambda _m, x, _y: seen.append(x[0]))
    memory = model.remember(torch.tensor([source]), dense(1, 5))
    ids = torch.tensor([inputs])
    model.features(Batch(ids, dense(1, 3), ids, torch.tensor([source]), dense(1, 5)))
    handle.remove()
    values = memory[1][1].fields[1][0].repeat_interleave(2, 0)
    torch.testing.assert_close((maps[1] @ values).transpose(0, 1).flatten(1), seen[0][0])


CROSSES: list[dict[str, Any]] = [
    {"kind": "attention", "heads": 2, "qk_norm": "rms-norm", "softcap": 2.0},
    {"kind": "additive"},
    {"kind": "additive", "heads": 4, "value": True},
    {"kind": "luong", "score": "dot"},
    {"kind": "luong", "score": "concat", "attentional": False},
    {"kind": "differentiable-window", "use": "multiplicative", "segment": 2},
    {"kind": "latent-attention", "heads": 2},
]
PLACES: list[dict[str, Any]] = [
    {"layers": 2},
    {"layers": 2, "decoder_layers": [{"times": 2, "tied": True}]},
    {"layers": 1, "mixer": "gru", "cross_place": "inside"},
    {"layers": 2, "mixer": "gru", "cross_place": "inside", "decoder_layers": [{"times": 2, "tied": True}]},
    {"layers": 2, "residual": "parallel"},
]


def values(mixer: Any, memory: Any) -> torch.Tensor:
    """(H, N, E): what one row of a memory averages."""
    if isinstance(mixer, LatentAttention):
        v = mixer.kv(memory.fields[0][..., : mixer.sizes.rank]).unflatten(-1, (2, -1))[..., mixer.sizes.plain :]
        return v[0].transpose(0, 1)
    return memory.fields[{Attention: 1, Additive: 1, Luong: 0, DifferentiableWindow: 0}[type(mixer)]][0]


def noting(read: Callable[..., torch.Tensor], written: list[Any]) -> Callable[..., torch.Tensor]:
    """The same, which keeps the memory that is asked."""

    def noted(x: torch.Tensor, layout: Layout, state: Any) -> torch.Tensor:
        written.append(state)
        return read(x, layout, state)

    return noted


@pytest.mark.parametrize("cross", CROSSES, ids=str)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_kind_in_every_place_shows_what_it_used(cross: dict[str, Any], place: dict[str, Any]) -> None:
    """Maps times values are what the mixer had before its last projection: of each layer, call and token."""
    config = from_data(EncoderDecoderConfig, {"width": 16, "positions": "none", "cross": cross, **place})
    model = config.build(13)
    source, inputs = [4, 5, 6, 7, 2], [1, 8, 9]
    crosses: list[Any] = [mixer for block in model.stacks()[1].blocks for mixer in cast(Block, block).crosses()]
    answers: list[list[torch.Tensor]] = [[] for _ in crosses]
    memories: list[list[Any]] = [[] for _ in crosses]
    for mixer, kept, written in zip(crosses, answers, memories, strict=True):
        mixer.read = noting(mixer.read, written)
        mixer.out.register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0]))
    maps = cross_attention(model, source, inputs)
    assert len(maps) == len(model.stacks()[1].order)
    shown, calls = iter(maps), len(inputs) if config.cross_place == "inside" else 1
    for mixer, kept, written in zip(crosses, answers, memories, strict=True):
        for start in range(0, len(kept), calls):  # one application of the layer
            m = next(shown)
            c = (m @ values(mixer, written[start])).transpose(0, 1).flatten(1)
            torch.testing.assert_close(c, torch.cat(kept[start : start + calls], 1)[0, :, : c.shape[1]])
            if cross.get("use") != "multiplicative":
                torch.testing.assert_close(m.sum(-1), torch.ones(m.shape[:2]))
    assert next(shown, None) is None
    assert model.training, "as it was"
    assert [mixer.read.__name__ for mixer in crosses] == ["noted"] * len(crosses), "nothing left behind"


def test_a_mixer_without_weights_has_no_map() -> None:
    config = from_data(EncoderDecoderConfig, {"width": 16, "layers": 1, "positions": "none", "cross": "gru"})
    with pytest.raises(UserError, match="without attention weights"):
        cross_attention(config.build(13), [4], [1])


def test_a_language_model_has_no_source() -> None:
    with pytest.raises(UserError, match="no encoder"):
        cross_attention(from_data(DecoderConfig, {"width": 16, "layers": 1}).build(9), [4], [1])
