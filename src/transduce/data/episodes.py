"""Recorded episodes: from files, or made by a world."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data import read, table
from transduce.data.cells import kind_of
from transduce.data.columns import Columns
from transduce.data.source import SPLITS, DataConfig, files, hold_out, require_fraction, unused
from transduce.data.tracks import ACTIONS, REWARDS, STATES, Track
from transduce.errors import UserError
from transduce.worlds.world import WorldConfig

EXTENSIONS = (".npz", ".jsonl", ".ndjson")
COLUMNS = (STATES, ACTIONS, REWARDS)
NAMES = {STATES: ("states", "observations"), ACTIONS: ("actions",), REWARDS: ("rewards",)}
ENDS = ("terminals", "timeouts", "dones")  # each marks the last step of an episode
LINE = 1 << 28  # characters of a line
VALID = 20  # so many recorded episodes of a world have one to validate on


@dataclass(frozen=True, kw_only=True)
class Episodes(DataConfig):
    """Episodes: states, actions and rewards, step by step.

    A line of a JSONL file is one episode, {"states": [[...], ...], "actions": [...], "rewards": [...]}. An npz file
    holds them one behind the other in arrays of these names, with `lengths`, or with `terminals` and `timeouts`, which
    are true at last steps (D4RL). States may be called observations.

    path: a file, or a folder with train, valid and test (None: the world makes the episodes).
    world: makes episodes where there are no files, and is where a validation acts (None: it acts nowhere).
    valid_fraction: share of the episodes of a file that are held out to validate on.
    """

    kind: ClassVar[str] = "episodes"
    task: ClassVar[str] = "act"
    path: str | None = None
    world: WorldConfig | None = None
    valid_fraction: float = 0.05

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)

    @property
    def gives(self) -> tuple[str, ...]:
        return COLUMNS

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        if self.path is not None:
            splits = {split: joined([of_file(path) for path in paths]) for split, paths in self.found().items()}
            marked = {name: Columns({"mark": [x.mark for x in rows[STATES]], **rows.values})
                      for name, rows in splits.items()}  # fmt: skip
            return {name: Columns({key: rows[key] for key in COLUMNS})
                    for name, rows in hold_out(marked, self.valid_fraction).items()}  # fmt: skip
        if self.world is None:
            raise UserError("there are no episodes to learn from; name files, data.path=..., or a world: world=graph")
        count = self.world.episodes
        parts = {"train": (0, count), "valid": (count, max(1, count // VALID))}
        return {split: of_world(self.world, *part) for split, part in parts.items()}

    def found(self) -> dict[str, list[Path]]:
        """Returns the files of each split."""
        assert self.path is not None
        return files(self.path, {split: (split,) for split in SPLITS}, EXTENSIONS)

    def files_read(self) -> list[Path] | None:
        if self.path is None:
            return []
        return [read.packed(path) for paths in self.found().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        return [] if self.path is None else unused(self.path, self.found(), EXTENSIONS)


def of_world(world: WorldConfig, first: int, count: int) -> Columns:
    some = world.record(first, count)
    return Columns({name: [Track(episode[i]) for episode in some] for i, name in enumerate(COLUMNS)})


def joined(parts: Sequence[Columns]) -> Columns:
    return Columns({name: [cell for part in parts for cell in part[name]] for name in COLUMNS})


def of_file(path: Path) -> Columns:
    """Returns the episodes of a file. Raises UserError."""
    return of_arrays(path) if kind_of(path) == ".npz" else of_lines(path)


def of_lines(path: Path) -> Columns:
    rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for number, line in enumerate(read.each(path, LINE), 1):
        if not line.strip():
            continue
        row: Any = table.parsed(line, path, number)
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}, is no episode; write an object with {', '.join(COLUMNS)}")
        for name in COLUMNS:
            rows[name].append(Track(numbers(named(cast("dict[str, Any]", row), name, f"{path}, line {number},"))))
    return Columns(rows)


def numbers(value: Any) -> NDArray[Any]:
    """Returns a list as an array; one that is no array of numbers as objects, which a reader refuses by its row."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return np.asarray(str(value), dtype=object)


def named(row: Any, name: str, where: str) -> Any:
    """Returns what a column is called by one of its names. Raises UserError."""
    for own in NAMES[name]:
        if own in row:
            return row[own]
    raise UserError(f"{where} has no `{name}`; it has {', '.join(row) or 'nothing'}")


def of_arrays(path: Path) -> Columns:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is no npz file of plain arrays ({str(error)[:60]}); save it by numpy.savez") from None
    rows = {name: named(arrays, name, str(path)) for name in COLUMNS}
    steps = {name: len(x) if x.ndim else 0 for name, x in rows.items()}
    if len(set(steps.values())) > 1:
        counted = ", ".join(f"{count:,} {name}" for name, count in steps.items())
        raise UserError(f"{path} has {counted}; give every step one of each")
    cuts = borders(arrays, steps[STATES], path)
    return Columns({name: [Track(part) for part in np.split(x, cuts)] for name, x in rows.items()})


def borders(arrays: dict[str, NDArray[Any]], steps: int, path: Path) -> NDArray[np.int64]:
    """Returns the first step of every episode but the first. Raises UserError."""
    if "lengths" in arrays:
        ends = np.asarray(arrays["lengths"]).reshape(-1).astype(np.int64).cumsum()
        if not len(ends) or ends[-1] != steps or (np.diff(ends, prepend=0) < 1).any():
            have = int(ends[-1]) if len(ends) else 0
            raise UserError(f"the lengths in {path} add up to {have:,}, but it has {steps:,} steps; correct them")
        return ends[:-1]
    marks = [np.asarray(arrays[name]).reshape(-1).astype(bool) for name in ENDS if name in arrays]
    if not marks or any(len(mark) != steps for mark in marks):
        raise UserError(f"{path} does not say where episodes end; add `lengths`, or `terminals` for each step")
    ends = np.flatnonzero(np.logical_or.reduce(marks)) + 1
    return ends[ends < steps]
