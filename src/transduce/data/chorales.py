"""Music in four voices: a chorale is a text, in which each step is four words, a pitch of each voice."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from transduce.data import midi, read
from transduce.data.columns import TEXT, Columns
from transduce.data.midi import VOICES, Grid, words
from transduce.data.source import (
    SPLITS,
    DataConfig,
    files,
    hold_out,
    require_fraction,
    unused,
)
from transduce.errors import UserError, require_at_least, require_at_most

EXTENSIONS = (".json", ".mid", ".midi")


@dataclass(frozen=True, kw_only=True)
class Chorales(DataConfig):
    """Chorales: "S74 A70 T65 B58 S75 A70 T58 B55 ...", MIDI pitches of soprano, alto, tenor and bass, S- for silence.

    A JSON file holds chorales as lists of steps of four pitches, -1 for silence: a list of them, or one for each split,
    {"train": [...], "valid": [...]}. A MIDI file is one chorale: each of its four tracks with notes is a voice, the
    highest first (the extra `music`).

    path: such a JSON file, or a folder with train.json and valid.json, or of MIDI files, all of which are train.
    every: each so-manieth step is read: of sixteenth notes 4 are a quarter note.
    transpose: train has each chorale in so many keys more, up and down in half tones, as far as every voice stays where
        training data have it.
    valid_fraction: share of train that is held out where there is no valid split.
    """

    kind: ClassVar[str] = "chorales"
    path: str
    every: int = 4
    transpose: int = 0
    valid_fraction: float = 0.05

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)
        require_at_least(1, every=self.every)
        require_at_least(0, transpose=self.transpose)
        require_at_most(24, transpose=self.transpose)

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the chorales of every split. Raises UserError, which names the chorale."""
        grids = dict[str, list[Grid]]()
        for split, paths in self.found().items():
            for path in paths:
                for name, some in of_file(path, split).items():
                    grids.setdefault(name, []).extend(grid[:: self.every] for grid in some)
        if not grids.get("train"):
            raise UserError(f"{self.path} holds no chorale to train on; give a list of them, or one under `train`")
        splits = {n: Columns({TEXT: [words(grid) for grid in grids[n]]}) for n in SPLITS if grids.get(n)}
        splits = hold_out(splits, self.valid_fraction)
        own = [midi.grid_of(text) for text in splits["train"][TEXT]]
        return {
            **splits,
            "train": Columns({TEXT: [words(grid) for grid in in_keys(own, self.transpose)]}),
        }

    def found(self) -> dict[str, list[Path]]:
        """Returns the files of each split."""
        return files(self.path, {split: (split,) for split in SPLITS}, EXTENSIONS)

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self.found().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        return unused(self.path, self.found(), EXTENSIONS)


def write_midi(text: str, path: Path, data: DataConfig) -> None:
    """Writes a text as MIDI, a step as long as those of the data that a model learnt from. Raises UserError."""
    if not (grid := midi.grid_of(text)):
        raise UserError(f"the text has no step of four voices to write to {path}; raise --max-new-tokens")
    midi.write(grid, path, data.every if isinstance(data, Chorales) else 4)


def of_file(path: Path, split: str) -> dict[str, list[Grid]]:
    """Returns the chorales of a file by split. split: of those that name none. Raises UserError."""
    if path.suffix in midi.EXTENSIONS:
        return {split: [midi.read(path)]}
    try:
        whole: Any = json.loads(read.text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON document ({error}); give chorales as lists of steps") from None
    parts: dict[str, Any] = cast("dict[str, Any]", whole) if isinstance(whole, dict) else {split: whole}
    if unknown := [name for name in parts if name not in SPLITS or not isinstance(parts[name], list)]:
        raise UserError(
            f"{path} has `{unknown[0]}`, but holds lists of chorales under train, valid and test; rename it"
        )
    return {
        name: [checked(one, f"{path}, chorale {number} of {name},") for number, one in enumerate(rows, 1)]
        for name, rows in parts.items()
    }


def checked(chorale: Any, name: str) -> Grid:
    """Returns a chorale whose every step has four pitches. Raises UserError."""
    if not isinstance(chorale, list) or not chorale:
        raise UserError(f"{name} is not a list of steps; remove it")
    for number, step in enumerate(cast("list[Any]", chorale), 1):
        if not isinstance(step, list) or len(cast("list[Any]", step)) != len(VOICES):
            voices = f"{len(cast('list[Any]', step))} voices" if isinstance(step, list) else "no voices"
            raise UserError(
                f"{name} has {voices} at step {number}, but four are read; write -1 for silence, or remove it"
            )
        if wrong := [x for x in cast("list[Any]", step) if not isinstance(x, int) or not -1 <= x <= 127]:
            raise UserError(
                f"{name} has {wrong[0]!r} at step {number}, but MIDI pitches are 0 to 127, and -1; correct it"
            )
    return cast("Grid", chorale)


def in_keys(grids: Sequence[Grid], most: int) -> list[Grid]:
    """Returns chorales, then those of them that fit moved by 1, -1, 2, -2, ... half tones: every interval stays."""
    out = list(grids)
    voices = [[step[voice] for grid in grids for step in grid if step[voice] >= 0] for voice in range(len(VOICES))]
    ends = [(min(voice, default=0), max(voice, default=127)) for voice in voices]
    for shift in (sign * n for n in range(1, most + 1) for sign in (1, -1)):
        for grid in grids:
            moved = [[x + shift if x >= 0 else x for x in step] for step in grid]
            if all(x < 0 or low <= x <= high for step in moved for x, (low, high) in zip(step, ends, strict=True)):
                out.append(moved)
    return out
