"""Entries of the catalogue: one published model each, read from the YAML files in `models`.

The list follows "Transformer models: an introduction and catalog" (Amatriain et al. 2023, arXiv:2302.07730), with the
sizes of each model, its ancestors and helper bases.
"""

import difflib
import functools
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, cast

import yaml

from transduce.errors import UserError

FAMILIES: Final = (
    "encoder", "decoder", "encoder-decoder", "system", "vision", "multimodal", "diffusion", "reinforcement-learning",
    "protein",
)  # fmt: skip
TEXT: Final = frozenset(FAMILIES[:4])


@dataclass(frozen=True, kw_only=True)
class Published:
    """The numbers that the authors printed: params, as `label`, of which active for a token, and of what part
    (`scope`).
    """

    params: int
    label: str = ""
    scope: str = "all"
    active: int | None = None


@dataclass(frozen=True, kw_only=True)
class Counted:
    """All learnable parameters, tied tensors once, of the class `of` of transformers, or by another `method`.

    in_scope: those of the published scope; active: those that one token meets.
    """

    params: int
    of: str = ""
    method: str = ""
    in_scope: int | None = None
    active: int | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A published model.

    heading: its heading in the catalogue above, or empty. source: an arXiv number or a title. changes: what it changes
    of its parent. training: the stages of a system. shape: as published, empty where it is that of the parent.
    buildable: whether the shape is known well enough. evidence: how it was checked. assumed: fields of the shape that
    are not published. fitted: whether something was chosen to meet the published total, whose agreement then proves
    nothing.
    """

    id: str
    family: str
    name: str
    year: int
    lab: str
    source: str
    changes: str
    heading: str = ""
    parent: str | None = None
    objective: Sequence[str] = ()
    use: str = ""
    training: Sequence[str] = ()
    shape: Mapping[str, Any] = field(default_factory=dict[str, Any])
    buildable: bool = True
    published: Published | None = None
    counted: Counted | None = None
    evidence: str = ""
    assumed: Sequence[str] = ()
    fitted: bool = False
    notes: str = ""

    @property
    def link(self) -> str:
        """Returns where to read about it, if that is on arXiv."""
        return f"https://arxiv.org/abs/{self.source}" if self.source[:4].isdigit() and "." in self.source else ""

    @property
    def deviation(self) -> float | None:
        """Returns (counted - published) / published, in the published scope."""
        if self.counted is None or self.published is None:
            return None
        counted = self.counted.params if self.counted.in_scope is None else self.counted.in_scope
        return counted / self.published.params - 1


def entry_of(name: str, family: str, data: dict[str, Any]) -> Entry:
    """Returns the entry that the mapping of a file describes."""
    unknown = data.keys() - {field.name for field in fields(Entry)}
    if unknown:
        raise UserError(f"entry `{name}` of {family}.yaml has the unknown keys {', '.join(sorted(unknown))}")
    for key, kind in (("published", Published), ("counted", Counted)):
        if key in data:
            data = {**data, key: kind(**data[key])}
    return Entry(id=name, family=family, **data)


@functools.cache
def catalogue() -> Mapping[str, Entry]:
    """Returns every entry by its id, in the order of the files: a parent is not always before its children."""
    folder, loader = importlib.resources.files(__name__.rpartition(".")[0]) / "models", fastest()
    entries: dict[str, Entry] = {}
    for family in FAMILIES:
        text = (folder / f"{family}.yaml").read_text("utf-8")
        data = cast("dict[str, dict[str, Any]]", yaml.load(text, loader))  # noqa: S506, both loaders are safe ones
        entries |= {name: entry_of(name, family, one) for name, one in data.items()}
    return MappingProxyType(entries)


def fastest() -> Any:
    """Returns the safe loader, in C where PyYAML was built with it: twenty times as fast."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def entry(name: str) -> Entry:
    """Returns the entry of this id. Raises UserError, which names the nearest ones."""
    entries = catalogue()
    if name in entries:
        return entries[name]
    ids = {entry.name.lower(): key for key, entry in entries.items()}
    near = [ids.get(match, match) for match in difflib.get_close_matches(name.lower(), [*entries, *ids], 3, 0.5)]
    starts = [key for key in entries if key.startswith(name.lower())][:6]
    likely = list(dict.fromkeys([*starts, *near]))
    hint = f"did you mean {' or '.join(likely)}? " if likely else ""
    raise UserError(f"the catalogue has no `{name}`; {hint}`transduce catalogue ls` lists all {len(entries)}")
