"""ALBERT: a factored table, and layers that share their weights. Lan et al. 2020, arXiv:1909.11942."""

from collections import Counter
from typing import Any, ClassVar

from transduce.errors import UserError
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
from transduce.exchange.table import Table, layers, pair
from transduce.model.architecture import EncoderConfig, LayerConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.positions.absolute import LearnedConfig

HEAD = ("predictions.dense", "predictions.LayerNorm", "predictions")
MOST = 10_000  # layers whose groups are counted one by one


class Albert(Encoding):
    """ALBERT. What stands on the blocks is what the class asks for, and what the files hold besides."""

    model_type: ClassVar[str] = "albert"
    more_heads: ClassVar[bool] = True
    architectures: ClassVar[tuple[str, ...]] = ("AlbertModel", "AlbertForMaskedLM", "AlbertForPreTraining")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        activation = fields.one_of("hidden_act", ACTIVATIONS, "gelu_new")
        for key, value in {"hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384}.items():
            if fields.left.get(key) is None:
                fields.left[key] = value
        size = fields.whole("embedding_size", 128)
        if size == fields.left["hidden_size"]:
            raise UserError(
                f"config.json has embedding_size={size}, the width, and a map between the two; not known here"
            )
        fields.only("inner_group_num", 1)
        depth, groups = fields.whole("num_hidden_layers", 12), fields.whole("num_hidden_groups", 1)
        tied = fields.data.get("tie_word_embeddings") is not False
        masked = fields.architecture in self.architectures[1:] or fields.holds("predictions.bias")
        pairs = fields.architecture == self.architectures[2] or fields.holds("sop_classifier.classifier.weight")
        model = read_encoder(
            fields, activation,
            layers=tuple(LayerConfig(times=times, tied=True) for times in counts(depth, groups)),
            embedding=TableConfig(types=fields.whole("type_vocab_size", 2), norm=True, size=size),
            positions=LearnedConfig(limit=fields.whole("max_position_embeddings", 512)),
            head=TransformHeadConfig(activation=activation, size=None if tied else size) if masked else NO_HEAD,
            heads=heads_of(fields.holds("pooler.weight"), pairs),
        )  # fmt: skip
        return model, fields.whole("vocab_size", 30000)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = encoder_of(model)
        if parts is None or not parts.table.types or parts.table.size in (None, parts.model.width):
            return None
        own, size = parts.model, parts.table.size
        if not parts.plain(types=parts.table.types, size=size) or parts.positions.offset:
            return None
        if not masked_or_none(own, parts.feedforward.activation, size) or (pair_of(own) and own.head == NO_HEAD):
            return None
        runs = [LayerConfig()] * own.layers if isinstance(own.layers, int) else [*own.layers]
        times = [run.times for run in runs]
        if any(run != LayerConfig(times=run.times, tied=run.tied) or not (run.tied or run.times == 1) for run in runs):
            return None
        if sum(times) > MOST or times != counts(sum(times), len(times)):
            return None
        return {
            **parts.written(vocab_size), "embedding_size": size, "num_hidden_layers": sum(times),
            "num_hidden_groups": len(times), "inner_group_num": 1,
        }  # fmt: skip

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        if model.head == NO_HEAD:
            return self.architectures[0]
        return self.architectures[2 if pair_of(model) else 1]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        theirs = "albert.encoder.albert_layer_groups.{i}.albert_layers.0"
        rows = [
            *(one for x in ("query", "key", "value") for one in pair(f"{theirs}.attention.{x}", f"{MIXER}.{x[0]}")),
            *pair(f"{theirs}.attention.dense", f"{MIXER}.out"),
            *pair(f"{theirs}.attention.LayerNorm", AFTER_MIXER),
            *pair(f"{theirs}.ffn", f"{FEED}.up"),
            *pair(f"{theirs}.ffn_output", f"{FEED}.down"),
            *pair(f"{theirs}.full_layer_layer_norm", AFTER_FEED),
        ]
        ends, copies = ([], []) if model.head == NO_HEAD else masked_head(HEAD, "albert", model)
        ends += rows_of_heads(model, "albert.pooler", "sop_classifier.classifier")
        blocks = layers(rows, model.layers if isinstance(model.layers, int) else len(model.layers))
        return whole("albert", model, [*blocks, *ends], copies, "encoder.embedding_hidden_mapping_in")


def counts(depth: int, groups: int) -> list[int]:
    """Returns the layers of each group: layer i is of group floor(i / (depth / groups)), in floating point as there.

    Raises UserError if a group has none.
    """
    if groups == 1:
        return [depth]
    if groups > depth or depth > MOST:
        raise UserError(
            f"config.json has num_hidden_layers={depth} and num_hidden_groups={groups}; a group needs a layer"
        )
    sizes = Counter(int(i / (depth / groups)) for i in range(depth))
    return [sizes[group] for group in range(groups)]
