"""BERT. Devlin et al. 2018, arXiv:1810.04805."""

from typing import Any, ClassVar

from transduce.exchange.families.encoding import (
    NO_HEAD,
    Encoding,
    encoder_of,
    heads_of,
    masked_head,
    masked_or_none,
    pair_of,
    read_encoder,
    table,
)
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.table import Table
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.positions.absolute import LearnedConfig

HEAD = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions")


class Bert(Encoding):
    """BERT. What stands on the blocks is what the class asks for, and what the files hold besides."""

    model_type: ClassVar[str] = "bert"
    more_heads: ClassVar[bool] = True
    architectures: ClassVar[tuple[str, ...]] = (
        "BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForNextSentencePrediction",
    )  # fmt: skip

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        activation = fields.one_of("hidden_act", ACTIVATIONS, "gelu")
        masked = fields.architecture in ("BertForMaskedLM", "BertForPreTraining") or fields.holds("predictions.bias")
        pairs = fields.architecture in self.architectures[2:] or fields.holds("cls.seq_relationship.weight")
        model = read_encoder(
            fields, activation,
            layers=fields.whole("num_hidden_layers", 12),
            embedding=TableConfig(types=fields.whole("type_vocab_size", 2), norm=True),
            positions=LearnedConfig(limit=fields.whole("max_position_embeddings", 512)),
            head=TransformHeadConfig(activation=activation) if masked else NO_HEAD,
            heads=heads_of(fields.holds("pooler.dense.weight"), pairs),
        )  # fmt: skip
        return model, fields.whole("vocab_size", 30522)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = encoder_of(model)
        if parts is None or not parts.table.types or not parts.plain(types=parts.table.types):
            return None
        layers, offset = parts.model.layers, parts.positions.offset
        if offset or not isinstance(layers, int) or not masked_or_none(parts.model, parts.feedforward.activation):
            return None
        return {**parts.written(vocab_size), "num_hidden_layers": layers}

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        if model.head == NO_HEAD:
            return self.architectures[3 if pair_of(model) else 0]
        return self.architectures[2 if pair_of(model) else 1]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        ends, copies = ([], []) if model.head == NO_HEAD else masked_head(HEAD, "bert", model)
        return table("bert", model, ends, copies, classes="cls.seq_relationship")
