"""BigBird. Zaheer et al. 2020, arXiv:2007.14062."""

from dataclasses import replace
from typing import Any, ClassVar

from transduce.exchange.families.encoding import (
    AFTER_FEED,
    AFTER_MIXER,
    FEED,
    MIXER,
    NO_HEAD,
    Encoding,
    encoder_of,
    heads_of,
    masked_head,
    masked_or_none,
    pair_of,
    read_encoder,
    rows_of_heads,
    whole,
)
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import matches
from transduce.exchange.table import Table, layers, pair
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.block_sparse import BlockSparseConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.absolute import LearnedConfig

HEAD = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions")


class BigBird(Encoding):
    """BigBird as its class computes in evaluation, each text alone; padded to a longer one it moves the last block."""

    model_type: ClassVar[str] = "big_bird"
    more_heads: ClassVar[bool] = True
    architectures: ClassVar[tuple[str, ...]] = ("BigBirdForMaskedLM", "BigBirdForPreTraining", "BigBirdModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        activation = fields.one_of("hidden_act", ACTIVATIONS, "gelu_new")
        pairs = fields.architecture == self.architectures[1] or fields.holds("cls.seq_relationship.weight")
        headless = fields.architecture == self.architectures[2] and not fields.holds("predictions.bias")
        model = read_encoder(
            fields, activation,
            layers=fields.whole("num_hidden_layers", 12),
            embedding=TableConfig(types=fields.whole("type_vocab_size", 2), norm=True),
            positions=LearnedConfig(limit=fields.whole("max_position_embeddings", 4096)),
            head=NO_HEAD if headless else TransformHeadConfig(activation=activation),
            heads=heads_of(fields.holds("pooler.weight"), pairs),
        )  # fmt: skip
        assert isinstance(model.mixer, AttentionConfig)
        heads, bias = model.mixer.heads, fields.flag("use_bias", True)
        block, random = fields.whole("block_size", 64), fields.whole("num_random_blocks", 3)
        kinds: dict[str, MixerConfig] = {
            "block_sparse": BlockSparseConfig(heads=heads, block=block, random=random, drawn=False, bias=bias),
            "original_full": full(heads, bias),
        }
        mixer = fields.one_of("attention_type", kinds, "block_sparse")
        scaled = fields.flag("rescale_embeddings", False)
        return replace(model, mixer=mixer, scale_embedding=scaled), fields.whole("vocab_size", 50358)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        a = model.mixer
        if isinstance(a, BlockSparseConfig):
            own: dict[str, Any] = {"block_size": a.block, "num_random_blocks": a.random}
            same = BlockSparseConfig(heads=a.heads, block=a.block, random=a.random, drawn=False, bias=a.bias)
            if not matches(a, same) or not a.random:
                return None
        elif isinstance(a, AttentionConfig) and matches(a, full(a.heads, a.bias)):
            own = {"attention_type": "original_full"}
        else:
            return None
        parts = encoder_of(replace(model, mixer=AttentionConfig(heads=a.heads), scale_embedding=False))
        if parts is None or not parts.table.types or not parts.plain(types=parts.table.types):
            return None
        if parts.positions.offset or not isinstance(model.layers, int):
            return None
        own |= {"use_bias": a.bias, "rescale_embeddings": model.scale_embedding, "num_hidden_layers": model.layers}
        if not masked_or_none(parts.model, parts.feedforward.activation) or not parts.model.heads:
            return None  # all classes have a pooler
        if pair_of(parts.model) and parts.model.head == NO_HEAD:
            return None
        return {**parts.written(vocab_size), **own}

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        return self.architectures[2 if model.head == NO_HEAD else 1 if pair_of(model) else 0]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        assert isinstance(model.layers, int)
        assert isinstance(model.mixer, BlockSparseConfig | AttentionConfig)
        theirs, bias = "bert.encoder.layer.{i}", model.mixer.bias
        block = [
            *(r for x in ("query", "key", "value")
              for r in pair(f"{theirs}.attention.self.{x}", f"{MIXER}.{x[0]}", bias=bias)),
            *pair(f"{theirs}.attention.output.dense", f"{MIXER}.out"),
            *pair(f"{theirs}.attention.output.LayerNorm", AFTER_MIXER),
            *pair(f"{theirs}.intermediate.dense", f"{FEED}.up"),
            *pair(f"{theirs}.output.dense", f"{FEED}.down"),
            *pair(f"{theirs}.output.LayerNorm", AFTER_FEED),
        ]  # fmt: skip
        ends, copies = ([], []) if model.head == NO_HEAD else masked_head(HEAD, "bert", model)
        ends += rows_of_heads(model, "bert.pooler", "cls.seq_relationship")
        return whole("bert", model, [*layers(block, model.layers), *ends], copies)


def full(heads: int, bias: bool) -> AttentionConfig:
    """Returns full attention, whose last map has a bias in any case."""
    return AttentionConfig(heads=heads, bias=bias, out_bias=None if bias else True)
