"""Pictures alone: a folder of them, idx files, or a table with a column of paths.

Tested in tests/data/test_unlabelled.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import idx, pictures, read
from transduce.data.beside import folders
from transduce.data.columns import Columns
from transduce.data.images import IDX, IMAGE, OFFICIAL, sum_of
from transduce.data.labelled import File, Labelled
from transduce.data.source import SPLITS
from transduce.data.tables import Table
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Unlabelled(Labelled):
    """Pictures alone; labels and captions are not read.

    path: a folder with pictures, in folders of any depth, or one with train/, valid/ and test/ of such; a folder with
        idx files such as train-images-idx3-ubyte.gz; or a table (.csv, .tsv, .jsonl), or a folder with train.csv and
        the like, which has a column of paths, as seen from where it lies.
    columns: of a table, where the column `image` is, by name or counted from 0 (empty: it is recognised).
    train: names or globs of the tables of this split, in a folder.
    valid: the same; where there are none, valid_fraction of train is held out.
    test: the same.
    valid_fraction: the share of train that is held out where there is no valid, chosen by a hash of names.
    """

    kind: ClassVar[str] = "pictures"
    task: ClassVar[str] = "autoencode"
    column: ClassVar[str] = IMAGE
    plural: ClassVar[str] = "pictures"
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)

    @property
    def gives(self) -> tuple[str, ...]:
        return (self.column,)

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

    def is_packed(self, folder: Path) -> bool:
        return folder.is_dir()

    def packed(self, folder: Path) -> dict[str, Columns]:
        matches = [(IDX.fullmatch(path.name), path) for path in sorted(folder.iterdir())]
        files = {OFFICIAL[match[1]]: path for match, path in matches if match is not None and match[1] in OFFICIAL}
        if files:
            return {split: of_idx(path) for split, path in files.items()}
        return {split: self.of_files(where, folder) for split, where in folders(folder).items()}

    def of_files(self, where: Path, base: Path) -> Columns:
        """Returns the pictures below a folder. Raises UserError where there is none."""
        some = self.files_of(where)
        if not some:
            raise UserError(f"{where} has no pictures, nor idx files, nor a table train.csv; put some there")
        return Columns({IMAGE: [File.of(str(p), f"{p.relative_to(base)} {p.stat().st_size}") for p in some]})


def of_idx(path: Path) -> Columns:
    rows = idx.read(path)
    if rows.ndim != 3:
        raise UserError(f"{path} holds {' x '.join(map(str, rows.shape))} numbers, which are no pictures; remove it")
    stem = path.name.removesuffix(".gz")
    return Columns({IMAGE: [File.of(f"{path}#{i}", f"{stem}#{i} {sum_of(x.tobytes())}") for i, x in enumerate(rows)]})
