"""XLNet. Yang et al. 2019, arXiv:1906.08237."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import Op
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, EncoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.transformer_xl import TransformerXLConfig
from transduce.model.residual.norm_last import PostNormConfig

PLACES, TABLE, HEAD, NONE = (
    TransformerXLConfig(segments=True), TableConfig(blank=True), LinearHeadConfig(bias=True), NoHeadConfig(),
)  # fmt: skip
SUMMARIES = ("type", "use_proj", "activation", "last_dropout")


@dataclass(frozen=True)
class ByHead(Op):
    """(M, H, D), heads apart, to (H D, M), or with `out` to (M, H D). heads: H."""

    heads: int
    out: bool = False

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        if any(x.ndim != 3 or x.shape[1] != self.heads for x in theirs):
            return [x[None] for x in theirs]  # no shape of ours, so that whoever called names it
        return [x.flatten(1) if self.out else x.flatten(1).mT for x in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [(x if self.out else x.mT).unflatten(1, (self.heads, -1)) for x in ours]


class Blank(Op):
    """(1, 1, M) to (M,)."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [x.flatten() if x.ndim == 3 and x.shape[:2] == (1, 1) else x[None] for x in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [x[None, None] for x in ours]


class XLNet(Family):
    """attn_type "bi" is an encoder, "uni" a decoder, whose state is what mems hold."""

    model_type: ClassVar[str] = "xlnet"
    architectures: ClassVar[tuple[str, ...]] = ("XLNetLMHeadModel", "XLNetModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, heads = fields.whole("d_model", 1024), fields.whole("n_head", 16)
        fields.only("d_head", width // heads)
        for key in ("mem_len", "reuse_len", "use_mems_eval", "use_mems_train", "start_n_top", "end_n_top"):
            fields.take(key)
        for key in SUMMARIES:
            fields.take(f"summary_{key}")
        fields.only("bi_data", False)
        fields.only("same_length", False)
        if fields.number("clamp_len", -1) > 0:
            raise UserError("config.json has clamp_len above 0, which makes far distances alike; it is not known here")
        kind = fields.one_of("attn_type", {"bi": EncoderConfig, "uni": DecoderConfig}, "bi")
        headed = fields.architecture == self.architectures[0] or fields.holds("lm_loss.bias")
        tied = fields.flag("tie_word_embeddings", True)
        model = kind(
            width=width,
            layers=fields.whole("n_layer", 24),
            mixer=AttentionConfig(heads=heads, bias=False),
            feedforward=MLPConfig(
                hidden=fields.whole("d_inner", 4096), activation=fields.one_of("ff_activation", ACTIVATIONS, "gelu")
            ),
            residual=PostNormConfig(),
            norm=LayerNorm(eps=fields.number("layer_norm_eps", 1e-12)),
            positions=PLACES,
            init=NormalInit(),
            embedding=TABLE,
            scale_embedding=False,
            head=HEAD if headed else NONE,
            tie_embeddings=tied or not headed,
        )
        return model, fields.whole("vocab_size", 32000)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        mixer, feed, norm = model.mixer, model.feedforward, model.norm
        if not isinstance(mixer, AttentionConfig) or not isinstance(feed, MLPConfig) or not isinstance(norm, LayerNorm):
            return None
        same = matches(mixer, AttentionConfig(heads=mixer.heads, bias=False)) and matches(
            feed, MLPConfig(hidden=feed.hidden, activation=feed.activation)
        )
        ends = model.embedding == TABLE and not model.scale_embedding and model.head in (HEAD, NONE)
        residual = matches(model.residual, PostNormConfig()) and norm == LayerNorm(eps=norm.eps)
        if not (same and ends and residual) or model.positions != PLACES:
            return None
        if not isinstance(model, EncoderConfig | DecoderConfig) or not isinstance(model.layers, int):
            return None
        return {
            "d_model": model.width, "n_head": mixer.heads, "mem_len": None,
            "n_layer": model.layers, "d_inner": feed.hidden or 4 * model.width, "layer_norm_eps": norm.eps,
            "ff_activation": named(ACTIVATIONS, feed.activation), "vocab_size": vocab_size,
            "attn_type": "bi" if isinstance(model, EncoderConfig) else "uni",
            "tie_word_embeddings": model.tie_embeddings,
        }  # fmt: skip

    def architecture(self, model: ModelConfig) -> str:
        return self.architectures[model.head == NONE]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig | DecoderConfig)
        assert isinstance(model.layers, int)
        assert isinstance(model.mixer, AttentionConfig)
        theirs, block = "transformer.layer.{i}", "stack.blocks.{i}"
        mixer, feed, apart = f"{block}.mix", f"{block}.feed", ByHead(model.mixer.heads)
        attention = {"r_w_bias": "u", "r_r_bias": "w", "r_s_bias": "s", "seg_embed": "segments"}
        rows = [
            *(row(f"{theirs}.rel_attn.{x}", f"{mixer}.{x}.weight", apart) for x in "qkv"),
            row(f"{theirs}.rel_attn.o", f"{mixer}.out.weight", replace(apart, out=True)),
            row(f"{theirs}.rel_attn.r", f"{mixer}.positions.r.weight", apart),
            *(row(f"{theirs}.rel_attn.{x}", f"{mixer}.positions.{y}") for x, y in attention.items()),
            *pair(f"{theirs}.rel_attn.layer_norm", f"{block}.mix_residual.norm"),
            *pair(f"{theirs}.ff.layer_1", f"{feed}.up"),
            *pair(f"{theirs}.ff.layer_2", f"{feed}.down"),
            *pair(f"{theirs}.ff.layer_norm", f"{block}.feed_residual.norm"),
        ]
        ends = [
            row("transformer.word_embedding.weight", "embed.weight"),
            row("transformer.mask_emb", "embed.blank", Blank()),
        ]
        if model.head == HEAD:
            ends.append(row("lm_loss.bias", "head.bias"))
            ends += [] if model.tie_embeddings else [row("lm_loss.weight", "head.weight")]
        tied = model.head == HEAD and model.tie_embeddings
        copies = (("lm_loss.weight", "transformer.word_embedding.weight"),) if tied else ()
        return Table((*ends, *layers(rows, model.layers)), "transformer.", copies, bare=model.head == NONE)
