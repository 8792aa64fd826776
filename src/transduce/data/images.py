"""Pictures with labels: folders, idx files, or a table with a column of paths."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from transduce.data import idx, read, table
from transduce.data.columns import Columns
from transduce.data.pictures import name_of
from transduce.data.source import SPLIT_NAMES, SPLITS, DataConfig, hold_out, require_fraction
from transduce.data.tables import Table
from transduce.errors import UserError

IMAGE, LABEL = "image", "label"
IDX = re.compile(r"(\w+?)[-.]images[-.]idx3-ubyte(\.gz)?")
OFFICIAL = {**SPLIT_NAMES, "t10k": "test"}
SHOWN = 5


class File(str):
    """The path of a picture. mark: what tells it from others wherever its folder is: its name there, and its size."""

    mark: str

    @classmethod
    def of(cls, path: str, mark: str) -> "File":
        out = cls(path)
        out.mark = mark
        return out


@dataclass(frozen=True, kw_only=True)
class Images(DataConfig):
    """Pictures with labels.

    path: a folder with a folder for each class, or with train/, valid/ and test/ of such; a folder with idx files
        such as train-images-idx3-ubyte.gz; or a table (.csv, .tsv, .jsonl), or a folder with train.csv and the like,
        which has a column of paths, as seen from where it lies.
    columns: of a table, where the columns `image` and `label` are, by name or counted from 0; what is left out is
        recognised.
    valid_fraction: the share of train that is held out where there is no valid, chosen by a hash of names.
    """

    kind: ClassVar[str] = "images"
    task: ClassVar[str] = "see"
    path: str
    columns: dict[str, int | str] = field(default_factory=dict[str, int | str])
    valid_fraction: float = 0.1

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)

    @property
    def gives(self) -> tuple[str, ...]:
        return IMAGE, LABEL

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        folder = read.at_home(self.path)
        if (own := self.table()) is not None:
            return self.held(of_table(own, folder))
        if not folder.is_dir():
            raise UserError(f"data.path: {read.missing(folder)}")
        if files := idx_files(folder):
            return self.held({split: of_idx(paths) for split, paths in files.items()})
        splits = {split: of_folder(where, folder, split) for split, where in split_folders(folder).items()}
        if not splits:
            raise UserError(f"{folder} has neither a folder for each class, nor idx files, nor a table train.csv")
        return self.held(splits)

    def held(self, splits: dict[str, Columns]) -> dict[str, Columns]:
        """Returns the splits with a valid one, held out by the marks of files, which do not depend on their folder."""
        if "train" not in splits:
            raise UserError(f"{self.path} has no training pictures; name a folder, or a file, train")
        marked = {
            name: Columns({"mark": [getattr(x, "mark", x) for x in split[IMAGE]], **split.values})
            for name, split in splits.items()
        }
        out = hold_out(marked, self.valid_fraction)
        order = [name for name in SPLITS if name in out]
        return {name: Columns({IMAGE: out[name][IMAGE], LABEL: out[name][LABEL]}) for name in order}

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence about columns that were recognised, and one about files that are no pictures."""
        folder = read.at_home(self.path)
        if (own := self.table()) is not None:
            return own.remarks((IMAGE, LABEL))
        if idx_files(folder):
            return []
        lines = list[str]()
        for split, where in split_folders(folder).items():
            if split != "train" and (bare := [p.name for p in classes(where) if not files_of(p)]):
                lines.append(f"{split} has no pictures of {', '.join(bare[:SHOWN])}{', ...' * (len(bare) > SHOWN)}")
            others = [
                path for path in sorted(where.rglob("*"))
                if path.is_file() and not hidden(path, where) and (path.parent == where or not name_of(path))
            ]  # fmt: skip
            if others:
                shown = ", ".join(str(path.relative_to(folder)) for path in others[:SHOWN])
                more = ", ..." if len(others) > SHOWN else ""
                what = f"{len(others)} files of {split} are no pictures of a class, and are not read"
                lines.append(f"{what}: {shown}{more}")
        return lines

    def table(self) -> Table | None:
        """Returns the table that `path` is, or whose files lie in it; None: it is pictures themselves."""
        path = read.at_home(self.path)
        ends = tuple(f"{e}{packed}" for e in (*table.EXTENSIONS, ".parquet", ".ndjson") for packed in ("", ".gz"))
        whole = path.is_file() and path.name.endswith(ends)
        if whole or (path.is_dir() and any((path / f"train{end}").is_file() for end in ends)):
            return Table(path=self.path, columns=self.columns, valid_fraction=0)
        if self.columns:
            raise UserError("data.columns says where columns of a table are, but data.path is no table; leave it out")
        return None


