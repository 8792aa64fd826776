"""Pictures with labels: folders, idx files, or a table with a column of paths."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import idx
from transduce.data.columns import Columns
from transduce.data.labelled import LABEL, File, Labelled
from transduce.data.pictures import name_of
from transduce.data.source import SPLIT_NAMES
from transduce.errors import UserError

IMAGE = "image"
IDX = re.compile(r"(\w+?)[-.]images[-.]idx3-ubyte(\.gz)?")
OFFICIAL = {**SPLIT_NAMES, "t10k": "test"}


@dataclass(frozen=True, kw_only=True)
class Images(Labelled):
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
    column: ClassVar[str] = IMAGE
    plural: ClassVar[str] = "pictures"

    @staticmethod
    def own(path: Path) -> bool:
        return name_of(path)

    def is_packed(self, folder: Path) -> bool:
        return bool(idx_files(folder))

    def packed(self, folder: Path) -> dict[str, Columns]:
        return {split: of_idx(paths) for split, paths in idx_files(folder).items()}

    def nothing(self) -> str:
        return "neither a folder for each class, nor idx files, nor a table train.csv"


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
