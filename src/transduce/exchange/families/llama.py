"""LLaMA 1 to 3, SmolLM, and Mistral (a window): pre-norm, RMSNorm, gated feed-forwards, rotary positions.

Touvron et al. 2023, arXiv:2302.13971 and arXiv:2307.09288; Llama Team 2024, arXiv:2407.21783; Jiang et al. 2023,
arXiv:2310.06825. Families that differ in a part of it are subclasses of `Llama` and say only that.
"""

from dataclasses import replace
from typing import Any, ClassVar

from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.layered import One, each, layered, window
from transduce.exchange.families.matching import decoder_of, matches, named
from transduce.exchange.families.rope import expressible, longest, rotary, written
from transduce.exchange.table import Row, Table, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.rotary import RotaryConfig


class Llama(Family):
    """kv_heads, head_dim: where config.json does not say; None: as many as heads, width / heads. partial: config.json
    can say that part of a head is turned. even: its class of transformers wants heads that divide the width. ids: the
    largest special token of that class. parts: ours in a block. norms: theirs and ours in a block.
    """

    model_type: ClassVar[str] = "llama"
    architectures: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM", "LlamaModel")
    kv_heads: ClassVar[int | None] = None
    head_dim: ClassVar[int | None] = None
    limit: ClassVar[int] = 2048
    base: ClassVar[float] = 10_000.0
    norm_eps: ClassVar[str] = "rms_norm_eps"
    eps: ClassVar[float] = 1e-6
    act: ClassVar[tuple[str, str]] = ("hidden_act", "silu")
    offset: ClassVar[float] = 0.0
    tied: ClassVar[bool] = False
    partial: ClassVar[bool] = False
    even: ClassVar[bool] = True
    ids: ClassVar[int] = 2
    parts: ClassVar[tuple[str, str]] = ("mix", "feed")
    norms: ClassVar[tuple[tuple[str, str], ...]] = (
        ("input_layernorm", "mix_residual.norm"), ("post_attention_layernorm", "feed_residual.norm"),
    )  # fmt: skip

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, heads = fields.whole("hidden_size", 4096), fields.whole("num_attention_heads", 32)
        norm = RMSNorm(eps=fields.number(self.norm_eps, self.eps), offset=self.offset)
        hidden = fields.whole("intermediate_size", 11008)
        mixer = self.mixer(fields, heads, norm)
        size = fields.whole("head_dim", self.head_dim or max(1, width // heads))
        if size * heads != width:
            mixer = replace(mixer, size=size)
        tied = fields.flag("tie_word_embeddings", self.tied)
        model = DecoderConfig(
            width=width,
            layers=fields.whole("num_hidden_layers", 32),
            mixer=mixer,
            feedforward=GatedConfig(
                hidden=hidden,
                activation=fields.one_of(self.act[0], ACTIVATIONS, self.act[1]),
                bias=fields.flag("mlp_bias", False),
            ),
            norm=norm,
            positions=self.rotary(fields, fields.whole("max_position_embeddings", self.limit), size),
            init=NormalInit(),
            scale_embedding=False,
            head=NoHeadConfig() if fields.architecture in self.architectures[1:] and not tied else LinearHeadConfig(),
            tie_embeddings=tied,
        )
        return self.varied(fields, model), fields.whole("vocab_size", 32000)

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        bias = fields.flag("attention_bias", False)
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), bias=bias)

    def groups(self, fields: Fields, heads: int) -> int | None:
        groups = fields.whole("num_key_value_heads", self.kv_heads or heads)
        return None if groups == heads else groups

    def rotary(self, fields: Fields, limit: int, size: int) -> RotaryConfig:
        return rotary(fields, limit, self.base, self.partial)

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        """Returns the model with what it has beyond LLaMA, and with layers that differ."""
        return model

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        layers = each(model)
        result = self.uniform(model, layers) if layers and isinstance(model, DecoderConfig) else None
        if result is None:
            return None
        same, varied = result
        same = replace(same, head=LinearHeadConfig()) if isinstance(same.head, NoHeadConfig) else same
        parts = decoder_of(same, AttentionConfig, GatedConfig, RMSNorm, RotaryConfig)
        if parts is None or parts.norm.part != 1.0 or parts.norm.offset != self.offset:
            return None
        mixer, feed, places = parts.mixer, parts.feedforward, parts.positions
        own = self.written(mixer, parts.norm)
        if own is None or not expressible(places, self.partial) or (feed.bias and "mlp_bias" not in own):
            return None
        if self.even and model.width % mixer.heads:
            return None
        ids = ("bos_token_id", "eos_token_id", "pad_token_id") if vocab_size <= self.ids else ()
        return {
            **dict.fromkeys(ids),  # else the class takes its own, beyond the table
            "hidden_size": model.width, "num_attention_heads": mixer.heads, "num_hidden_layers": parts.layers,
            "num_key_value_heads": mixer.kv_heads or mixer.heads, "head_dim": mixer.head_dim(model.width),
            "intermediate_size": feed.hidden or -(-8 * model.width // 24) * 8, self.norm_eps: parts.norm.eps,
            self.act[0]: named(ACTIVATIONS, feed.activation), "max_position_embeddings": longest(places),
            "rope_parameters": written(places), "tie_word_embeddings": parts.tied, "vocab_size": vocab_size,
            **own, **({"mlp_bias": feed.bias} if "mlp_bias" in own else {}), **varied,
        }  # fmt: skip

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        """Returns the model without what it has beyond LLaMA, its layers equal, and what config.json says of that.

        None: it cannot say it. The inverse of `varied`."""
        return (layered(model, layers), {}) if all(one == layers[0] for one in layers) else None

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        """Returns what config.json says of attention, beyond heads (None: it cannot say this)."""
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, bias=mixer.bias)
        return {"attention_bias": mixer.bias, "mlp_bias": False} if matches(mixer, plain) else None

    def architecture(self, model: ModelConfig) -> str:
        return self.architectures[1 if isinstance(model.head, NoHeadConfig) else 0]

    def table(self, model: ModelConfig) -> Table:
        layers = each(model)
        assert layers is not None
        assert isinstance(model, DecoderConfig)
        headless, tied = isinstance(model.head, NoHeadConfig), model.tie_embeddings
        root = "" if headless else "model."
        rows = [row(f"{root}embed_tokens.weight", "embed.weight"), *pair(f"{root}norm", "stack.leave", bias=False)]
        for i, one in enumerate(layers):
            assert isinstance(one.mixer, AttentionConfig)
            theirs, block = f"{root}layers.{i}", f"stack.blocks.{i}"
            for a, b in self.norms:
                rows += pair(f"{theirs}.{a}", f"{block}.{b}", bias=False)
            rows += self.attention(f"{theirs}.self_attn", f"{block}.{self.parts[0]}", one.mixer, model.width)
            rows += self.feed(f"{theirs}.mlp", f"{block}.{self.parts[1]}", one.feedforward)
        if not (headless or tied):
            rows.append(row("lm_head.weight", "head.weight"))
        return Table(
            tuple(rows), root,
            (("lm_head.weight", "model.embed_tokens.weight"),) if tied and not headless else (),
        )  # fmt: skip

    def attention(self, theirs: str, ours: str, mixer: AttentionConfig, width: int) -> list[Row]:
        out = mixer.bias if mixer.out_bias is None else mixer.out_bias
        rows = [line for x in "qkv" for line in pair(f"{theirs}.{x}_proj", f"{ours}.{x}", bias=mixer.bias)]
        rows += pair(f"{theirs}.o_proj", f"{ours}.out", bias=out)
        if mixer.qk_norm is not None:
            rows += [row(f"{theirs}.{x}_norm.weight", f"{ours}.{x}_norm.weight") for x in "qk"]
        return rows

    def feed(self, theirs: str, ours: str, feed: FeedForwardConfig) -> list[Row]:
        assert isinstance(feed, GatedConfig)
        return [
            line for x in ("gate", "up", "down") for line in pair(f"{theirs}.{x}_proj", f"{ours}.{x}", bias=feed.bias)
        ]


class Mistral(Llama):
    model_type = "mistral"
    architectures = ("MistralForCausalLM", "MistralModel")
    kv_heads = 8
    limit = 4096 * 32
    even = False

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        size = window(fields, 4096)
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), window=size, bias=False)

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(
            heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, window=mixer.window, bias=False
        )
        return {"sliding_window": mixer.window} if matches(mixer, plain) else None
