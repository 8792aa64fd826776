"""Reads YAML as plain data in which every scalar remembers how it was written.

YAML decides by its looks whether `1.10`, `007`, `12:30`, `no` or `2021-05-03` is text. Here the type of the field
decides (`config.from_data`), so what is written without quotes and is no text to YAML is a `Scalar` until then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

from transduce.errors import UserError

LONGEST = 1_000_000  # characters of a YAML file, and values in it once its aliases are written out


class Word(str):
    """A value as it was typed on a command line."""

    __slots__ = ()


@dataclass(frozen=True)
class Scalar:
    """A value without quotes that is not text to YAML, or not all of it.

    text: the characters as they were written.
    value: what YAML reads in them.
    where: the file and the line (empty: a command line).
    """

    text: str
    value: Any
    where: str = ""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text or "empty"


class TypedList(list[Any]):
    """A list that was typed on a command line, where it may be meant as text."""

    text: str


class TypedMapping(dict[str, Any]):
    """A mapping that was typed on a command line, where it may be meant as text."""

    text: str


def plain(value: Any) -> Any:
    """Returns a value as YAML reads it, all the way down."""
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in cast("list[Any]", value)]
    return value


def read_word(word: str) -> Any:
    """Reads a value of a command line: text as it is typed, a `Scalar`, a list or a mapping."""
    if len(word) > LONGEST:
        return str(word)
    try:
        node = Reader.node(word)
        value = None if node is None else Reader("").build(node)
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError):  # text such as `a: b: c`
        return str(word)
    if node is None:
        return Scalar(str(word), None)
    if isinstance(node, yaml.ScalarNode):  # quotes, comments and tags are text that was typed, too
        return value if node.style is None and node.value == word else str(word)
    if not getattr(node, "flow_style", False):  # `- a` and `a: b` are text, `[a]` and `{a: b}` are not
        return str(word)
    typed = TypedList(cast("list[Any]", value)) if isinstance(value, list) else TypedMapping(value or {})
    typed.text = str(word)
    return typed


def read_file(text: str, file: str) -> Any:
    """Reads the text of a YAML file.

    Raises UserError, with the file, line and column, for what is not YAML, a key that stands twice in a mapping, and
    aliases that stand for more than any recipe holds.
    """
    if len(text) > LONGEST:
        raise UserError(
            f"{file} has {len(text):,} characters, more than any recipe; data is named in a recipe as data.path"
        )
    try:
        node = Reader.node(text)
        return None if node is None else Reader(file).build(node)
    except UserError:
        raise
    except RecursionError:
        raise UserError(f"{file} is nested too deeply to be a recipe; check its brackets and indents") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}, column {mark.column + 1}" if mark else file
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise UserError(f"{place} is not YAML: {problem}") from None


class Reader(yaml.constructor.SafeConstructor):
    """Builds plain data from the nodes of a file; an empty name stands for a command line."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.building: set[int] = set()
        self.values = 0

    @staticmethod
    def node(text: str) -> yaml.Node | None:
        """Returns the root of a text."""
        loader = yaml.SafeLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()

    def build(self, node: yaml.Node) -> Any:
        """Returns the data that a node stands for."""
        self.values += 1
        if self.values > LONGEST or id(node) in self.building:
            raise UserError(f"{self.where(node)}: the aliases here stand for more than a million values; write it out")
        self.building.add(id(node))
        try:
            if isinstance(node, yaml.ScalarNode):
                return self.scalar(node)
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return {name: self.build(value) for name, value in self.items(node)}
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.build(item) for item in node.value]
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {node.tag} has no place in a recipe; leave it out", node.start_mark
            )
        finally:
            self.building.discard(id(node))

    def scalar(self, node: yaml.ScalarNode) -> Any:
        """Returns text, a number that is written as Python writes it, None for nothing, or a `Scalar`."""
        if node.tag == "tag:yaml.org,2002:value":  # a lonely `=`
            return node.value
        try:
            value: Any = cast("Any", self.construct_object(node))
            exact = type(value) in (int, float) and repr(value) == node.value
        except (ValueError, OverflowError, KeyError, AttributeError):  # no such day (2026-13-45), 5,000 digits, ...
            value, exact = node.value, False
        if exact or isinstance(value, str) or node.style is not None:
            return value
        if self.file and value is None and not node.value:
            return None
        return Scalar(node.value, value, self.where(node) if self.file else "")

    def items(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        """Yields keys, as text, and the nodes of their values; what is merged in (<<) gives way to what stands here."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{self.where(key)}: a key must be text, not a list or a mapping")
            if key.value in lines:
                first = f", first in line {lines[key.value]}" if self.file else ""
                raise UserError(f"{self.where(key)}: the key `{key.value[:80]}` stands here twice{first}; remove one")
            lines[key.value] = key.start_mark.line + 1
        self.flatten_mapping(node)
        yield from {key.value: value for key, value in node.value}.items()

    def where(self, node: yaml.Node) -> str:
        """Returns the file and the line of a node."""
        return f"{self.file}, line {node.start_mark.line + 1}" if self.file else "the command line"
