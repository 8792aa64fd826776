"""A dotted key of a config explained: type, default, choices, kinds and meaning."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from transduce.config.descriptions import about, descriptions
from transduce.config.keys import nearest
from transduce.config.part import Part, default_of, kinds
from transduce.config.writing import to_data
from transduce.errors import UserError

Found = tuple["dataclasses.Field[Any]", Any, type]
NAMES = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null", Any: "any value",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A dotted key of a config.

    name: the key.
    type: of its value, in words.
    default: as plain data; None also where it has none.
    required: it has no default.
    choices: the values that it may have (empty: any of the type).
    description: what it means.
    kinds: what each kind of a part is, by name (empty: it is no part).
    keys: the keys below it, and what they mean.
    """

    name: str
    type: str
    default: Any
    required: bool
    choices: tuple[Any, ...]
    description: str
    kinds: dict[str, str]
    keys: dict[str, str]


def explain(root: type, key: str, chosen: dict[str, str] | None = None) -> Key:
    """Returns what there is to know of a dotted key below a config class.

    chosen: kinds by dotted key, where a key of another kind than the default is asked for. A key that only other kinds
    have is found, too. Raises UserError, which names the nearest key, for one that does not exist.
    """
    names = key.removesuffix(".kind").split(".")
    for field, hint, owner in candidates(root, names, "", chosen or {}):
        return described(key.removesuffix(".kind"), field, hint, owner)
    every = list(dict.fromkeys(every_key(root)))
    same = [name for name in every if name.endswith(f".{key}")]
    guess = nearest(key, every) or next(iter(same), None) or nearest_below(names[-1], every)
    way = f"did you mean `{guess}`?" if guess else f"the first are {', '.join(descriptions(root))}"
    raise UserError(f"there is no key `{key}`; {way}")


def nearest_below(name: str, known: list[str]) -> str | None:
    """Returns the key whose last name is the nearest one."""
    last = {key.rsplit(".", 1)[-1]: key for key in reversed(known)}
    guess = nearest(name, list(last))
    return None if guess is None else last[guess]


def candidates(cls: type, names: list[str], where: str, chosen: dict[str, str]) -> Iterator[Found]:
    """Yields (field, type, class) for a key: of the default or chosen kinds first, then of any other kind."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name != names[0]:
            continue
        path, rest = f"{where}{field.name}", names[1:]
        if rest and typing.get_origin(hints[field.name]) is dict:  # of parts by a name of one's own
            path, rest = f"{path}.{rest[0]}", rest[1:]
        if not rest:
            yield field, hints[field.name], cls
            return
        for inner in below(hints[field.name], default_of(field), chosen.get(path)):
            yield from candidates(inner, rest, f"{path}.", chosen)


def below(hint: Any, default: Any, chosen: str | None) -> Iterator[type]:
    """Yields the config classes that a value may have: of a part the chosen kind, the default one, and the others."""
    for option in options(value_of(hint)):
        if is_part(option):
            every = kinds(option.folder)
            first = [name for name in (chosen, getattr(default, "kind", None)) if name in every]
            yield from (every[name] for name in dict.fromkeys([*first, *every]))
        elif dataclasses.is_dataclass(option):
            yield cast("type", option)


def value_of(hint: Any) -> Any:
    """Returns the type of what a mapping holds; another type as it is."""
    return typing.get_args(hint)[1] if typing.get_origin(hint) is dict else hint


def options(hint: Any) -> tuple[Any, ...]:
    """Returns the types of which a value has one."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return tuple(one for arg in typing.get_args(hint) for one in options(arg)) if union else (hint,)


def described(key: str, field: "dataclasses.Field[Any]", hint: Any, owner: type) -> Key:
    """Returns a key of a class in full."""
    default = default_of(field)
    required = default is dataclasses.MISSING
    parts = {n: about(c) for n, c in kinds(folder).items()} if (folder := folder_of(hint)) else {}
    inner = next(below(hint, default, None), None) if default is not None else None
    plain = None if required else to_data(default)
    return Key(
        name=key,
        type=in_words(hint),
        default=cast("dict[str, Any]", plain).get("kind", plain) if isinstance(plain, dict) else plain,
        required=required,
        choices=tuple(parts) or choices(hint),
        description=descriptions(owner).get(field.name, ""),
        kinds=parts,
        keys=descriptions(inner) if inner is not None and not required else {},
    )


def folder_of(hint: Any) -> str | None:
    """Returns the folder of the kinds of a part; None: it is no part."""
    return next((one.folder for one in options(value_of(hint)) if is_part(one)), None)


def is_part(hint: Any) -> bool:
    """Says whether a type stands for one of several kinds."""
    return isinstance(hint, type) and issubclass(hint, Part) and "kind" not in vars(hint)


def choices(hint: Any) -> tuple[Any, ...]:
    """Returns the values that a key may have, where they are listed; null among them where it may have none."""
    listed = [
        value for one in options(hint) if typing.get_origin(one) is typing.Literal for value in typing.get_args(one)
    ]
    return (*listed, *([None] if listed and type(None) in options(hint) else []))


def in_words(hint: Any) -> str:
    """Returns what a type is called: a whole number, or null."""
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "null",
        Any: "any value",
    }
    return " or ".join(dict.fromkeys(names.get(one) or in_words_of(one) for one in options(hint)))


def in_words_of(hint: Any) -> str:
    """Returns what a type that is not simple is called."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of the choices"
    if origin is tuple:
        return "a list of values, each " + in_words(args[0])
    if origin is dict:
        return "a mapping of names to values, each " + in_words(args[1])
    return "a part, chosen by its kind" if isinstance(hint, type) and issubclass(hint, Part) else "a mapping of keys"


def every_key(root: type, where: str = "", depth: int = 0) -> Iterator[str]:
    """Yields every dotted key, those of default kinds first, four parts deep."""
    hints = typing.get_type_hints(root)
    for field in dataclasses.fields(root):
        own = ".NAME" if typing.get_origin(hints[field.name]) is dict else ""  # a name of one's own
        yield f"{where}{field.name}"
        for inner in below(hints[field.name], default_of(field), None) if depth < 3 else ():
            yield from every_key(inner, f"{where}{field.name}{own}.", depth + 1)
