"""Every key of a recipe, of whatever kind, has a description of its own, and none describes a key that is not there."""

import dataclasses
import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from transduce import config
from transduce.config import Part, explain, from_data, kinds, to_data
from transduce.config.descriptions import about, descriptions, own_descriptions
from transduce.config.explaining import below, every_key, options
from transduce.errors import UserError
from transduce.runs.recipe import Recipe


def classes(root: type, seen: dict[type, None]) -> dict[type, None]:
    """Every config class that a recipe may hold: of all fields, of all kinds, and their bases."""
    if root in seen:
        return seen
    seen[root] = None
    for base in root.__mro__[1:]:
        if dataclasses.is_dataclass(base) and base is not Part:
            classes(base, seen)
    for hint in typing.get_type_hints(root).values():
        for one in inner(hint):
            if isinstance(one, type) and issubclass(one, Part) and "kind" not in vars(one):
                for kind in kinds(one.folder).values():
                    classes(kind, seen)
            elif dataclasses.is_dataclass(one):
                classes(one, seen)
    return seen


def inner(hint: Any) -> Iterator[Any]:
    """A type and all that stand in it."""
    yield hint
    for one in typing.get_args(hint):
        yield from inner(one)


CLASSES = list(classes(Recipe, {}))


def test_the_classes_are_those_of_all_kinds() -> None:
    folders = {cls.folder for cls in CLASSES if issubclass(cls, Part) and hasattr(cls, "folder")}
    folders.remove("transduce.data.readers")  # a recipe names one of them by its class, as the features of a task
    assert len(folders) >= 15
    assert {kind for folder in folders for kind in kinds(folder).values()} <= set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_field_is_described_and_nothing_else(cls: type) -> None:
    fields = {field.name for field in dataclasses.fields(cls)}
    assert set(descriptions(cls)) == fields
    assert set(own_descriptions(cls)) <= fields
    for text in descriptions(cls).values():
        assert text.endswith((".", ".)"))
        assert len(text) > 5
    assert about(cls)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_what_null_means_is_said(cls: type) -> None:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if type(None) in options(hints[field.name]) and field.name in own_descriptions(cls):
            assert "None: " in descriptions(cls)[field.name], field.name


def test_lines_that_are_indented_go_on() -> None:
    class One:
        """A thing.

        a: one
            and more.
        b: another.

        Not of b: this.
            nor this
        """

    assert own_descriptions(One) == {"a": "one and more.", "b": "another."}


def test_every_key_is_explained() -> None:
    every = dict.fromkeys(every_key(Recipe))
    assert {"model.mixer.heads", "train.clip", "generate.bias", "model.encoder_mixer.heads"} <= every.keys()
    for key in every:
        found = explain(Recipe, key)
        assert found.name == key
        assert found.description
        assert found.type
        json.dumps(dataclasses.asdict(found))


def test_what_is_said_of_a_key_is_true() -> None:
    heads = explain(Recipe, "model.mixer.heads")
    assert (heads.type, heads.default, heads.required, heads.choices) == ("a whole number", 4, False, ())
    assert explain(Recipe, "train.clip").type == "a number or null"
    assert explain(Recipe, "train.precision").choices == ("auto", "fp32", "bf16")
    assert explain(Recipe, "generate.early_stopping").choices == ("heuristic", "full", "never", None)
    assert explain(Recipe, "data.path").required
    mixer = explain(Recipe, "model.mixer.kind")
    assert mixer == explain(Recipe, "model.mixer")
    assert (mixer.default, set(mixer.kinds)) == ("attention", set(kinds("transduce.model.mixers")))
    assert mixer.keys["heads"] == "query heads."
    assert explain(Recipe, "model.mixer.nu").description == "shifts of dpfp."  # which only other kinds have
    assert explain(Recipe, "model.heads.mood.classes").type == "a whole number or null"
    assert "classes" in explain(Recipe, "model.heads.mood").kinds
    chosen = explain(Recipe, "model.mixer.heads", {"model.mixer": "additive"})
    assert chosen.default == 1


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("model.mixer.haeds", "did you mean `model.mixer.heads`?"),
        ("clip", "did you mean `train.clip`?"),
        ("n_layer", "did you mean `model.layers`?"),
        ("train.learning_rate", "did you mean `optimizer.learning_rate`?"),
        ("qqqq", "the first are name, data, tokenizer"),
        ("", "the first are name"),
        ("model.", "did you mean `model`?"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, told: str) -> None:
    with pytest.raises(UserError) as raised:
        explain(Recipe, key)
    assert told in str(raised.value)


def validate(schema: dict[str, Any], definitions: dict[str, Any], value: Any) -> bool:
    """What JSON Schema says of a value, as far as our schemas go."""
    if "$ref" in schema:
        return validate(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, value)
    if "anyOf" in schema:
        return any(validate(one, definitions, value) for one in schema["anyOf"])
    if "enum" in schema:
        return any(type(value) is type(one) and value == one for one in schema["enum"])
    if "const" in schema:
        return value == schema["const"]
    sorts = {"integer": int, "number": (int, float), "boolean": bool, "string": str, "null": type(None), "array": list}
    if schema.get("type") == "object":
        known = schema.get("properties", {})
        return isinstance(value, dict) and all(
            validate(known[name], definitions, one) if name in known else bool(schema["additionalProperties"])
            for name, one in value.items()
        )
    if "type" not in schema:
        return True
    right = isinstance(value, sorts[schema["type"]]) and (schema["type"] == "boolean" or not isinstance(value, bool))
    return right and (not isinstance(value, list) or all(validate(schema["items"], definitions, v) for v in value))


def test_the_schema_carries_descriptions_defaults_and_kinds() -> None:
    found = config.schema(Recipe)
    definitions = found["$defs"]
    for cls in CLASSES:
        if cls.__name__ in definitions and (not issubclass(cls, Part) or "kind" in vars(cls)):
            for field in dataclasses.fields(cls):
                one = definitions[cls.__name__]["properties"][field.name]
                assert one["description"] == descriptions(cls)[field.name]
                assert ("default" in one) == (config.default_of(field) is not dataclasses.MISSING)
    mixer = definitions["EncoderDecoderConfig"]["properties"]["mixer"]
    assert mixer["discriminator"]["mapping"]["delta"] == "#/$defs/DeltaConfig"
    assert mixer["default"]["kind"] == "attention"
    json.dumps(found)


def test_the_schema_takes_recipes_and_refuses_others() -> None:
    found = config.schema(Recipe)
    data = {"name": "a", "data": {"kind": "dates"}, "tokenizer": {"kind": "char"}, "objective": {"kind": "translation"}}
    data["model"] = {"kind": "encoder-decoder"}
    whole = to_data(from_data(Recipe, data))
    listed = json.loads(json.dumps(whole))
    assert validate(found, found["$defs"], listed)
    for key, value in (("seed", "x"), ("precision", "fp8"), ("sede", 1)):
        wrong = {**listed, "train": {**listed["train"], key: value}}
        assert not validate(found, found["$defs"], wrong)
    assert not validate(found, found["$defs"], {**listed, "tokenizer": {"kind": "char", "heads": 3}})


def test_below_gives_the_chosen_kind_first() -> None:
    hint = typing.get_type_hints(Recipe)["tokenizer"]
    first = next(below(hint, None, "bpe"))
    assert issubclass(first, Part)
    assert first.kind == "bpe"
