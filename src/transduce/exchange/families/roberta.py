"""RoBERTa, XLM-R and CamemBERT: BERT with positions counted from behind the padding's.

Liu et al. 2019, arXiv:1907.11692; Conneau et al. 2019, arXiv:1911.02116.
"""

from typing import Any, ClassVar

from transduce.errors import UserError
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

HEAD = ("lm_head.dense", "lm_head.layer_norm", "lm_head")


class Roberta(Encoding):
    """The first token stands in the row behind that of the padding id, whose own row is padding's."""

    model_type: ClassVar[str] = "roberta"
    more_heads: ClassVar[bool] = True
    architectures: ClassVar[tuple[str, ...]] = ("RobertaModel", "RobertaForMaskedLM")
    vocab_size: ClassVar[int] = 50265

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        masked = fields.architecture == self.architectures[1] or fields.holds("lm_head.bias")
        rows, padding = fields.whole("max_position_embeddings", 512), fields.data.get("pad_token_id", 1)
        if not isinstance(padding, int) or isinstance(padding, bool) or not 0 <= padding < rows - 1:
            raise UserError(
                f"config.json has pad_token_id={padding!r}, behind which positions begin; it must be a whole number "
                f"from 0 to {rows - 2}"
            )
        model = read_encoder(
            fields, fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
            layers=fields.whole("num_hidden_layers", 12),
            embedding=TableConfig(types=fields.whole("type_vocab_size", 2), norm=True),
            positions=LearnedConfig(limit=rows - padding - 1, offset=padding + 1),
            head=TransformHeadConfig() if masked else NO_HEAD,
            heads=heads_of(fields.holds("pooler.dense.weight"), pairs=False),
        )  # fmt: skip
        return model, fields.whole("vocab_size", self.vocab_size)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = encoder_of(model)
        if parts is None or not parts.table.types or not parts.plain(types=parts.table.types):
            return None
        layers, offset = parts.model.layers, parts.positions.offset
        if not offset or not isinstance(layers, int) or pair_of(parts.model):
            return None
        if not masked_or_none(parts.model, "gelu"):
            return None
        return {**parts.written(vocab_size), "num_hidden_layers": layers, "pad_token_id": offset - 1}

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        return self.architectures[0 if model.head == NO_HEAD else 1]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        ends, copies = ([], []) if model.head == NO_HEAD else masked_head(HEAD, "roberta", model)
        return table("roberta", model, ends, copies)


class XLMRoberta(Roberta):
    model_type = "xlm-roberta"
    architectures = ("XLMRobertaModel", "XLMRobertaForMaskedLM")
    vocab_size = 30522


class Camembert(Roberta):
    """A RoBERTa of French. Martin et al. 2020, arXiv:1911.03894."""

    model_type = "camembert"
    rank: ClassVar[int] = 60  # what it can express, RoBERTa can
    architectures = ("CamembertModel", "CamembertForMaskedLM")
    vocab_size = 30522
