"""Tunes in ABC notation: each is a text, learnt character by character."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import read
from transduce.data.columns import TEXT, Columns
from transduce.data.source import (
    SPLITS,
    DataConfig,
    files,
    hold_out,
    require_fraction,
    unused,
)
from transduce.errors import UserError

EXTENSIONS = (".abc",)
LINE = 100_000  # characters of a line at most
FIELD = re.compile(r"[A-Za-z+]:")


@dataclass(frozen=True, kw_only=True)
class Tunes(DataConfig):
    """Tunes of ABC files (gz too), from `X:` to the next one or to a blank line, without comments (lines of %).

    path: a folder with train.abc, valid.abc and test.abc, or of other files, one file or a glob, all of which is train.
    drops: fields of the head that are left out, such as X, the number of a tune, and S, where it is from.
    valid_fraction: share of train that is held out where there is no valid file.
    """

    kind: ClassVar[str] = "tunes"
    path: str
    drops: tuple[str, ...] = ()
    valid_fraction: float = 0.05

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)
        if wrong := [name for name in self.drops if len(name) != 1 or not name.isalpha() or name == "K"]:
            raise UserError(f"drops has {wrong[0]!r}, but names fields by a letter, and K stays; use [X, S]")

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the tunes of every split. Raises UserError, which names the tune and its line."""
        splits = dict[str, Columns]()
        for split, paths in self.found().items():
            tunes = [tune for path in paths for tune in of_file(path, self.drops)]
            if not tunes:
                raise UserError(f"{paths[0]} holds no tune, which begins with X:; give an ABC file, or leave it out")
            splits[split] = Columns({TEXT: tunes})
        return hold_out(splits, self.valid_fraction)

    def found(self) -> dict[str, list[Path]]:
        """Returns the files of each split."""
        return files(self.path, {split: (split,) for split in SPLITS}, EXTENSIONS)

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self.found().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        return unused(self.path, self.found(), EXTENSIONS)


def of_file(path: Path, drops: Sequence[str]) -> Iterator[str]:
    """Yields the tunes of a file. Raises UserError."""
    lines, start = list[str](), 0
    for number, line in enumerate([*read.each(path, LINE), ""], 1):
        text = line.rstrip()
        if lines and (not text or text.startswith("X:")):
            if not any(one.startswith("K:") for one in lines):
                raise UserError(
                    f"{path}, line {start}: the tune has no key, K:, so no notes follow; add it, or remove it"
                )
            yield "\n".join(one for one in lines if not (FIELD.match(one) and one[0] in drops))
            lines = []
        if text.startswith("X:"):
            start = number
        if text and not text.startswith("%") and (lines or text.startswith("X:")):
            lines.append(text)
