"""DeBERTa, in all versions: how its parts are laid, and what config.json says of them."""

from typing import Any, NamedTuple

from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS, PLACES, Fields
from transduce.exchange.families.matching import matches
from transduce.exchange.table import Row, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.architecture.layers import LayerConfig, Layers
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.feedforward import Activation
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.disentangled import DisentangledConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.disentangled import RelativeTableConfig
from transduce.model.positions.position import NoPositionsConfig
from transduce.model.residual.norm_last import PostNormConfig

HEAD = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions")
NEWER = "lm_predictions.lm_head"  # the head of legacy=false, and of the published weights
RENAMED: tuple[tuple[str, str], ...] = tuple(
    (f"{NEWER}.{name}", f"cls.predictions.{ours}{name}")
    for name, ours in (
        ("dense.weight", "transform."), ("dense.bias", "transform."), ("LayerNorm.weight", "transform."),
        ("LayerNorm.bias", "transform."), ("bias", ""),
    )
)  # fmt: skip
SILENT = (PLACES, r"(^|\.)position_embeddings\.weight$", r"(^|\.)mask_predictions\.")
UNREAD = (r"(^|\.)cls\.predictions\.",)  # the head of legacy=false, renamed, which the class without a head leaves out
BESIDE: dict[str, Activation] = {**ACTIVATIONS, "tanh": "tanh"}


class Parts(NamedTuple):
    """The parts of a DeBERTa. table: of distances. absolute: positions that are added. beside: the first layer."""

    model: EncoderConfig
    mixer: DisentangledConfig
    feedforward: MLPConfig
    norm: LayerNorm
    embedding: TableConfig
    table: RelativeTableConfig | None
    absolute: LearnedConfig | None
    beside: ConvolutionConfig | None
    depth: int

    @property
    def own_maps(self) -> set[str]:
        """Returns the maps of the vectors of distances."""
        if self.table is None or self.mixer.shared:
            return set()
        return {name for name, there in (("pos_k", self.mixer.c2p), ("pos_q", self.mixer.p2c)) if there}


def found_in(model: ModelConfig) -> Parts | None:
    """Returns the parts, if the model is a Post-LN encoder of disentangled attention, laid as in DeBERTa."""
    if not isinstance(model, EncoderConfig) or model.scale_embedding:
        return None
    a, f, n, e, p = model.mixer, model.feedforward, model.norm, model.embedding, model.positions
    if not (isinstance(a, DisentangledConfig) and isinstance(f, MLPConfig) and isinstance(n, LayerNorm)):
        return None
    if not isinstance(e, TableConfig) or not matches(model.residual, PostNormConfig()):
        return None
    first, depth = (LayerConfig(), model.layers) if isinstance(model.layers, int) else (model.layers[0], 0)
    depth = depth or sum(run.times for run in model.layers)  # type: ignore[union-attr]
    absolute = p if isinstance(p, LearnedConfig) and not p.offset else None
    table, beside = first.positions if absolute is not None else p, first.beside
    if absolute is None and not isinstance(p, RelativeTableConfig | NoPositionsConfig):
        return None
    table = None if isinstance(table, NoPositionsConfig) else table
    if not isinstance(table, RelativeTableConfig | None) or not isinstance(beside, ConvolutionConfig | None):
        return None
    if model.layers != laid(depth, table if absolute is not None else None, beside):
        return None
    return Parts(model, a, f, n, e, table, absolute, beside, depth)


def laid(depth: int, table: RelativeTableConfig | None, beside: ConvolutionConfig | None) -> Layers:
    """Returns layers, the first with what stands beside it.

    table: of distances, where others are added to the embedding.
    """
    if table is None and beside is None:
        return depth
    first = (LayerConfig(positions=table, beside=beside),) if beside is not None else ()
    rest = depth - len(first)
    return (*first, LayerConfig(times=rest, positions=table)) if rest else first


def embedding(size: int | None, types: int) -> TableConfig:
    return TableConfig(size=size, bias=size is None, types=types, norm=True, norm_last=size is not None)


def convolution(kernel: int, activation: Activation) -> ConvolutionConfig:
    return ConvolutionConfig(kernel=kernel, gated=False, activation=activation, project=False)


def terms(fields: Fields) -> dict[str, bool]:
    """Returns which of the terms with distances the model has."""
    stated: Any = fields.take("pos_att_type", [])
    names: Any = [x.strip() for x in stated.lower().split("|")] if isinstance(stated, str) else stated
    if names not in ([], ["c2p"], ["p2c"], ["c2p", "p2c"], ["p2c", "c2p"]):
        raise UserError(f"config.json has pos_att_type={stated!r}; it must be a list of c2p and p2c, each once at most")
    return {"c2p": "c2p" in names, "p2c": "p2c" in names}


def number(fields: Fields, key: str, default: int = 0) -> int:
    """Returns a whole number, where those below 1 say that the model has none."""
    value = fields.take(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < min(default, 0):
        raise UserError(f"config.json has {key}={value!r}; it must be a whole number, at least {min(default, 0)}")
    return value


def begin(parts: Parts) -> list[Row]:
    """Returns the rows of the embedding."""
    theirs = "deberta.embeddings"
    rows = [row(f"{theirs}.word_embeddings.weight", "embed.weight"), *pair(f"{theirs}.LayerNorm", "embed.norm")]
    if parts.absolute is not None:
        rows.append(row(f"{theirs}.position_embeddings.weight", "embed.positions.weight"))
    if parts.embedding.types:
        rows.append(row(f"{theirs}.token_type_embeddings.weight", "embed.types"))
    return rows + (pair(f"{theirs}.embed_proj", "embed.project", bias=False) if parts.embedding.size else [])
