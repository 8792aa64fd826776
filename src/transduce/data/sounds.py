"""Sounds with labels: a folder for each class, or a table with a column of paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data.labelled import Labelled
from transduce.data.waves import name_of

SOUND = "sound"


@dataclass(frozen=True, kw_only=True)
class Sounds(Labelled):
    """Sounds with labels.

    path: a folder with a folder for each class, or with train/, valid/ and test/ of such; or a table (.csv, .tsv,
        .jsonl), or a folder with train.csv and the like, which has a column of paths, as seen from where it lies.
    columns: of a table, where the columns `sound` and `label` are, by name or counted from 0; what is left out is
        recognised.
    valid_fraction: the share of train that is held out where there is no valid, chosen by a hash of names.
    """

    kind: ClassVar[str] = "sounds"
    task: ClassVar[str] = "hear"
    column: ClassVar[str] = SOUND
    plural: ClassVar[str] = "sounds"

    @staticmethod
    def own(path: Path) -> bool:
        return name_of(path)
