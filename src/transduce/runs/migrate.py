"""Runs of older versions in today's words: the keys of a recipe, and the names of the tensors in a checkpoint.

`schema` counts the changes. A recipe says its own; a checkpoint says it in state.json (schema 1 did not).

1: until children of a block were named by what they are, a recipe by its task, and an encoder's pooler and classes of
pairs were one of its heads; before that, tokenisers had no `normalise`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from torch import Tensor, nn

from transduce.model.block import Block, Sublayer
from transduce.model.sublayers import Feed, Inside, Mix, Normed, Sum
from transduce.plain_yaml import plain

SCHEMA = 2

NORMALISING = ("bpe", "char", "unigram", "word")  # tokenisers that took a text as it stands until they had the key


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the plain data of a recipe of any schema as one of today's; of today's, or of no schema known, itself."""
    data, schema = dict(data), plain(data.get("schema", SCHEMA))
    if type(schema) is int and 1 <= schema < SCHEMA:
        for step in STEPS[schema - 1 :]:
            data = step(data)
        data["schema"] = SCHEMA
    return data


def from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the recipe of a run whose objective alone said what it is for.

    A tokeniser from before `normalise` takes a text as it stands. An encoder's pooler, and the classes of pairs that it
    predicted, become one of its heads.
    """
    tokenizer = data.get("tokenizer")
    if isinstance(tokenizer, dict) and plain((own := cast("dict[str, Any]", tokenizer)).get("kind")) in NORMALISING:
        data["tokenizer"] = {"normalise": "none", **own}
    model = data.get("model")
    if isinstance(model, dict) and ("pooler" in model or "pair_classes" in model):
        data["model"] = with_heads(cast("dict[str, Any]", model))
    train, objective = dict(cast("Mapping[str, Any]", data.get("train") or {})), data.get("objective")
    kind = cast("dict[str, Any]", objective).get("kind") if isinstance(objective, dict) else objective
    words = train.pop("bleu_tokenizer", "auto")
    if kind is not None:
        translates = plain(kind) == "translation"
        data["task"] = {"kind": "translate", "bleu_tokenizer": words} if translates else {"kind": "language"}
    return {**data, "train": train} if "train" in data else data


def with_heads(model: dict[str, Any]) -> dict[str, Any]:
    """Returns an encoder with its pooler as a head."""
    rest = {key: value for key, value in model.items() if key not in ("pooler", "pair_classes")}
    pooler, classes = plain(model.get("pooler")), plain(model.get("pair_classes"))  # YAML's false is a value too
    head = {"pool": ["first"], "hidden": True}
    if classes:
        return {**rest, "heads": {"pair": {"kind": "classes", "classes": classes, **head}}}
    return {**rest, "heads": {"pooled": {"kind": "vector", **head}} if pooler else {}}


STEPS: list[Callable[[dict[str, Any]], dict[str, Any]]] = [from_1]  # from schema 1 to 2, from 2 to 3, ...


def renamed(tensors: Mapping[str, Tensor], model: nn.Module, schema: int) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint of that schema under the names that they have in the model today.

    Those of an optimiser are called `what/parameter`. A name that is not known stays as it is.
    """
    names = former_names(model) if schema < 2 else {}
    parts = ((name.rpartition("/"), x) for name, x in tensors.items())
    return {f"{what}{slash}{names.get(name, name)}": x for (what, slash, name), x in parts}


HEADS = (("pooled", "dense", "pooler"), ("pair", "dense", "pooler"), ("pair", "output", "pair"))  # head, map, old name


def former_names(model: nn.Module) -> dict[str, str]:
    """Returns the name that a tensor of a model had in schema 1 -> its name, where these differ."""
    names = dict[str, str]()
    for name in model.state_dict():
        for head, part, old in HEADS:
            if name.startswith(new := f"heads.{head}.{part}."):
                names[f"{old}.{name.removeprefix(new)}"] = name
    for at, block in cast("Iterator[tuple[str, nn.Module]]", model.named_modules(remove_duplicate=False)):
        if isinstance(block, Block):
            stood = {child: old for j, part in enumerate(block.sublayers) for old, child in old_names(part, j)}
            for name in block.state_dict():
                child, _, rest = name.partition(".")
                names[f"{at}.{stood[child]}.{rest}"] = f"{at}.{name}"
    return names


def old_names(part: Sublayer, number: int) -> Iterator[tuple[str, str]]:
    """Yields where the children of a block stood in schema 1, and their names, of the sublayer of that number."""
    yield f"residuals.{number}", part.residual
    yield from old_names_inside(part, f"parts.{number}")


def old_names_inside(part: Sublayer, at: str) -> Iterator[tuple[str, str]]:
    """Yields the same of a sublayer that stood there itself."""
    if isinstance(part, Sum):
        for k, one in enumerate(part.parts):
            yield from old_names_inside(one, f"{at}.parts.{k}")
    elif isinstance(part, Normed):
        yield f"{at}.norm", part.norm
        yield from old_names_inside(part.part, f"{at}.part")
    elif isinstance(part, Inside):
        yield from old_names_inside(part.mix, f"{at}.mix")
        yield from old_names_inside(part.cross, f"{at}.cross")
    elif isinstance(part, Feed):
        yield f"{at}.feedforward", part.feedforward
    else:
        yield f"{at}.mixer", part.names[0]
        if isinstance(part, Mix) and part.bridge is not None:
            yield f"{at}.bridge", part.bridge
