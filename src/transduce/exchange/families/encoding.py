"""Encoders of BERT's line: their parts, their config.json, their tables."""

from typing import Any, NamedTuple

from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS, PLACES, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import FIRST
from transduce.exchange.table import Row, Table, layers, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.feedforward import Activation
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.heads.vector import VectorHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.residual.norm_last import PostNormConfig

NO_HEAD = NoHeadConfig()
POOLER = VectorHeadConfig(pool=("first",), hidden=True)  # tanh(A h_0 + a), which all of this line have
PAIR = ClassesHeadConfig(classes=2, pool=("first",), hidden=True)  # of two sentences, from what the pooler gives
SILENT = (PLACES, r"(^|\.)embeddings\.token_type_ids$")
ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))  # of checkpoints that came from TensorFlow
MIXER, FEED = "stack.blocks.{i}.mix", "stack.blocks.{i}.feed"
AFTER_MIXER, AFTER_FEED = (f"{name}_residual.norm" for name in (MIXER, FEED))


class Encoding(Family):
    """A family of this line."""

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return SILENT


def read_encoder(fields: Fields, activation: Activation, **parts: Any) -> EncoderConfig:
    """Returns the encoder of the keys that BERT and its relatives share. parts: the rest of `EncoderConfig`.

    Raises UserError for what no such encoder does.
    """
    no_decoder(fields)
    fields.only("position_embedding_type", "absolute")
    fields.take("classifier_dropout_prob")
    options: dict[str, Any] = {
        "width": fields.whole("hidden_size", 768),
        "mixer": AttentionConfig(heads=fields.whole("num_attention_heads", 12)),
        "feedforward": MLPConfig(hidden=fields.whole("intermediate_size", 3072), activation=activation),
        "norm": LayerNorm(eps=fields.number("layer_norm_eps", 1e-12)),
        "tie_embeddings": fields.flag("tie_word_embeddings", True),
    }
    return EncoderConfig(
        residual=PostNormConfig(), init=NormalInit(), scale_embedding=False, **options, **parts
    )  # fmt: skip


def no_decoder(fields: Fields) -> None:
    """Raises UserError if the class makes a decoder of these weights."""
    for key in ("is_decoder", "add_cross_attention"):
        if fields.data.get(key):
            raise UserError(f"config.json has {key}={fields.data[key]}, an encoder used as a decoder, not read here")


class Parts(NamedTuple):
    """The parts of an encoder of this line."""

    model: EncoderConfig
    mixer: AttentionConfig
    feedforward: MLPConfig
    norm: LayerNorm
    positions: LearnedConfig
    table: TableConfig

    def plain(self, **table: Any) -> bool:
        """Says whether the embedding is a table with a norm, and nothing else than `table` says."""
        return self.table == TableConfig(norm=True, **table)

    def written(self, vocab_size: int) -> dict[str, Any]:
        """Returns the keys that all have, but for layers."""
        return {
            "hidden_size": self.model.width, "num_attention_heads": self.mixer.heads, "vocab_size": vocab_size,
            "intermediate_size": self.feedforward.hidden or 4 * self.model.width, "layer_norm_eps": self.norm.eps,
            "hidden_act": named(ACTIVATIONS, self.feedforward.activation), "type_vocab_size": self.table.types,
            "tie_word_embeddings": self.model.tie_embeddings, "position_embedding_type": "absolute",
            "max_position_embeddings": self.positions.limit + self.positions.offset,
        }  # fmt: skip


def encoder_of(model: ModelConfig) -> Parts | None:
    """Returns the parts of a Post-LN encoder of plain attention whose embedding has positions and a norm, or None."""
    if not isinstance(model, EncoderConfig) or model.scale_embedding:
        return None
    if model.heads and pooler_of(model) is None:
        return None
    a, f, n, p, e = model.mixer, model.feedforward, model.norm, model.positions, model.embedding
    if not (isinstance(f, MLPConfig) and isinstance(n, LayerNorm) and isinstance(p, LearnedConfig)):
        return None
    if not (isinstance(a, AttentionConfig) and isinstance(e, TableConfig)):
        return None
    if not matches(a, AttentionConfig(heads=a.heads)) or not matches(model.residual, PostNormConfig()):
        return None
    if not (f.bias and n.bias and e.norm) or f.activation not in ACTIVATIONS.values():
        return None
    return Parts(model, a, f, n, p, e)


