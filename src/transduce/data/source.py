"""The contract of data sets, which give columns by split, and the search for the files of each split."""

import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transduce.config import Part, to_data
from transduce.data import read
from transduce.data.columns import SOURCE, TARGET, TEXT, Columns
from transduce.data.walk import Piece
from transduce.errors import UserError

SPLITS: tuple[str, ...] = ("train", "valid", "test")
# A usual name of a split: the name here.
SPLIT_NAMES = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "devel": "valid", "test": "test", "eval": "test",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DataConfig(Part):
    """Where the data come from."""

    folder: ClassVar[str] = "transduce.data"
    task: ClassVar[str] = "language"  # the task of a recipe that names none

    @property
    def gives(self) -> tuple[str, ...] | None:
        """The columns that these data always have (None: those that a task asks for)."""
        return (TEXT,)

    @classmethod
    def task_of(cls, data: Mapping[str, Any]) -> str:
        """Returns the task of a recipe that names none. data: of this kind, as plain data."""
        return cls.task

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns those of the splits "train", "valid" and "test" that exist, in this order. Raises UserError.

        columns: those that a task asks for, where the data have columns to choose from.
        """
        raise AssertionError("a kind of DataConfig defines load")

    def walker(self) -> Callable[[], Iterator[Piece]] | None:
        """Returns a function that yields the rows of all splits, in the order of `load`, each time it is called.

        None: only `load` reads the rows, and holds them all in memory. Raises UserError.
        """
        return None

    def files_read(self) -> list[Path] | None:
        """Returns the files that `load` reads (None: unknown). Raises UserError."""
        return None

    def named_files(self) -> list[tuple[str, Path]] | None:
        """Returns the same, each with the name that it has wherever its folder is."""
        base, files = read.at_home(str(getattr(self, "path", ""))), self.files_read()
        if files is None:
            return None
        return [
            (str(path.relative_to(base) if path.is_relative_to(base) and path != base else path.name), path)
            for path in files
        ]

    def settings(self) -> dict[str, Any]:
        """Returns the keys that decide the rows, as plain data: all but the place of the files."""
        return {key: value for key, value in to_data(self).items() if key != "path"}

    def absent(self) -> bool:
        """Says whether the files are missing on this machine."""
        path = getattr(self, "path", None)
        return path is not None and not any(c in path for c in "*?[") and not read.at_home(path).exists()

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence on each file or column that exists, but is not read."""
        return []


def require_fraction(valid_fraction: float) -> None:
    """Raises ValueError unless the share leaves something to train on."""
    if not 0 <= valid_fraction < 1:
        raise ValueError(f"valid_fraction={valid_fraction} must be at least 0 and less than 1, such as 0.05")


def files(path: str, names: dict[str, tuple[str, ...]], extensions: Sequence[str]) -> dict[str, list[Path]]:
    """Returns the files of every split. Raises UserError.

    path: a folder, or a file or a glob, all of which is train. In a folder without files of `names`, all files are
        train.
    names: names or globs of the files of each split in that folder; "train" also finds train.txt.gz and similar. Files
        called just valid or test may be missing, since most data have none; any other missing name is an error.
    """
    folder = read.at_home(path)
    if not folder.is_dir():
        if named := next((split for split, patterns in names.items() if patterns != (split,)), None):
            raise UserError(f"data.path={path} is not a folder, but `{named}` names files to find in it")
        return {"train": read.required(Path(), str(folder), extensions)}
    if everything := unnamed(folder, names, extensions):
        return {"train": everything}
    splits: dict[str, list[Path]] = {}
    for split, patterns in names.items():
        optional = patterns == (split,) and split != "train"
        get = read.expand if optional else read.required
        paths = [path for pattern in patterns for path in get(folder, pattern, extensions)]
        if paths:
            splits[split] = paths
    if "train" not in splits:
        raise UserError(f"no training files are named; set data.train to names in {folder}")
    return splits