def of_table(own: Table, path: Path) -> dict[str, Columns]:
    """Returns splits whose paths are as seen from the table."""
    base = path if path.is_dir() else path.parent
    splits = own.load((IMAGE, LABEL))
    return {
        name: Columns({IMAGE: [File.of(str(base / str(x)), str(x)) for x in split[IMAGE]], LABEL: split[LABEL]})
        for name, split in splits.items()
    }


def idx_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Returns the files of pictures and of labels of every split. Raises UserError where one lacks the other."""
    out = dict[str, tuple[Path, Path]]()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = IDX.fullmatch(path.name)
        if match is None or (split := OFFICIAL.get(match[1])) is None:
            continue
        stem = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
        labels = next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)
        if labels is None:
            raise UserError(f"{path} has no labels beside it; put {stem}.gz there")
        out[split] = path, labels
    return out


def of_idx(paths: tuple[Path, Path]) -> Columns:
    pictures, labels = idx.read(paths[0]), idx.read(paths[1])
    if pictures.ndim != 3 or labels.shape != pictures.shape[:1]:
        have = " and ".join(" x ".join(map(str, x.shape)) for x in (pictures, labels))
        raise UserError(f"{paths[0]} and {paths[1]} hold {have}; each picture must have one label")
    stem = paths[0].name.removesuffix(".gz")
    names = [File.of(f"{paths[0]}#{i}", f"{stem}#{i} {sum_of(x.tobytes())}") for i, x in enumerate(pictures)]
    return Columns({IMAGE: names, LABEL: labels.tolist()})


def sum_of(data: bytes) -> str:
    """Returns a short sum of the bytes of a picture."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def split_folders(folder: Path) -> dict[str, Path]:
    """Returns the folders of splits; where none is named so, all of it is train."""
    named = {SPLIT_NAMES[p.name.lower()]: p for p in subfolders(folder) if p.name.lower() in SPLIT_NAMES}
    if "train" in named:
        return {split: named[split] for split in SPLITS if split in named}
    return {"train": folder} if subfolders(folder) else {}


def subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def classes(folder: Path) -> list[Path]:
    """Returns the folder of each class. Raises UserError where there is none."""
    some = subfolders(folder)
    if not some:
        raise UserError(f"{folder} has no folder for each class; put the pictures of each into one of its own")
    return some


def files_of(folder: Path) -> list[Path]:
    """Returns the pictures in a folder, and in folders below it."""
    return sorted(p for p in folder.rglob("*") if name_of(p) and p.is_file() and not hidden(p, folder))


def hidden(path: Path, base: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(base).parts)


def of_folder(where: Path, base: Path, split: str) -> Columns:
    """Returns the pictures below a folder; the label of each is the name of the folder of its class."""
    names, labels = list[File](), list[str]()
    for folder in classes(where):
        some = files_of(folder)
        if not some and split == "train":
            raise UserError(f"{folder} is the folder of a class, but has no pictures; put some there, or remove it")
        names += [File.of(str(p), f"{p.relative_to(base)} {p.stat().st_size}") for p in some]
        labels += [folder.name] * len(some)
    if not names:
        raise UserError(f"{where} has no pictures; put some there, or remove it")
    return Columns({IMAGE: names, LABEL: labels})
