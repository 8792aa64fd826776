"""ELECTRA: a small generator, and a discriminator that tells which tokens it replaced. Clark et al. 2020,
arXiv:2003.10555."""

from typing import Any, ClassVar

from transduce.exchange.families.encoding import NO_HEAD, Encoding, encoder_of, masked_or_none, read_encoder, table
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.table import Table, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.discriminator import DiscriminatorHeadConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.positions.absolute import LearnedConfig

SUMMARY = ("summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout")  # of classifiers


class Electra(Encoding):
    model_type: ClassVar[str] = "electra"
    architectures: ClassVar[tuple[str, ...]] = ("ElectraModel", "ElectraForPreTraining", "ElectraForMaskedLM")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        activation = fields.one_of("hidden_act", ACTIVATIONS, "gelu")
        width, size = fields.data.get("hidden_size") or 256, fields.whole("embedding_size", 128)
        fields.left["hidden_size"] = width
        factored = None if size == width else size
        head = {
            "ElectraModel": NO_HEAD,
            "ElectraForPreTraining": DiscriminatorHeadConfig(activation=activation),
            "ElectraForMaskedLM": TransformHeadConfig(
                size=factored if fields.data.get("tie_word_embeddings") is False else None
            ),
        }[self.headed(fields)]
        defaults = {"num_attention_heads": 4, "intermediate_size": 1024}
        fields.left.update({key: value for key, value in defaults.items() if fields.left.get(key) is None})
        model = read_encoder(
            fields, activation, head=head,
            layers=fields.whole("num_hidden_layers", 12),
            embedding=TableConfig(types=fields.whole("type_vocab_size", 2), norm=True, size=factored),
            positions=LearnedConfig(limit=fields.whole("max_position_embeddings", 512)),
        )  # fmt: skip
        for key in SUMMARY:
            fields.take(key)
        return model, fields.whole("vocab_size", 30522)

    def headed(self, fields: Fields) -> str:
        """Returns the class, by what the files hold where config.json names the one without a head."""
        if fields.architecture == self.architectures[0] and fields.holds("discriminator_predictions.dense.weight"):
            return self.architectures[1]
        if fields.architecture == self.architectures[0] and fields.holds("generator_lm_head.bias"):
            return self.architectures[2]
        return fields.architecture

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = encoder_of(model)
        if parts is None or not parts.table.types or not parts.plain(types=parts.table.types, size=parts.table.size):
            return None
        own, layers, size = parts.model, parts.model.layers, parts.table.size
        if parts.positions.offset or not isinstance(layers, int) or size == own.width:
            return None
        discriminator = DiscriminatorHeadConfig(activation=parts.feedforward.activation)
        if own.head != discriminator and not masked_or_none(own, "gelu", size):
            return None
        return {**parts.written(vocab_size), "num_hidden_layers": layers, "embedding_size": size or own.width}

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        if model.head == NO_HEAD:
            return self.architectures[0]
        return self.architectures[1 if isinstance(model.head, DiscriminatorHeadConfig) else 2]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        if model.head == NO_HEAD:
            return table("electra", model, [], [], "embeddings_project")
        if isinstance(model.head, DiscriminatorHeadConfig):
            theirs = "discriminator_predictions"
            ends = [*pair(f"{theirs}.dense", "head.dense"), *pair(f"{theirs}.dense_prediction", "head.out")]
            return table("electra", model, ends, [], "embeddings_project")
        theirs, copies = "generator_predictions", list[tuple[str, str]]()
        ends = [*pair(f"{theirs}.dense", "head.dense"), *pair(f"{theirs}.LayerNorm", "head.norm")]
        ends.append(row("generator_lm_head.bias", "head.bias"))
        if model.tie_embeddings:
            copies = [("generator_lm_head.weight", "electra.embeddings.word_embeddings.weight")]
        else:
            ends.append(row("generator_lm_head.weight", "head.weight"))
        return table("electra", model, ends, copies, "embeddings_project")
