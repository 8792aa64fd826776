"""Why no family can express a model: the parts in which it differs from the nearest."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from transduce.exchange.families.family import Family, Fields
from transduce.model.architecture import ModelConfig

PARTS = (
    "mixer", "encoder_mixer", "cross", "layers", "encoder_layers", "decoder_layers", "positions", "norm", "residual",
    "cross_place", "bridge", "feedforward", "embedding", "head", "scale_embedding", "tie_embeddings", "tie_positions",
    "heads", "width",
)  # fmt: skip


def sentence(model: ModelConfig, vocab_size: int, families: tuple[Family, ...]) -> str:
    """Returns the sentence: the nearest family, and the first part of the model that it has no equivalent for."""
    best: tuple[int, Family, list[tuple[str, Any, Any]]] | None = None
    for family in families:
        for usual in usual_models(family):
            lacks = lacking(model, vocab_size, family, usual)
            if lacks and (best is None or len(lacks) < best[0]):
                best = len(lacks), family, lacks
    if best is None:
        return (
            f"no class of transformers known here has these parts together: {model.mixer.kind}, "
            f"{model.feedforward.kind}, {model.residual.kind}, {model.norm.kind}, {model.positions.kind}"
        )
    _, family, lacks = best
    name, ours, theirs = lacks[0]
    more = f"; {', '.join(part for part, *_ in lacks[1:])} differ too" if len(lacks) > 1 else ""
    return (
        f"no class of transformers known here expresses model.{name}={ours}: the nearest, {family.architectures[0]}, "
        f"has {theirs}{more}"
    )


def usual_models(family: Family) -> Iterator[ModelConfig]:
    """Yields what a family reads from a config.json that says nothing."""
    for architecture in family.architectures:
        try:
            yield family.read(Fields({}, architecture))[0]
        except (ValueError, RuntimeError, AttributeError, TypeError):
            continue


def lacking(model: ModelConfig, vocab_size: int, family: Family, usual: ModelConfig) -> list[tuple[str, Any, Any]]:
    """Returns (part, ours, Hugging Face's) of the fewest parts that must be the family's to express the model; or [].
    none do.
    """
    if type(usual) is not type(model):
        return []
    names = [name for name in PARTS if hasattr(model, name) and getattr(model, name) != getattr(usual, name)]
    changed = dict.fromkeys(names)
    if not expressed(model, vocab_size, family, {name: getattr(usual, name) for name in names}):
        return []
    for name in names:  # as many as possible as they are; the width last, when the heads are those that divide it
        rest = {other: getattr(usual, other) for other in changed if other != name}
        if expressed(model, vocab_size, family, rest):
            del changed[name]
    culprits = [name for name in changed if name != "width"]
    rest = {name: getattr(usual, name) for name in changed}
    return [within(model, vocab_size, family, usual, name, rest) for name in culprits]


def within(
    model: ModelConfig, vocab_size: int, family: Family, usual: ModelConfig, name: str, rest: dict[str, Any]
) -> tuple[str, Any, Any]:  # fmt: skip
    """Returns the same, down to the first value of the part for which it must be the family's."""
    ours, theirs = getattr(model, name), getattr(usual, name)
    if not is_dataclass(ours) or isinstance(ours, type) or type(ours) is not type(theirs):
        return name, kind(ours), kind(theirs)
    changed = {field.name: getattr(theirs, field.name) for field in fields(ours)}
    changed = {key: value for key, value in changed.items() if value != getattr(ours, key)}
    for key in list(changed):
        fewer = {other: value for other, value in changed.items() if other != key}
        try:
            part = replace(cast(Any, ours), **fewer)
        except ValueError:
            continue
        if expressed(model, vocab_size, family, {**rest, name: part}):
            changed = fewer
    key = next(iter(changed), None)
    if key is None:
        return name, kind(ours), kind(theirs)
    return f"{name}.{key}", kind(getattr(ours, key)), kind(changed[key])


def expressed(model: ModelConfig, vocab_size: int, family: Family, parts: dict[str, Any]) -> bool:
    try:
        return family.express(replace(model, **parts), vocab_size) is not None
    except (ValueError, AssertionError, AttributeError, ArithmeticError):
        return False


def kind(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: kind(one) for name, one in cast("dict[str, Any]", part).items()}
    return getattr(part, "kind", part)
