"""Translation from two files of equally many lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import read
from transduce.data.columns import SOURCE, TARGET, Columns
from transduce.data.source import DataConfig, hold_out, require_fraction, unused
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Parallel(DataConfig):
    """Line n of one file translates line n of the other; gz or plain.

    Files are named `path`/STEM.LANGUAGE, such as train.de and train.en. A stem with {} has the language put there
    instead ("{}/train.txt"). Of valid and test, what is not there is left out, unless named otherwise than "valid" and
    "test".

    path: the folder of the files.
    source: language of the source, which ends the names of its files.
    target: language of the target, which ends the names of its files.
    train: stems of the files to train on: one or several, globs too ("part*").
    valid: stems of the files to validate on.
    test: stems of the files to test on at the end.
    valid_fraction: share of the training lines that is held out where there is no valid file.
    max_chars: the longest line; a longer one is refused.
    """

    kind: ClassVar[str] = "parallel"
    task: ClassVar[str] = "translate"
    path: str
    source: str
    target: str
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)
    valid_fraction: float = 0.05
    max_chars: int = 10_000

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)
        if not self.train:
            raise ValueError("train names no files; give a stem such as `train`")

    @property
    def gives(self) -> tuple[str, ...]:
        return SOURCE, TARGET

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns both sides of every split, aligned. Raises UserError."""
        folder = read.at_home(self.path)
        if not folder.is_dir():
            raise UserError(f"data.path: {read.missing(folder)}")
        return hold_out({split: self._read(pairs) for split, pairs in self._splits().items()}, self.valid_fraction)

    def files_read(self) -> list[Path]:
        return [file for pairs in self._splits().values() for pair in pairs for file in pair]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence about files of these languages that are not read."""
        taken = {split: [file for pair in pairs for file in pair] for split, pairs in self._splits().items()}
        return unused(self.path, taken, (f".{self.source}", f".{self.target}"))

    def _splits(self) -> dict[str, list[tuple[Path, Path]]]:
        folder, splits = read.at_home(self.path), dict[str, list[tuple[Path, Path]]]()
        for split, stems in (("train", self.train), ("valid", self.valid), ("test", self.test)):
            optional = stems == (split,) and split != "train"
            pairs = [pair for stem in stems for pair in self._files(folder, stem, optional)]
            if pairs:
                splits[split] = pairs
        return splits

    def _files(self, folder: Path, stem: str, optional: bool) -> list[tuple[Path, Path]]:
        pattern = stem if "{}" in stem else stem + ".{}"
        names = pattern.replace("{}", self.source), pattern.replace("{}", self.target)
        if optional and not any(read.expand(folder, name) for name in names):
            return []
        sources, targets = (read.required(folder, name) for name in names)
        if len(sources) != len(targets):
            raise UserError(
                f"{names[0]} matches {len(sources)} files but {names[1]} matches {len(targets)}; "
                f"every file needs its translation beside it"
            )
        return list(zip(sources, targets, strict=True))

    def _read(self, pairs: list[tuple[Path, Path]]) -> Columns:
        sources, targets = list[str](), list[str]()
        for source, target in pairs:
            left, right = read.lines(source, self.max_chars), read.lines(target, self.max_chars)
            if len(left) != len(right):
                raise UserError(
                    f"{source} has {len(left)} lines but {target} has {len(right)}; line n of one must translate "
                    f"line n of the other, so find the line that is missing or split"
                )
            sources += left
            targets += right
        return Columns({SOURCE: sources, TARGET: targets})
