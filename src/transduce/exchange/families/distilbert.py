"""DistilBERT: BERT without types and pooler, in half as many layers. Sanh et al. 2019, arXiv:1910.01108."""

from typing import Any, ClassVar

from transduce.exchange.families.encoding import (
    AFTER_FEED,
    AFTER_MIXER,
    FEED,
    MIXER,
    NO_HEAD,
    Encoding,
    encoder_of,
    masked_or_none,
    no_decoder,
    whole,
)
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import named
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.residual.norm_last import PostNormConfig

EPS = 1e-12  # of all norms, whatever config.json says


class DistilBert(Encoding):
    model_type: ClassVar[str] = "distilbert"
    architectures: ClassVar[tuple[str, ...]] = ("DistilBertModel", "DistilBertForMaskedLM")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        no_decoder(fields)
        activation = fields.one_of("activation", ACTIVATIONS, "gelu")
        for key in ("qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds"):  # the table is in the file anyway
            fields.take(key)
        masked = fields.architecture == self.architectures[1] or fields.holds("vocab_projector.bias")
        model = EncoderConfig(
            width=fields.whole("dim", 768),
            layers=fields.whole("n_layers", 6),
            mixer=AttentionConfig(heads=fields.whole("n_heads", 12)),
            feedforward=MLPConfig(hidden=fields.whole("hidden_dim", 3072), activation=activation),
            residual=PostNormConfig(),
            norm=LayerNorm(eps=EPS),
            positions=LearnedConfig(limit=fields.whole("max_position_embeddings", 512)),
            init=NormalInit(),
            embedding=TableConfig(norm=True),
            scale_embedding=False,
            head=TransformHeadConfig(activation=activation) if masked else NO_HEAD,
            tie_embeddings=fields.flag("tie_word_embeddings", True),
        )
        return model, fields.whole("vocab_size", 30522)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = encoder_of(model)
        if parts is None or not parts.plain() or parts.positions.offset or parts.norm != LayerNorm(eps=EPS):
            return None
        own, activation = parts.model, parts.feedforward.activation
        if not isinstance(own.layers, int) or not masked_or_none(own, activation):
            return None
        return {
            "dim": own.width, "n_layers": own.layers, "n_heads": parts.mixer.heads, "vocab_size": vocab_size,
            "hidden_dim": parts.feedforward.hidden or 4 * own.width, "activation": named(ACTIVATIONS, activation),
            "max_position_embeddings": parts.positions.limit, "tie_word_embeddings": own.tie_embeddings,
        }  # fmt: skip

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        return self.architectures[0 if model.head == NO_HEAD else 1]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        assert isinstance(model.layers, int)
        theirs = "distilbert.transformer.layer.{i}"
        rows = [
            *(one for x in "qkv" for one in pair(f"{theirs}.attention.{x}_lin", f"{MIXER}.{x}")),
            *pair(f"{theirs}.attention.out_lin", f"{MIXER}.out"),
            *pair(f"{theirs}.sa_layer_norm", AFTER_MIXER),
            *pair(f"{theirs}.ffn.lin1", f"{FEED}.up"),
            *pair(f"{theirs}.ffn.lin2", f"{FEED}.down"),
            *pair(f"{theirs}.output_layer_norm", AFTER_FEED),
        ]
        ends, copies = layers(rows, model.layers), list[tuple[str, str]]()
        if model.head != NO_HEAD:
            ends += [*pair("vocab_transform", "head.dense"), *pair("vocab_layer_norm", "head.norm")]
            ends.append(row("vocab_projector.bias", "head.bias"))
            if model.tie_embeddings:
                copies = [("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight")]
            else:
                ends.append(row("vocab_projector.weight", "head.weight"))
        return whole("distilbert", model, ends, copies)
