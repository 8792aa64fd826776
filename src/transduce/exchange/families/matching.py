"""Questions of `Family.write` to a model: whether it is of given parts, and no more than they can say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.residual.norm_first import PreNormConfig

Mixer = TypeVar("Mixer")
Feed = TypeVar("Feed")
Norm = TypeVar("Norm")
Places = TypeVar("Places")


class Parts(NamedTuple, Generic[Mixer, Feed, Norm, Places]):
    """The parts of a decoder whose layers are alike."""

    mixer: Mixer
    feedforward: Feed
    norm: Norm
    positions: Places
    layers: int
    tied: bool


def decoder_of(
    model: ModelConfig, mixer: type[Mixer], feed: type[Feed], norm: type[Norm], positions: type[Places]
) -> Parts[Mixer, Feed, Norm, Places] | None:
    """Returns the parts of a Pre-LN decoder of equal layers, plain at both ends, with parts of these types, or None."""
    if not isinstance(model, DecoderConfig) or not isinstance(model.layers, int) or model.scale_embedding:
        return None
    if model.head != LinearHeadConfig() or model.embedding != TableConfig():
        return None
    if not matches(model.residual, PreNormConfig(dropout=model.residual.dropout)):
        return None
    a, f, n, p = model.mixer, model.feedforward, model.norm, model.positions
    if not (isinstance(a, mixer) and isinstance(f, feed) and isinstance(n, norm) and isinstance(p, positions)):
        return None
    return Parts[Mixer, Feed, Norm, Places](a, f, n, p, model.layers, model.tie_embeddings)


def matches(part: Any, other: Any) -> bool:
    """Says whether two parts are equal in everything that is not about training."""
    quiet = {"dropout": 0.0} if hasattr(part, "dropout") else {}
    return type(part) is type(other) and replace(part, **quiet) == replace(other, **quiet)


def named(names: Mapping[str, Any], value: Any) -> str:
    """Returns the first name of Hugging Face for a value of ours."""
    return next(name for name, one in names.items() if one == value)
