"""Pictures with captions: a table with a column of paths, or a folder in which a text lies beside each picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import pictures, read
from transduce.data.beside import Beside
from transduce.data.images import IMAGE
from transduce.data.source import SPLITS
from transduce.data.tables import Table
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Captions(Beside):
    """Pictures with captions.

    path: a table (.csv, .tsv, .jsonl), or a folder with train.csv and the like, which has a column of paths, as seen
        from where it lies; or a folder, or one with train/, valid/ and test/, in which NAME.txt lies beside each
        picture.
    columns: of a table, where the columns `image` and `text` are, by name or counted from 0; what is left out is
        recognised.
    train: names or globs of the tables of this split, in a folder.
    valid: the same; where there are none, valid_fraction of train is held out.
    test: the same.
    valid_fraction: the share of train that is held out where there is no valid, chosen by a hash of names.
    """

    kind: ClassVar[str] = "captions"
    task: ClassVar[str] = "match"
    column: ClassVar[str] = IMAGE
    plural: ClassVar[str] = "pictures"
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)

    @staticmethod
    def own(path: Path) -> bool:
        return pictures.name_of(path)

    def table(self) -> Table | None:
        split = next((name for name in SPLITS if getattr(self, name) != (name,)), None)
        if split is None:
            return super().table()
        if not read.at_home(self.path).is_dir():
            raise UserError(
                f"data.{split} names tables in a folder, but data.path={self.path} is none; give the folder"
            )
        return Table(
            path=self.path, columns=self.columns, train=self.train, valid=self.valid, test=self.test, valid_fraction=0
        )
