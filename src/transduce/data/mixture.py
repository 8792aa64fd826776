"""Several sources, each with a share of what a model is trained on."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from transduce.config import Part, kinds
from transduce.data.columns import Columns
from transduce.data.source import SPLITS, DataConfig
from transduce.data.walk import Piece
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Mixture(DataConfig):
    """Several sources, each with a share of the examples that a model is trained on.

    A share is of examples; of streams of text, of windows, which have equally many tokens. An epoch has as many of them
    as the sources have together.

    of: the sources, each under a name of your own.
    weights: the share of each source, by its name, in proportion: 7 and 3 are 70 and 30 % (empty: as `temperature` has
        it).
    temperature: where no weights are given, the share of a source of n examples goes by n^(1 / temperature): 1: as they
        are; more: small sources have more than they are (Conneau and Lample 2019; Xue et al. 2021, sec. 3.2).
    exhausted: a source that has been read to its end begins again in another order (repeat), or the training ends there
        (stop).
    """

    kind: ClassVar[str] = "mixture"
    of: dict[str, DataConfig] = field(default_factory=dict[str, DataConfig], hash=False)
    weights: dict[str, float] = field(default_factory=dict[str, float], hash=False)
    temperature: float = 1.0
    exhausted: Literal["repeat", "stop"] = "repeat"

    def __post_init__(self) -> None:
        if len(self.of) < 2:
            what = f"of names {len(self.of) or 'no'} source{'s' * (len(self.of) != 1)}, but a mixture has two or more"
            raise ValueError(f"{what}; add data.of.NAME.kind and data.of.NAME.path for each")
        if bad := next((name for name in self.of if not name.isidentifier()), None):
            raise ValueError(f"of.{bad}: a source is named with letters, digits and _, such as of.news")
        if inner := next((name for name, one in self.of.items() if isinstance(one, Mixture)), None):
            raise ValueError(f"of.{inner} is a mixture itself; name its sources beside the others")
        if self.weights and set(self.weights) != set(self.of):
            here, there = ", ".join(self.weights), ", ".join(self.of)
            raise ValueError(f"weights are of {here}, but the sources are {there}; give each one a weight")
        if bad := next((n for n, w in self.weights.items() if not (w > 0 and math.isfinite(w))), None):
            raise ValueError(f"weights.{bad}={self.weights[bad]} must be more than 0; leave a source out to skip it")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must be more than 0; 1 takes the sources as they are")
        if self.weights and self.temperature != 1:
            raise ValueError(
                f"weights are given, so temperature={self.temperature} says nothing; leave one of them out"
            )
        self._require_alike({name: one.gives for name, one in self.of.items()})

    @staticmethod
    def _require_alike(gives: Mapping[str, tuple[str, ...] | None]) -> None:
        """Raises ValueError where two sources are learnt from in different ways. gives: the columns of each."""
        named = {name: columns for name, columns in gives.items() if columns is not None}
        first = next(iter(named), None)
        for name, columns in named.items():
            if first is not None and columns != named[first]:
                what = f"of.{first} gives {' and '.join(named[first])}, but of.{name} {' and '.join(columns)}"
                raise ValueError(f"{what}, and a model learns one task; mix sources of one kind, or with one `unit`")

    @property
    def gives(self) -> tuple[str, ...] | None:
        return next((one.gives for one in self.of.values() if one.gives is not None), None)

    @classmethod
    def task_of(cls, data: Mapping[str, Any]) -> str:
        for one in cast("Mapping[str, Any]", data.get("of") or {}).values():
            section = cast("Mapping[str, Any]", one) if isinstance(one, Mapping) else {"kind": one}
            kind: type[Part] | None = kinds(cls.folder).get(str(section.get("kind", "")))
            return kind.task if kind is not None and issubclass(kind, DataConfig) else cls.task
        return cls.task

    def shares(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Returns the share of each source, which sum to 1. sizes: the examples of each."""
        weights = self.weights or {name: n ** (1 / self.temperature) for name, n in sizes.items()}
        total = sum(weights[name] for name in sizes)
        return {name: weights[name] / total for name in sizes}

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the splits of all sources, those of a source one behind the other. Raises UserError."""
        every = {name: self._of(name, lambda one: one.load(columns)) for name in self.of}
        return {split: self._joined(split, every) for split in SPLITS if any(split in some for some in every.values())}

    def _joined(self, split: str, every: Mapping[str, Mapping[str, Columns]]) -> Columns:
        parts = {name: some[split] for name, some in every.items() if split in some}
        first, *rest = parts
        for name in rest:
            if parts[name].names != parts[first].names or parts[name].group != parts[first].group:
                one, other = (" and ".join(parts[key].names) for key in (first, name))
                raise UserError(f"data.of.{first} has {one}, but data.of.{name} {other}; mix sources that are alike")
        values = {c: list(chain.from_iterable(part[c] for part in parts.values())) for c in parts[first].names}
        return Columns(values, parts[first].group, {name: len(part) for name, part in parts.items()})

    def walker(self) -> Callable[[], Iterator[Piece]] | None:
        walks = {name: self._of(name, lambda one: one.walker()) for name in self.of}
        if any(walk is None for walk in walks.values()):
            return None

        def pieces() -> Iterator[Piece]:
            going = {name: walk() for name, walk in walks.items() if walk is not None}
            waiting = {name: next(walk, None) for name, walk in going.items()}
            for split in SPLITS:  # in which order each source yields its own
                for name, walk in going.items():
                    while (piece := waiting[name]) is not None and piece.split == split:
                        yield piece._replace(source=name)
                        waiting[name] = next(walk, None)

        return pieces

    def named_files(self) -> list[tuple[str, Path]] | None:
        every = {name: self._of(name, lambda one: one.named_files()) for name in self.of}
        if any(files is None for files in every.values()):
            return None
        return [(f"{name}/{file}", path) for name, files in every.items() for file, path in files or ()]

    def files_read(self) -> list[Path] | None:
        files = self.named_files()
        return None if files is None else [path for _, path in files]

    def settings(self) -> dict[str, Any]:
        """Returns what decides the rows; the shares do not, so that shards serve whatever they are."""
        return {"kind": self.kind, "of": {name: one.settings() for name, one in self.of.items()}}

    def absent(self) -> bool:
        return all(one.absent() for one in self.of.values())

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        return [f"{name}: {line}" for name, one in self.of.items() for line in one.remarks(columns)]

    def _of(self, name: str, ask: Callable[[DataConfig], Any]) -> Any:
        """Returns what a source answers; what it refuses is told with its name."""
        try:
            return ask(self.of[name])
        except UserError as error:
            raise UserError(f"data.of.{name}: {error}") from None
