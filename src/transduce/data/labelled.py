"""Files with labels, such as pictures or sounds: a folder for each class, or a table with a column of paths."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from transduce.data import read, table
from transduce.data.columns import Columns
from transduce.data.source import SPLIT_NAMES, SPLITS, DataConfig, hold_out, require_fraction
from transduce.data.tables import Table
from transduce.errors import UserError

LABEL = "label"
SHOWN = 5


class File(str):
    """The path of a file. mark: what tells it from others wherever its folder is: its name there, and its size."""

    mark: str

    @classmethod
    def of(cls, path: str, mark: str) -> "File":
        out = cls(path)
        out.mark = mark
        return out


@dataclass(frozen=True, kw_only=True)
class Labelled(DataConfig, ABC):
    """The keys of files with labels.

    path: a folder with a folder for each class, or with train/, valid/ and test/ of such; or a table (.csv, .tsv,
        .jsonl), or a folder with train.csv and the like, which has a column of paths, as seen from where it lies.
    columns: of a table, where its columns are, by name or counted from 0; what is left out is recognised.
    valid_fraction: the share of train that is held out where there is no valid, chosen by a hash of names.
    """

    column: ClassVar[str]  # of the files
    plural: ClassVar[str]  # the name of what they hold
    other: ClassVar[str] = LABEL  # the column beside it
    path: str
    columns: dict[str, int | str] = field(default_factory=dict[str, int | str])
    valid_fraction: float = 0.1

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)

    @property
    def gives(self) -> tuple[str, ...]:
        return self.column, self.other

    @staticmethod
    def own(path: Path) -> bool:
        """Says whether a file is called like what these data hold."""
        raise AssertionError("a kind of Labelled defines own")

    def is_packed(self, folder: Path) -> bool:
        """Says whether files of a folder hold many rows each."""
        return False

    def packed(self, folder: Path) -> dict[str, Columns]:
        """Returns the splits of a folder that is packed."""
        raise AssertionError("a kind of Labelled whose folders may be packed defines packed")

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        folder = read.at_home(self.path)
        if (own := self.table()) is not None:
            return self.held(self.of_table(own, folder))
        if not folder.is_dir():
            raise UserError(f"data.path: {read.missing(folder)}")
        if self.is_packed(folder):
            return self.held(self.packed(folder))
        splits = {split: self.of_folder(where, folder, split) for split, where in split_folders(folder).items()}
        if not splits:
            raise UserError(f"{folder} has {self.nothing()}")
        return self.held(splits)

    def nothing(self) -> str:
        """Returns what a folder without data lacks, as part of a sentence."""
        return "neither a folder for each class, nor a table train.csv"

    def held(self, splits: dict[str, Columns]) -> dict[str, Columns]:
        """Returns the splits with a valid one, held out by the marks of files, which do not depend on their folder."""
        if "train" not in splits:
            raise UserError(f"{self.path} has no training {self.plural}; name a folder, or a file, train")
        marked = {
            name: Columns({"mark": [getattr(x, "mark", x) for x in split[self.column]], **split.values})
            for name, split in splits.items()
        }
        out = hold_out(marked, self.valid_fraction)
        order = [name for name in SPLITS if name in out]
        return {name: Columns({key: out[name][key] for key in self.gives}) for name in order}

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence about columns that were recognised, and one about files that are not read."""
        folder = read.at_home(self.path)
        if (own := self.table()) is not None:
            return own.remarks(self.gives)
        if self.is_packed(folder):
            return []
        lines = list[str]()
        for split, where in split_folders(folder).items():
            if split != "train" and (bare := [p.name for p in self.classes(where) if not self.files_of(p)]):
                what = f"{split} has no {self.plural} of {', '.join(bare[:SHOWN])}"
                lines.append(f"{what}{', ...' * (len(bare) > SHOWN)}")
            if others := [path for path in sorted(where.rglob("*")) if self.stray(path, where)]:
                shown = ", ".join(str(path.relative_to(folder)) for path in others[:SHOWN])
                more = ", ..." if len(others) > SHOWN else ""
                what = f"{len(others)} files of {split} are no {self.plural} of a class, and are not read"
                lines.append(f"{what}: {shown}{more}")
        return lines

    def stray(self, path: Path, where: Path) -> bool:
        """Says whether a file below the folder of a split is not read."""
        return path.is_file() and not hidden(path, where) and (path.parent == where or not self.own(path))

    def table(self) -> Table | None:
        """Returns the table that `path` is, or whose files lie in it; None: it is the files themselves."""
        path = read.at_home(self.path)
        ends = tuple(f"{e}{packed}" for e in (*table.EXTENSIONS, ".parquet", ".ndjson") for packed in ("", ".gz"))
        whole = path.is_file() and path.name.endswith(ends)
        if whole or (path.is_dir() and any((path / f"train{end}").is_file() for end in ends)):
            return Table(path=self.path, columns=self.columns, valid_fraction=0)
        if self.columns:
            raise UserError("data.columns says where columns of a table are, but data.path is no table; leave it out")
        return None

    def of_table(self, own: Table, path: Path) -> dict[str, Columns]:
        """Returns splits whose paths are as seen from the table."""
        base = path if path.is_dir() else path.parent
        splits = own.load(self.gives)
        return {
            name: Columns({
                **{key: split[key] for key in self.gives},
                self.column: [File.of(str(base / str(x)), str(x)) for x in split[self.column]],
            })
            for name, split in splits.items()
        }  # fmt: skip

    def classes(self, folder: Path) -> list[Path]:
        """Returns the folder of each class. Raises UserError where there is none."""
        some = subfolders(folder)
        if not some:
            raise UserError(f"{folder} has no folder for each class; put the {self.plural} of each into one of its own")
        return some

    def files_of(self, folder: Path) -> list[Path]:
        """Returns the files in a folder, and in folders below it."""
        return sorted(p for p in folder.rglob("*") if self.own(p) and p.is_file() and not hidden(p, folder))

    def of_folder(self, where: Path, base: Path, split: str) -> Columns:
        """Returns the files below a folder; the label of each is the name of the folder of its class."""
        names, labels = list[File](), list[str]()
        for folder in self.classes(where):
            some = self.files_of(folder)
            if not some and split == "train":
                what = f"{folder} is the folder of a class, but has no {self.plural}"
                raise UserError(f"{what}; put some there, or remove it")
            names += [File.of(str(p), f"{p.relative_to(base)} {p.stat().st_size}") for p in some]
            labels += [folder.name] * len(some)
        if not names:
            raise UserError(f"{where} has no {self.plural}; put some there, or remove it")
        return Columns({self.column: names, self.other: labels})


def split_folders(folder: Path) -> dict[str, Path]:
    """Returns the folders of splits; where none is named so, all of it is train."""
    named = {SPLIT_NAMES[p.name.lower()]: p for p in subfolders(folder) if p.name.lower() in SPLIT_NAMES}
    if "train" in named:
        return {split: named[split] for split in SPLITS if split in named}
    return {"train": folder} if subfolders(folder) else {}


def subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def hidden(path: Path, base: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(base).parts)