def heads_of(pooler: bool, pairs: bool) -> dict[str, HeadConfig]:
    """Returns the heads beside the main one: of pairs of sentences, or a pooler alone."""
    return {"pair": PAIR} if pairs else {"pooled": POOLER} if pooler else {}


def pooler_of(model: ModelConfig) -> str | None:
    """Returns the name of the only head beside the main one, if it has the pooler of this line."""
    (name, *more) = model.heads or ("",)
    matched = name and not more and any(matches(model.heads[name], one) for one in (POOLER, PAIR))
    return name if matched else None


def pair_of(model: ModelConfig) -> str | None:
    """Returns the name of the head of pairs of sentences."""
    return next((name for name, head in model.heads.items() if matches(head, PAIR)), None)


def rows_of_heads(model: ModelConfig, pooler: str, classes: str = "") -> list[Row]:
    """Returns the rows of the head beside the main one. pooler, classes: what its two maps are called in the files."""
    name, both = pooler_of(model), pair_of(model)
    rows = [] if name is None else pair(pooler, f"heads.{name}.dense")
    return rows if both is None else [*rows, *pair(classes, f"heads.{both}.output")]


def masked_or_none(model: EncoderConfig, activation: Activation, size: int | None = None) -> bool:
    """Says whether its head is none, or that of a masked language model. size: of the table, if not the width."""
    head = TransformHeadConfig(activation=activation, size=None if model.tie_embeddings else size)
    return model.head in (NO_HEAD, head)


def masked_head(
    names: tuple[str, str, str], base: str, model: EncoderConfig
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Returns rows and copies of that head. names: of its linear map, its norm, and what holds decoder and bias."""
    dense, norm, last = names
    rows, table = [*pair(dense, "head.dense"), *pair(norm, "head.norm")], f"{base}.embeddings.word_embeddings.weight"
    if model.tie_embeddings:
        copies = [(f"{last}.decoder.weight", table), (f"{last}.decoder.bias", f"{last}.bias")]
        return [*rows, row(f"{last}.bias", "head.bias")], copies
    rows.append(row(f"{last}.decoder.weight", "head.weight"))
    return [*rows, row((f"{last}.decoder.bias", f"{last}.bias"), "head.bias", FIRST)], []


def table(
    base: str, model: EncoderConfig, ends: list[Row], copies: list[tuple[str, str]], project: str = "",
    classes: str = "",
) -> Table:  # fmt: skip
    """Returns the table of a model whose blocks are named as in BERT. base: what stands before them. project: name of
    the map from embeddings to the width. classes: that of the classes of pairs.
    """
    assert isinstance(model.layers, int)
    theirs = f"{base}.encoder.layer.{{i}}"
    rows = [
        *(one for x in ("query", "key", "value") for one in pair(f"{theirs}.attention.self.{x}", f"{MIXER}.{x[0]}")),
        *pair(f"{theirs}.attention.output.dense", f"{MIXER}.out"),
        *pair(f"{theirs}.attention.output.LayerNorm", AFTER_MIXER),
        *pair(f"{theirs}.intermediate.dense", f"{FEED}.up"),
        *pair(f"{theirs}.output.dense", f"{FEED}.down"),
        *pair(f"{theirs}.output.LayerNorm", AFTER_FEED),
    ]
    more = rows_of_heads(model, f"{base}.pooler.dense", classes)
    return whole(base, model, [*layers(rows, model.layers), *more, *ends], copies, project)


def whole(
    base: str, model: EncoderConfig, rows: list[Row], copies: list[tuple[str, str]], project: str = ""
) -> Table:  # fmt: skip
    """Returns the table of a model of this line. rows: of all but the embedding."""
    assert isinstance(model.embedding, TableConfig)
    theirs = f"{base}.embeddings"
    begin = [
        row(f"{theirs}.word_embeddings.weight", "embed.weight"),
        row(f"{theirs}.position_embeddings.weight", "embed.positions.weight"),
        *pair(f"{theirs}.LayerNorm", "embed.norm"),
    ]
    if model.embedding.types:
        begin.append(row(f"{theirs}.token_type_embeddings.weight", "embed.types"))
    if model.embedding.size not in (None, model.width):
        begin += pair(f"{base}.{project}", "embed.project")
    bare = model.head == NO_HEAD and pair_of(model) is None
    return Table((*begin, *rows), f"{base}.", tuple(copies), bare, ENDINGS)
