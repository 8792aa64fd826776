"""Recipes with random kinds and values, trained for a step or two."""

import dataclasses
import functools
import json
import shutil
import types
import typing
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzz import values
from transduce.config import Part, kinds
from transduce.runs.recipe import Recipe

TEXT = "".join(f"the quick brown fox {i}\njumps over the lazy dog\n\n" for i in range(20))
BASES: dict[str, dict[str, Any]] = {
    "pairs": {"data.path": "pairs.tsv", "batch.max_length": 32},
    "text": {"data.path": "text.txt", "batch.max_length": 16},
    "dates": {"data.train_size": 40, "data.valid_size": 4, "data.test_size": 4},
}
MODELS = {"text": "decoder"}
SMALL: dict[str, Any] = {
    "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "tokenizer": "char", "schedule": "constant",
    "train.max_steps": 2,
    "train.samples": 2, "generate.max_new_tokens": 4, "generate.beam_size": 1, "batch.batch_tokens": 256,
    "train.precision": "fp32",
}  # fmt: skip


def prepare(folder: Path) -> None:
    (folder / "pairs.tsv").write_text("".join(f"a b {i}\tc d {i}\n" for i in range(40)), "utf-8")
    (folder / "text.txt").write_text(TEXT, "utf-8")


SMALL_NUMBERS = {int: (0, 1, 2, 3, 4, 8, 16), float: (0.0, 0.1, 0.5, 1.0, 2.0)}


@functools.cache
def sections(model: str) -> dict[str, Any]:
    """Returns the type of every key of a recipe and of its sections. model: the kind of its model."""
    hints = typing.get_type_hints(Recipe)
    inner = {
        f"{name}.{key}": hint for name in ("batch", "train", "generate") for key, hint in fields(hints[name]).items()
    }
    own = {f"model.{key}": hint for key, hint in fields(kinds(hints["model"].folder)[model]).items()}
    return fields(Recipe) | inner | own


def fields(cls: Any) -> dict[str, Any]:
    """Returns the type of every field."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def likely(random: Random, hint: Any, wild: float, depth: int = 2) -> Any:
    """Returns a value of about the right type. wild: how often it is one that nobody would choose."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if random.random() < wild / 4:
        return values.value(random)
    if origin in (typing.Union, types.UnionType):
        return likely(random, random.choice(args), wild, depth)
    if origin is typing.Literal:
        return random.choice(args)
    if origin is tuple:
        return [likely(random, args[0], wild, depth) for _ in range(random.randint(0, 3))]
    if isinstance(hint, type) and issubclass(hint, Part):
        kind, cls = random.choice([*kinds(hint.folder).items()])
        return {"kind": kind, **some(random, cls, wild, depth - 1)} if depth else kind
    if dataclasses.is_dataclass(hint):
        return some(random, hint, wild, depth - 1) if depth else {}
    if hint in (int, float):
        return values.number(random) if random.random() < wild else random.choice(SMALL_NUMBERS[hint])
    if hint is bool:
        return random.random() < 0.5
    return None if hint is type(None) else values.text(random)


def some(random: Random, cls: Any, wild: float, depth: int) -> dict[str, Any]:
    """Returns values for a few fields of a config."""
    own = [*fields(cls).items()]
    chosen = random.sample(own, min(len(own), random.choice([0, 0, 1, 1, 2, 3])))
    return {name: likely(random, hint, wild, depth) for name, hint in chosen}


def change(random: Random, model: str = "encoder-decoder") -> tuple[str, Any]:
    """Returns a key and a value."""
    path, hint = random.choice([*sections(model).items()])
    if random.random() < 0.03:
        path += random.choice([".kind", ".x", "x", "."])
    return path, likely(random, hint, wild=random.choice([0.0, 0.0, 0.1, 0.5]))


def case(random: Random, folder: Path) -> list[str]:
    base = random.choice([*BASES])
    shutil.rmtree(folder / "runs", ignore_errors=True)
    model = (
        random.choice(["encoder-decoder", "decoder"]) if random.random() < 0.1 else MODELS.get(base, "encoder-decoder")
    )
    changes = [change(random, model) for _ in range(random.choice([1, 1, 1, 2, 2, 3, 5]))]
    changed = {key.split(".")[0] for key, _ in changes if key.count(".") == 0} | {key for key, _ in changes}
    small = [(k, v) for k, v in (BASES[base] | SMALL).items() if k not in changed and k.split(".")[0] not in changed]
    if random.random() < 0.5:  # on the command line
        words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in [*small, *changes]]
        return ["train", base, *words, "train.max_steps=2", "--quiet"]
    data: dict[str, Any] = {"base": base}
    for key, value in [*small, *changes, ("train.max_steps", 2)]:
        put(data, key, value)
    text = yaml.safe_dump(data, allow_unicode=True)
    if random.random() < 0.1:
        text = values.spoilt(random, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    (folder / "case.yaml").write_text(text, "utf-8", errors="replace")
    return ["train", "case.yaml", "--quiet"]


def put(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets a value where it belongs, if there is room."""
    *path, last = dotted.split(".")
    for key in path:
        inner = data.setdefault(key, {})
        data = inner if isinstance(inner, dict) else data.__setitem__(key, {"kind": inner}) or data[key]
    data[last] = value