def unnamed(folder: Path, names: dict[str, tuple[str, ...]], extensions: Sequence[str]) -> list[Path]:
    """Returns all data files of a folder in which no file has the name of a split, or a name similar to `train`."""
    if any(patterns != (split,) for split, patterns in names.items()):
        return []
    everything = data_files(folder, extensions)
    stems = [path.name.partition(".")[0] for path in everything]
    if any(read.expand(folder, split, extensions) for split in names) or difflib.get_close_matches("train", stems):
        return []
    if not everything and (deeper := [e for e in extensions if next(folder.glob(f"*/*{e}"), None)]):
        way = f"for the files of its folders, data.path='{folder}/**/*{deeper[0]}'"
        raise UserError(f"{folder} has no train{extensions[0]}, nor other data of its own; {way}")
    return everything


def data_files(folder: Path, extensions: Sequence[str]) -> list[Path]:
    """Returns the files of a folder that end in one of `extensions`, or in that and .gz, in order."""
    endings = tuple(f"{e}{packed}" for e in extensions for packed in ("", ".gz"))
    return sorted(path for path in folder.iterdir() if path.name.endswith(endings) and path.is_file())


def unused(path: str, splits: dict[str, list[Path]], extensions: Sequence[str]) -> list[str]:
    """Returns a sentence on the data files beside those that are read, if there are any.

    Beside a single file only those with the name of a split are mentioned, since its folder may hold anything.
    """
    folder = read.at_home(path)
    used = [file for files in splits.values() for file in files]
    if folder.is_dir():
        if len(splits) == 1 and splits["train"] == data_files(folder, extensions):
            return [f"train is all {len(used)} files of {path}, since none is named train"] if len(used) > 1 else []
        rest = [file for file in data_files(folder, extensions) if file not in used]
    else:
        beside = data_files(folder.parent, extensions) if folder.is_file() else []
        rest = [file for file in beside if file not in used and file.name.partition(".")[0] in SPLIT_NAMES]
    if not rest:
        return []
    shown = ", ".join(file.name for file in rest[:5]) + (", ..." if len(rest) > 5 else "")
    names = {SPLIT_NAMES.get(file.name.partition(".")[0]): file.name.partition(".")[0] for file in rest}
    split = next((split for split in ("valid", "test") if split in names and split not in splits), None)
    way = f"name a file to use it, such as data.{split or 'valid'}={names.get(split, '...')}"
    if not folder.is_dir():
        way = f"to use it, give the folder: data.path={folder.parent}"
    return [f"{shown} beside the training data {'is' if len(rest) == 1 else 'are'} not used; {way}"]


def require_text(split: Columns, name: str) -> None:
    """Raises UserError where all values of a column are white space."""
    for column in split.names:
        if not len(split) or any(not isinstance(value, str) or value.strip() for value in split[column]):
            continue
        key = f"{column}_field" if column in (SOURCE, TARGET) else f"columns.{column}"
        what, where = (column, f"data.path and data.{key}") if len(split.names) > 1 else (TEXT, "data.path")
        raise UserError(f"every {what} of {name} is blank, so there is nothing to learn; check {where}")


def hold_out(splits: dict[str, Columns], fraction: float) -> dict[str, Columns]:
    """Returns the splits with valid; where it is missing, it is a `fraction` of train, chosen by a hash.

    Rows that are equal in the first column go to the same split, and the order of rows does not matter.
    Raises UserError where train is too small to part.
    """
    require_text(splits["train"], "train")
    if "valid" in splits or fraction == 0:
        return splits
    train = splits["train"]
    keys = [str(value) for value in train.given]
    order = sorted(set(keys), key=lambda key: hashlib.blake2b(key.encode(), digest_size=8).digest())
    if len(order) < 2:
        raise UserError("train has no two different texts to hold one out for validation; give a valid file")
    chosen = set(order[: max(1, round(fraction * len(order)))])
    stay = [i for i, key in enumerate(keys) if key not in chosen]
    go = [i for i, key in enumerate(keys) if key in chosen]
    rest = {name: split for name, split in splits.items() if name != "train"}
    return {"train": train.take(stay), "valid": train.take(go), **rest}
