"""MPNet: RoBERTa without types, whose scores lean on distances as in T5. Song et al. 2020, arXiv:2004.09297."""

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
from transduce.exchange.families.family import ACTIVATIONS, PLACES, Fields
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.architecture.layers import LayerConfig, Layers
from transduce.model.embed.table import TableConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.t5 import T5Config

HEAD = ("lm_head.dense", "lm_head.layer_norm", "lm_head")
DISTANCES = T5Config(buckets=32, max_distance=128)  # which the class computes, whatever config.json says
PADDING = 1  # the id from which positions are counted, whatever config.json says


class MPNet(Encoding):
    """The first token stands in the row behind that of padding; one table of distances serves all layers."""

    model_type: ClassVar[str] = "mpnet"
    more_heads: ClassVar[bool] = True
    architectures: ClassVar[tuple[str, ...]] = ("MPNetModel", "MPNetForMaskedLM")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        masked = fields.architecture == self.architectures[1] or fields.holds("lm_head.bias")
        rows = fields.whole("max_position_embeddings", 512)
        if fields.data.get("pad_token_id", PADDING) not in (PADDING, None) or rows < PADDING + 2:
            raise UserError(
                f"config.json has pad_token_id={fields.data.get('pad_token_id')} and {rows} rows of positions, but the "
                f"class counts positions from id {PADDING}"
            )
        fields.only("relative_attention_num_buckets", DISTANCES.buckets)
        model = read_encoder(
            fields, fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
            layers=laid(fields.whole("num_hidden_layers", 12)),
            embedding=TableConfig(norm=True),
            positions=LearnedConfig(limit=rows - PADDING - 1, offset=PADDING + 1),
            head=TransformHeadConfig() if masked else NO_HEAD,
            heads=heads_of(fields.holds("pooler.dense.weight"), pairs=False),
        )  # fmt: skip
        return model, fields.whole("vocab_size", 30527)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = encoder_of(model)
        if parts is None or not parts.plain() or parts.positions.offset != PADDING + 1 or pair_of(parts.model):
            return None
        depth = depth_of(model.layers)
        if model.layers != laid(depth) or not masked_or_none(parts.model, "gelu"):
            return None
        data = {**parts.written(vocab_size), "num_hidden_layers": depth, "pad_token_id": PADDING}
        del data["type_vocab_size"]
        return {**data, "relative_attention_num_buckets": DISTANCES.buckets}

    def architecture(self, model: ModelConfig) -> str:
        assert isinstance(model, EncoderConfig)
        return self.architectures[0 if model.head == NO_HEAD else 1]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        theirs = "mpnet.encoder.layer.{i}"
        block = [
            *(one for x in "qkv" for one in pair(f"{theirs}.attention.attn.{x}", f"{MIXER}.{x}")),
            *pair(f"{theirs}.attention.attn.o", f"{MIXER}.out"),
            *pair(f"{theirs}.attention.LayerNorm", AFTER_MIXER),
            *pair(f"{theirs}.intermediate.dense", f"{FEED}.up"),
            *pair(f"{theirs}.output.dense", f"{FEED}.down"),
            *pair(f"{theirs}.output.LayerNorm", AFTER_FEED),
        ]
        rows = layers(block, depth_of(model.layers))
        rows.append(row("mpnet.encoder.relative_attention_bias.weight", f"{MIXER}.positions.weight").at(0))
        rows += rows_of_heads(model, "mpnet.pooler.dense")
        head, copies = ([], []) if model.head == NO_HEAD else masked_head(HEAD, "mpnet", model)
        return whole("mpnet", model, [*rows, *head], copies)

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (PLACES,)


def laid(depth: int) -> Layers:
    """Returns equal layers, which share a table of distances."""
    return (LayerConfig(times=depth, positions=DISTANCES),)


def depth_of(layers: Layers) -> int:
    return layers if isinstance(layers, int) else sum(run.times for run in layers)
