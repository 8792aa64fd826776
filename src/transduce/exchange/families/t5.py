"""T5, its version 1.1 (Flan-T5, UL2), mT5, and their encoders alone.

Raffel et al. 2020, arXiv:1910.10683; Shazeer 2020, arXiv:2002.05202 (the gates of 1.1); Xue et al. 2021,
arXiv:2010.11934; Tay et al. 2022, arXiv:2205.05131.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from transduce.errors import UserError
from transduce.exchange.families.encoder_decoders import Tower, towers
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import FIRST
from transduce.exchange.table import Row, Table, row
from transduce.model.architecture import EncoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.t5 import T5Config
from transduce.model.residual.norm_first import PreNormConfig

Tie = Literal["all", "inputs", "none"]
Feed = Callable[[FeedForwardConfig, str, str], list[Row]]  # a feed-forward, its name there and here, to its rows


class T5(Family):
    model_type: ClassVar[str] = "t5"
    architectures: ClassVar[tuple[str, ...]] = (
        "T5ForConditionalGeneration", "T5Model", "T5EncoderModel", "T5WithLMHeadModel",
    )  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {  # where config.json says nothing
        "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32128, "feed_forward_proj": "relu",
    }  # fmt: skip

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, depth, heads, vocab_size = (
            fields.whole(key, self.usual[key]) for key in ("d_model", "num_layers", "num_heads", "vocab_size")
        )
        below = fields.whole("num_decoder_layers", self.usual.get("num_decoder_layers", depth))
        size, (tie, scaled) = fields.whole("d_kv", 64), self.tying(fields)
        stack: dict[str, Any] = {
            "width": width,
            "mixer": AttentionConfig(heads=heads, size=size, scale=1.0, bias=False),
            "feedforward": self.feedforward(fields),
            "residual": PreNormConfig(),
            "norm": RMSNorm(eps=fields.number("layer_norm_epsilon", 1e-6)),
            "positions": T5Config(
                buckets=fields.whole("relative_attention_num_buckets", 32),
                max_distance=fields.whole("relative_attention_max_distance", 128),
            ),
            "init": NormalInit(),
            "scale_embedding": False,
        }
        for key in ("dropout_rate", "n_positions", "output_past"):
            fields.take(key)
        if fields.architecture.endswith("EncoderModel"):
            return EncoderConfig(**stack, layers=depth, head=NoHeadConfig()), vocab_size
        bare = fields.architecture == self.architectures[1]
        head = NoHeadConfig() if bare else LinearHeadConfig(scale=width**-0.5 if scaled else 1.0)
        above = None if depth == below else depth
        model = EncoderDecoderConfig(**stack, layers=below, encoder_layers=above, tie_embeddings=tie, head=head)
        return model, vocab_size

    def tying(self, fields: Fields) -> tuple[Tie, bool]:
        """Returns how tables are tied, which only the tensors tell, and whether hidden states are scaled before the
        head.
        """
        tied = fields.flag("tie_word_embeddings", True)
        return own_head(fields), fields.flag("scale_decoder_outputs", tied)

    def feedforward(self, fields: Fields) -> FeedForwardConfig:
        kind = str(fields.take("feed_forward_proj", self.usual["feed_forward_proj"]))
        gate, _, last = kind.rpartition("-")
        if gate not in ("", "gated"):
            raise UserError(f"config.json has feed_forward_proj={kind!r}; it must be `relu`, `gated-gelu`, or alike")
        activation = fields.one_of("dense_act_fn", ACTIVATIONS, "gelu_new" if kind == "gated-gelu" else last)
        cls = GatedConfig if fields.flag("is_gated_act", gate == "gated") else MLPConfig
        return cls(hidden=fields.whole("d_ff", self.usual["d_ff"]), activation=activation, bias=False)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        line = said(model)
        if line is None or (isinstance(model, EncoderDecoderConfig) and not model.one_table):
            return None
        feed, below = line.above.feedforward, line.below
        if not isinstance(feed, MLPConfig | GatedConfig) or feed.bias or (below and below.feedforward != feed):
            return None
        gated, activation = isinstance(feed, GatedConfig), named(ACTIVATIONS, feed.activation)
        usual = 4 * model.width if not gated else -(-8 * model.width // 24) * 8
        return {
            **line.numbers, "vocab_size": vocab_size, "d_ff": feed.hidden or usual,
            "feed_forward_proj": f"gated-{activation}" if gated else activation, "dense_act_fn": activation,
            "is_gated_act": gated, "tie_word_embeddings": line.scaled, "scale_decoder_outputs": line.scaled,
        }  # fmt: skip

    def architecture(self, model: ModelConfig) -> str:
        if isinstance(model, EncoderConfig):
            return self.architectures[2]
        return self.architectures[isinstance(model.head, NoHeadConfig)]

    def table(self, model: ModelConfig) -> Table:
        both = towers(model)
        assert both is not None
        return table(model, both, self.feed_rows)

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        """Returns names of early files: positions for what reads the source, with which nothing has ever computed."""
        unread = (r"(^|\.)EncDecAttention\.relative_attention_bias\.weight$",)
        return (r"^decoder\.",) if isinstance(model, EncoderConfig) else unread

    def feed_rows(self, feed: FeedForwardConfig, theirs: str, ours: str) -> list[Row]:
        theirs = f"{theirs}.DenseReluDense"
        ups = ("gate", "up") if isinstance(feed, GatedConfig) else ("up",)
        names = zip(("wi_0", "wi_1") if len(ups) > 1 else ("wi",), ups, strict=True)
        return [row(f"{theirs}.{x}.weight", f"{ours}.{y}.weight") for x, y in (*names, ("wo", "down"))]


class MT5(T5):
    """T5 1.1 with a larger vocabulary, whose hidden states are never scaled."""

    model_type = "mt5"
    rank: ClassVar[int] = 60  # what it can express, T5 can
    architectures = ("MT5ForConditionalGeneration", "MT5Model", "MT5EncoderModel")
    usual: ClassVar[Mapping[str, Any]] = {
        "d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6, "vocab_size": 250112,
        "feed_forward_proj": "gated-gelu",
    }  # fmt: skip

    def tying(self, fields: Fields) -> tuple[Tie, bool]:
        fields.take("tie_word_embeddings")
        fields.take("scale_decoder_outputs")
        return own_head(fields), False

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        data = super().write(model, vocab_size)
        return None if data is None or data.pop("scale_decoder_outputs") else data


def own_head(fields: Fields) -> Tie:
    return "inputs" if fields.holds("lm_head.weight") else "all"


class Said(NamedTuple):
    """The keys that all of this line have: the stacks, and whether hidden states are scaled before the head."""

    above: Tower
    below: Tower | None
    scaled: bool
    numbers: dict[str, Any]


def said(model: ModelConfig) -> Said | None:
    """Returns what config.json says of a model, but for its feed-forwards and how it is tied (None: another model)."""
    both, norm, places = towers(model), model.norm, model.positions
    if both is None or not isinstance(norm, RMSNorm) or not isinstance(places, T5Config):
        return None
    above, below = both
    mixer, head = above.mixer, model.head
    scaled = isinstance(head, LinearHeadConfig) and head.scale == model.width**-0.5
    plain = (
        norm == RMSNorm(eps=norm.eps)
        and matches(model.residual, PreNormConfig())
        and matches(mixer, AttentionConfig(heads=mixer.heads, size=mixer.size, scale=1.0, bias=False))
        and (below is None or matches(below.mixer, mixer))
        and model.embedding == TableConfig()
        and not model.scale_embedding
        and getattr(model, "source_vocab", None) is None
        and (
            head == NoHeadConfig()
            or (below is not None and head == LinearHeadConfig(scale=model.width**-0.5 if scaled else 1.0))
        )
    )
    if not plain:
        return None
    numbers = {
        "d_model": model.width, "d_kv": mixer.head_dim(model.width), "num_heads": mixer.heads,
        "num_layers": above.layers, "num_decoder_layers": (below or above).layers, "layer_norm_epsilon": norm.eps,
        "relative_attention_num_buckets": places.buckets, "relative_attention_max_distance": places.max_distance,
        "is_encoder_decoder": below is not None,
    }  # fmt: skip
    return Said(above, below, scaled, numbers)


def table(model: ModelConfig, both: tuple[Tower, Tower | None], feed: Feed) -> Table:
    """Returns the tensors of both stacks. feed: the rows of a feed-forward, whose names begin as is said."""
    above, below = both
    rows = stack(above, "encoder", "encoder." if below else "", feed)
    first = "encoder.embed.weight" if below else "embed.weight"
    copies = [("encoder.embed_tokens.weight", "shared.weight")]
    if below is None:
        return Table((row("shared.weight", first), *rows), copies=tuple(copies))
    assert isinstance(model, EncoderDecoderConfig)
    rows += stack(below, "decoder", "decoder.", feed)
    if not isinstance(model.head, NoHeadConfig) and model.tie_embeddings != "all":
        rows.append(row("lm_head.weight", "decoder.head.weight"))
    elif not isinstance(model.head, NoHeadConfig):
        copies.append(("lm_head.weight", "shared.weight"))
    if not model.one_table:
        tables = ("encoder.embed_tokens.weight", "shared.weight")  # Hugging Face computes with the first of them only
        rows += [row(tables, first, FIRST), row("decoder.embed_tokens.weight", "decoder.embed.weight")]
        return Table(tuple(rows))
    copies.append(("decoder.embed_tokens.weight", "shared.weight"))
    return Table((row("shared.weight", first), *rows), copies=tuple(copies))


def stack(tower: Tower, name: str, ours: str, feed: Feed) -> list[Row]:
    rows = [
        row(f"{name}.final_layer_norm.weight", f"{ours}stack.leave.weight"),
        row(
            f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            f"{ours}stack.blocks.0.mix.positions.weight",
        ),
    ]
    mixers = {"mix": "SelfAttention"} | ({"cross": "EncDecAttention"} if name == "decoder" else {})
    for i, kind in enumerate(tower.feedforwards):
        block, layer = f"{ours}stack.blocks.{i}", f"{name}.block.{i}.layer"
        for j, (role, mixer) in enumerate(mixers.items()):
            for x, y in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "out")):
                rows.append(row(f"{layer}.{j}.{mixer}.{x}.weight", f"{block}.{role}.{y}.weight"))
        for j, role in enumerate((*mixers, "feed")):
            rows.append(row(f"{layer}.{j}.layer_norm.weight", f"{block}.{role}_residual.norm.weight"))
        rows += feed(kind, f"{layer}.{len(mixers)}", f"{block}.feed")
    return rows
