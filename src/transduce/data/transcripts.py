"""Sounds with texts: a table with a column of paths, or a folder in which a text lies beside each sound."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data.beside import Beside
from transduce.data.sounds import SOUND
from transduce.data.waves import name_of


@dataclass(frozen=True, kw_only=True)
class Transcripts(Beside):
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

    @staticmethod
    def own(path: Path) -> bool:
        return name_of(path)
