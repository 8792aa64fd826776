"""A published shape, in the words of the papers, as a model of our parts.

A shape says what papers say; the rest is understood: `bias` is of every dense layer that no key of its own names, a
norm closes a stack wherever norms come first, heads have d_model / heads features, gated feed-forwards three matrices.
Every key is taken or is an error. Dropout and start values are ours, since shapes do not say them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from transduce.catalogue.entry import TEXT, Entry
from transduce.catalogue.lineage import chain
from transduce.catalogue.shape_layers import attention_of, beside_of, disentangled_of, experts_of, layers_of, seen
from transduce.catalogue.shape_parts import feedforward_of, norm_of, positions_of, residual_of
from transduce.catalogue.shape_words import Words
from transduce.errors import UserError
from transduce.exchange.families.encoding import PAIR, heads_of
from transduce.exchange.families.family import ACTIVATIONS
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig, LayerConfig, ModelConfig
from transduce.model.embed.adaptive import AdaptiveEmbeddingConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.adaptive import AdaptiveHeadConfig
from transduce.model.heads.discriminator import DiscriminatorHeadConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.heads.projection import ProjectionHeadConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.init.init import NormalInit, XavierInit

ENTITIES = (
    "entity_dim",
    "entity_heads",
    "entity_embeddings",
    "text_only_layers",
    "fusion_only_layers",
    "knowledge_layers",
)


class Built(NamedTuple):
    """model and the rows of its vocabulary. notes: in what it is not the published one. beside: parameters of parts
    that are published but not among ours, by name; a model with such is counted, not built."""

    model: ModelConfig
    vocab_size: int
    notes: tuple[str, ...] = ()
    beside: Mapping[str, int] = {}


def built(entry: Entry) -> Built:
    """Returns the model of an entry, of its own shape or that of the nearest ancestor with one. Raises UserError."""
    if entry.family not in TEXT:
        raise UserError(f"{entry.id} is a model of the family {entry.family}; only models of text are built here")
    owner = next((one for one in chain(entry) if one.shape), None)
    if owner is None or not entry.buildable or not owner.buildable:
        raise UserError(f"{entry.id} cannot be built: its shape was not published, or too little of it")
    try:
        return translated(owner.shape, owner.family)
    except UserError as error:
        raise UserError(f"{entry.id} cannot be built: {error}") from None


def body(entry: Entry) -> ModelConfig | None:
    """Returns attention and feed-forwards alone, without biases: what sizes that leave the rest out count."""
    owner = next((one for one in chain(entry) if one.shape), None)
    needed = ("layers", "d_model", "heads", "d_ff")
    if owner is None or not all(key in owner.shape for key in needed):
        return None
    own = {key: owner.shape[key] for key in (*needed, "kv_heads", "head_dim", "glu") if key in owner.shape}
    rest = {"norm": "layernorm", "norm_placement": "pre", "position": "none", "activation": "gelu", "bias": False}
    return translated({**own, **rest, "head": "none", "vocab_size": 1}, "decoder").model


def translated(shape: Mapping[str, Any], family: str) -> Built:
    """Returns the model of a shape. family: encoder, decoder or encoder-decoder."""
    words = Words(shape)
    for key in ("bias", "activation"):
        if key not in shape:
            raise UserError(f"the shape does not say its {key}")
    for key in ("label_smoothing", "tokenizer_vocab", "train_memory", "segment_recurrence"):
        words.drop(key)  # of training and of tokenisers
    words.drop("quantization", "in full precision; the published one is quantised")
    words.drop("bias")  # read where it is asked for
    width = words.whole("d_model")
    far = shape.get("position") == "disentangled-relative"
    mixer = disentangled_of(words) if far else attention_of(words, width)
    vocab_size, head, scale = words.whole("vocab_size"), words.one_of("head", "lm", "mlm", "rtd", "none"), scaled(words)
    common: dict[str, Any] = {
        "width": width, "mixer": mixer, "positions": positions_of(words, mixer.head_dim(width)),
        "norm": norm_of(words), "residual": residual_of(words), "feedforward": feedforward_of(words),
        "scale_embedding": scale, "init": XavierInit() if scale else NormalInit(),
    }  # fmt: skip
    common |= {"embedding": embedding_of(words, width), "head": head_of(words, head)}
    for key in ENTITIES:
        words.drop(key)
    make = {"encoder": encoder, "decoder": decoder, "encoder-decoder": encoder_decoder}[family]
    model = make(words, common)
    beside = dict(words.take("extra_params", {}))
    words.done()
    return Built(model, vocab_size, tuple(words.notes), beside)


def scaled(words: Words) -> bool:
    """Says whether embeddings are multiplied by the root of the width."""
    words.only("embedding_scale", "sqrt(d_model)")
    return "embedding_scale" in words.shape


def embedding_of(words: Words, width: int) -> EmbeddingConfig:
    cutoffs, size = words.take("adaptive_cutoffs"), words.take("embedding_dim")
    if cutoffs is not None:
        return AdaptiveEmbeddingConfig(cutoffs=tuple(cutoffs), div=words.take("adaptive_div", 1))
    words.only("position_width", width)
    return TableConfig(
        size=size, bias=words.take("embedding_proj_bias", True), project_first="position_width" in words.shape,
        types=words.take("token_types", 0), norm=words.take("embed_norm", False),
        blank=words.shape.get("two_stream", False),
    )  # fmt: skip


def head_of(words: Words, kind: str) -> HeadConfig:
    """Returns the head; a table narrower than the width is also what a tied head is made of (embedding_proj_out)."""
    activation: str = words.shape.get("activation", "")
    size, bias = words.take("projection_dim"), words.take("head_bias", False)
    words.only("embedding_proj_out", kind == "lm")
    if activation not in ACTIVATIONS:
        raise UserError(f"the shape has activation={activation!r}, which no part here does yet")
    if "adaptive_cutoffs" in words.shape:
        own = words.take("untied_output_projections", 0)
        return AdaptiveHeadConfig(div=words.shape.get("adaptive_div", 1), own_maps=own, bias=True)
    words.only("head_scale", "d_model^-0.5")
    if kind == "lm":
        scale = words.shape["d_model"] ** -0.5 if "head_scale" in words.shape else 1.0
        return LinearHeadConfig(bias=bias, scale=scale)
    if kind == "mlm":
        return TransformHeadConfig(activation=ACTIVATIONS[activation])
    if kind == "rtd":
        return DiscriminatorHeadConfig(activation=ACTIVATIONS[activation])
    return NoHeadConfig() if size is None else ProjectionHeadConfig(size=size)


def encoder(words: Words, common: Mapping[str, Any]) -> ModelConfig:
    depth, mixer = words.whole("layers"), common["mixer"]
    layers = layers_of(depth, seen(words, mixer), experts_of(words), beside_of(words))
    if words.take("unique_layers", depth) == 1:
        words.only("cross_layer_sharing", "all")
        layers = (LayerConfig(times=depth, tied=True),)
    pairs = "nsp_classes" in words.shape
    words.only("nsp_classes", PAIR.classes)
    return EncoderConfig(
        **common, layers=layers, tie_embeddings=words.take("tied_embeddings", True),
        heads=heads_of(words.take("pooler", False), pairs),
    )  # fmt: skip


def decoder(words: Words, common: Mapping[str, Any]) -> ModelConfig:
    layers = layers_of(words.whole("layers"), seen(words, common["mixer"]), experts_of(words))
    if words.take(
        "two_stream", False
    ):  # tokens see both ways, and what is predicted in the order of objective=permutation
        return EncoderConfig(**common, layers=layers, tie_embeddings=words.take("tied_embeddings", True))
    return DecoderConfig(**common, layers=layers, tie_embeddings=words.take("tied_embeddings", True))


def encoder_decoder(words: Words, common: Mapping[str, Any]) -> ModelConfig:
    """Returns both stacks: what is seen sparsely is the source; the decoder sees all that is behind a token."""
    words.only("shared_source_target_embeddings", True)
    tables = words.take("position_tables", 1)
    words.only("embed_norm_count", tables)
    upper, lower = words.whole("encoder_layers"), words.whole("decoder_layers")
    moe, mixers = experts_of(words), seen(words, common["mixer"])
    tied = "all" if words.take("tied_embeddings", True) else "inputs"
    if words.take("separate_decoder_embedding", False):
        tied = "none"
    if words.shape.get("token_types"):  # sentences of a source
        common = {**common, "decoder_embedding": replace(common["embedding"], types=0)}
    above, below = layers_of(upper, mixers, moe), layers_of(lower, [None], moe)
    return EncoderDecoderConfig(
        **common, layers=below, encoder_layers=None if above == below else above, tie_embeddings=tied,
        tie_positions=tables == 1,
    )  # fmt: skip
