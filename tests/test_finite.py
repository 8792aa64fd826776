"""Every number of every config is finite: whatever is computed from infinity or nan soon is nan, without a word."""

import dataclasses
import importlib
import math
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import transduce
from transduce.config import Part, from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.init.rules import RulesInit
from transduce.model.mixers.bidirectional import BidirectionalConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.runs.recipe import Recipe


def parts(base: type = Part) -> Iterator[type]:
    """Every kind of every part of the package."""
    for cls in base.__subclasses__():
        if cls.__module__.startswith("transduce."):
            if "kind" in vars(cls):
                yield cls
            yield from parts(cls)


def sections(cls: type) -> Iterator[type]:
    """A config and those that are its fields, such as `train` of a recipe."""
    yield cls
    for hint in typing.get_type_hints(cls).values():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint) and not issubclass(hint, Part):
            yield from sections(hint)


def numbers() -> Iterator[tuple[type, str, Any]]:
    """Every field that holds numbers, and its type."""
    for module in pkgutil.walk_packages(transduce.__path__, "transduce."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for cls in dict.fromkeys([*sections(Recipe), *parts()]):
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            if field.init and "float" in str(hints[field.name]):
                yield cls, field.name, hints[field.name]


NUMBERS = [pytest.param(*one, id=f"{one[0].__name__}.{one[1]}") for one in numbers()]


def test_the_numbers_of_every_place_are_here() -> None:
    places = {name.id.split(".")[0] for name in NUMBERS}  # type: ignore[union-attr]
    assert places >= {
        "TrainConfig",
        "GenerateConfig",
        "AttentionConfig",
        "LinearHeadConfig",
        "AdamWConfig",
        "YarnScalingConfig",
    }
    assert len(NUMBERS) > 100


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan], ids=str)
@pytest.mark.parametrize(("cls", "name", "hint"), NUMBERS)
def test_a_number_that_is_not_finite_is_refused_by_name(cls: type, name: str, hint: Any, number: float) -> None:
    value: Any = {"a": number} if "dict" in str(hint) else number
    for _ in range(str(hint).count("tuple")):
        value = [value]
    with pytest.raises(
        UserError, match=rf"^`here\.{name}(\[0\]|\.a)*` is (infinite \(-?inf\)|not a number \(nan\)); give a"
    ):
        from_data(cls, {name: value}, "here")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan], ids=str)
def test_parts_made_in_python_are_read_too(number: float) -> None:
    inside = {"mixer": BidirectionalConfig(mixer=LSTMConfig(forget_bias=number))}
    with pytest.raises(UserError, match=r"`mixer\.mixer\.forget_bias` is (infinite|not a number)"):
        from_data(DecoderConfig, inside)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan], ids=str)
def test_start_values_that_are_written_down_are_finite(number: float) -> None:
    with pytest.raises(UserError, match=r"`patterns: \*\.q\.weight` is (infinite|not a number)"):
        from_data(RulesInit, {"patterns": [["*.q.weight", "constant", number]]})
