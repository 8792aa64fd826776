"""Files with texts: a table with a column of paths, or a folder in which a text lies beside each file.

Tested in tests/data/test_transcripts.py and tests/data/test_captions.py.
"""

from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import read
from transduce.data.columns import TEXT, Columns
from transduce.data.labelled import SHOWN, File, Labelled, split_folders, subfolders
from transduce.data.source import SPLIT_NAMES
from transduce.errors import UserError

LONGEST = 100_000  # characters of a line of text


@dataclass(frozen=True, kw_only=True)
class Beside(Labelled, ABC):
    """The keys of files with texts."""

    other: ClassVar[str] = TEXT

    def is_packed(self, folder: Path) -> bool:
        return folder.is_dir()

    def packed(self, folder: Path) -> dict[str, Columns]:
        return {split: self.beside(where, folder) for split, where in folders(folder).items()}

    def beside(self, where: Path, base: Path) -> Columns:
        """Returns the files below a folder, with the texts beside them. Raises UserError where one has none."""
        some = self.files_of(where)
        if not some:
            raise UserError(f"{where} has no {self.plural}, nor a table train.csv; put some there, or remove it")
        if bare := [str(p.relative_to(base)) for p in some if not p.with_suffix(".txt").is_file()]:
            shown = ", ".join(bare[:SHOWN]) + (", ..." if len(bare) > SHOWN else "")
            what = f"{len(bare)} of {len(some)} {self.plural} in {where} have no text beside them ({shown})"
            name = some[0].suffix
            raise UserError(f"{what}; write NAME.txt for NAME{name}, or give a table of {self.plural} and texts")
        names = [File.of(str(p), f"{p.relative_to(base)} {p.stat().st_size}") for p in some]
        texts = [text_of(p.with_suffix(".txt")) for p in some]
        return Columns({self.column: names, self.other: texts})


def text_of(path: Path) -> str:
    """Returns the lines of a file as one. Raises UserError."""
    return " ".join(line.strip() for line in read.each(path, LONGEST, "split the line"))


def folders(folder: Path) -> dict[str, Path]:
    """Returns the folders of splits; where none is named so, all of it is train."""
    named = any(SPLIT_NAMES.get(path.name.lower()) == "train" for path in subfolders(folder))
    return split_folders(folder) if named else {"train": folder}
