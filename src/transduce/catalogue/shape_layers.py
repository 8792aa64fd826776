"""The layers of a stack as a published shape words them: what mixes tokens, who sees whom, experts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from transduce.catalogue.shape_parts import feed
from transduce.catalogue.shape_words import Words
from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS
from transduce.model.architecture import LayerConfig, Layers
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.block_sparse import BlockSparseConfig
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.disentangled import DisentangledConfig
from transduce.model.mixers.mixer import MixerConfig


def attention_of(words: Words, width: int) -> AttentionConfig:
    """Returns the attention of all layers, whatever they see: `seen` narrows it."""
    heads, bias = words.whole("heads"), words.shape["bias"]
    groups, size = words.take("kv_heads", heads), words.take("head_dim")
    inner = words.take("qkv_bias", bias)
    out = words.take("attn_out_bias", bias)
    return AttentionConfig(
        heads=heads, kv_heads=None if groups == heads else groups,
        size=None if size is None or size * heads == width else size, bias=inner,
        out_bias=None if out == inner else out, scale=words.take("attention_scale"),
    )  # fmt: skip


def disentangled_of(words: Words) -> DisentangledConfig:
    """Returns that of DeBERTa. v1 packs queries, keys and values in one matrix, and keys have no bias."""
    heads, packed = words.whole("heads"), words.take("disentangled_qkv", False)
    words.only("kv_heads", heads)
    words.only("pos_att_type", ["c2p", "p2c"])
    return DisentangledConfig(heads=heads, shared=words.take("share_att_key", False), key_bias=not packed)


def beside_of(words: Words) -> MixerConfig | None:
    """Returns the convolution that reads what enters the first layer of DeBERTa-v2."""
    kernel = words.take("conv_kernel")
    activation = ACTIVATIONS[words.shape["activation"]]
    return (
        None if kernel is None else ConvolutionConfig(kernel=kernel, gated=False, activation=activation, project=False)
    )


def seen(words: Words, mixer: MixerConfig) -> list[MixerConfig | None]:
    """Returns the mixers of successive layers, to be repeated; None: the model's."""
    pattern_data = words.take("attention")
    if pattern_data is None:
        return [None]
    own = dict(cast("Mapping[str, Any]", pattern_data))
    pattern = own.pop("pattern", None)
    if pattern == "alternating global and local" and isinstance(mixer, AttentionConfig):
        return [None, replace(mixer, window=own.pop("window"))]
    if pattern == "alternating dense and locally banded sparse":
        words.notes.append("the bands of every second layer are not published, so all layers see all tokens")
        return [None]
    if pattern == "prefix-bidirectional + causal spans":
        words.notes.append("which tokens are a prefix that sees itself whole, each batch says (`layout.prefixed`)")
        return [None]
    if pattern == "block-sparse" and isinstance(mixer, AttentionConfig):
        sparse, out = Words(own), mixer.bias if mixer.out_bias is None else mixer.out_bias
        for key, value in (("window_blocks", 3), ("global_blocks", 2)):
            sparse.only(key, value)
        sparse_mixer = BlockSparseConfig(
            heads=mixer.heads, size=mixer.size, bias=mixer.bias, out_bias=out, block=sparse.whole("block_size"),
            random=sparse.take("random_blocks", 0),
        )  # fmt: skip
        sparse.done()
        return [sparse_mixer]
    raise UserError(f"the shape has attention={pattern_data!r}, which no part here does yet")


def experts_of(words: Words) -> tuple[FeedForwardConfig, int, int] | None:
    """Returns the feed-forward of layers with experts, in which layers (every n-th), and in how many of the model."""
    section = words.take("moe")
    if section is None:
        return None
    own = Words(cast("Mapping[str, Any]", section))
    inner = feed(
        own.whole("expert_d_ff"), words.shape["activation"], own.take("expert_glu", False),
        words.shape.get("ffn_bias", words.shape["bias"]),
    )  # fmt: skip
    own.drop("routing")
    experts = ExpertsConfig(experts=own.whole("experts"), top=own.whole("top_k"), inner=inner)
    every, layers = own.whole("every"), own.whole("layers")
    own.done()
    return experts, every, layers


def layers_of(
    depth: int, mixers: Sequence[MixerConfig | None], moe: tuple[FeedForwardConfig, int, int] | None,
    beside: MixerConfig | None = None,
) -> Layers:  # fmt: skip
    """Returns the layers of a stack: successive mixers, and experts in every n-th. Equal neighbours are one run.

    beside: a mixer beside the first layer.
    """
    experts, every = (None, 1) if moe is None else moe[:2]
    runs = list[LayerConfig]()
    for i in range(depth):
        feedforward = experts if i % every == every - 1 else None
        own = LayerConfig(mixer=mixers[i % len(mixers)], feedforward=feedforward, beside=None if i else beside)
        if runs and replace(runs[-1], times=1) == own:
            own = replace(own, times=runs.pop().times + 1)
        runs.append(own)
    return depth if runs == [LayerConfig(times=depth)] else tuple(runs)
