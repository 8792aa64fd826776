"""Sounds with texts: a table with a column of paths, or a folder in which a text lies beside each sound."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import read
from transduce.data.columns import TEXT, Columns
from transduce.data.labelled import SHOWN, File, Labelled, split_folders, subfolders
from transduce.data.sounds import SOUND
from transduce.data.source import SPLIT_NAMES
from transduce.data.waves import name_of
from transduce.errors import UserError

LONGEST = 100_000  # characters of a line of text


@dataclass(frozen=True, kw_only=True)
class Transcripts(Labelled):
    """Sounds with texts.

    path: a table (.csv, .tsv, .jsonl), or a folder with train.csv and the like, which has a column of paths, as seen
        from where it lies; or a folder, or one with train/, valid/ and test/, in which NAME.txt lies beside each sound.
    columns: of a table, where the columns `sound` and `text` are, by name or counted from 0; what is left out is
        recognised.
    valid_fraction: the share of train that is held out where there is no valid, chosen by a hash of names.
    """

    kind: ClassVar[str] = "transcripts"
    task: ClassVar[str] = "transcribe"
    column: ClassVar[str] = SOUND
    plural: ClassVar[str] = "sounds"
    other: ClassVar[str] = TEXT

    @staticmethod
    def own(path: Path) -> bool:
        return name_of(path)

    def is_packed(self, folder: Path) -> bool:
        return folder.is_dir()

    def packed(self, folder: Path) -> dict[str, Columns]:
        return {split: self.beside(where, folder) for split, where in folders(folder).items()}

    def beside(self, where: Path, base: Path) -> Columns:
        """Returns the sounds below a folder, with the texts beside them. Raises UserError where one has none."""
        sounds = self.files_of(where)
        if not sounds:
            raise UserError(f"{where} has no sounds, nor a table train.csv; put some there, or remove it")
        if bare := [str(p.relative_to(base)) for p in sounds if not p.with_suffix(".txt").is_file()]:
            shown = ", ".join(bare[:SHOWN]) + (", ..." if len(bare) > SHOWN else "")
            what = f"{len(bare)} of {len(sounds)} sounds in {where} have no text beside them ({shown})"
            raise UserError(f"{what}; write NAME.txt for NAME.wav, or give a table of sounds and texts")
        names = [File.of(str(p), f"{p.relative_to(base)} {p.stat().st_size}") for p in sounds]
        texts = [text_of(p.with_suffix(".txt")) for p in sounds]
        return Columns({SOUND: names, TEXT: texts})


def text_of(path: Path) -> str:
    """Returns the lines of a file as one. Raises UserError."""
    return " ".join(line.strip() for line in read.each(path, LONGEST, "split the line"))


def folders(folder: Path) -> dict[str, Path]:
    """Returns the folders of splits; where none is named so, all of it is train."""
    named = any(SPLIT_NAMES.get(path.name.lower()) == "train" for path in subfolders(folder))
    return split_folders(folder) if named else {"train": folder}
