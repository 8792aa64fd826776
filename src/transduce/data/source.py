"""What a data set is: texts by split, with or without a source side."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from transduce.config import Part
from transduce.data import read
from transduce.errors import UserError

SPLITS: tuple[str, ...] = ("train", "valid", "test")


class Texts(NamedTuple):
    """One split. `sources` is None for language modelling, where `targets` are the documents; else line-aligned."""

    sources: list[str] | None
    targets: list[str]


@dataclass(frozen=True, kw_only=True)
class DataConfig(Part):
    """Where the text comes from."""

    folder: ClassVar[str] = "transduce.data"

    @property
    def documents(self) -> bool:
        """Whether every text is one sequence with a start and an end; False: a stream to be cut anywhere."""
        return True

    def load(self) -> dict[str, Texts]:
        """The splits there are, of "train", "valid" and "test", in this order. Raises UserError."""
        raise AssertionError("a kind of DataConfig defines load")


def require_fraction(valid_fraction: float) -> None:
    """Raise ValueError unless it is a share that leaves something to train on."""
    if not 0 <= valid_fraction < 1:
        raise ValueError(f"valid_fraction={valid_fraction} must be at least 0 and less than 1, such as 0.05")


def files(path: str, names: dict[str, tuple[str, ...]], extensions: Sequence[str]) -> dict[str, list[Path]]:
    """The files of every split.

    `path` is a folder in which `names` are looked up (names or globs; "train" also finds train.txt.gz and the like),
    or a file or a glob, all of which is train. Of `names`, valid and test may be missing where they are called just
    that, since most data has no such files; any other name that is not there is an error.
    """
    folder = read.at_home(path)
    if not folder.is_dir():
        asked = {split: n for split, n in names.items() if n != (split,)}
        if asked:
            raise UserError(f"data.path={path} is no folder, but `{next(iter(asked))}` names files to find in it")
        return {"train": read.required(Path(), str(folder), extensions)}
    found: dict[str, list[Path]] = {}
    for split, patterns in names.items():
        optional = patterns == (split,) and split != "train"
        get = read.expand if optional else read.required
        paths = [path for pattern in patterns for path in get(folder, pattern, extensions)]
        if paths:
            found[split] = paths
    if "train" not in found:
        raise UserError(f"no training files are named; set data.train to names in {folder}")
    return found


def hold_out(splits: dict[str, Texts], fraction: float) -> dict[str, Texts]:
    """The same splits with a valid one: where there is none, `fraction` of train, chosen by a hash of the text.

    Equal sources (for documents: equal texts) fall on the same side, and a line's side does not depend on the order.
    Raises UserError where train is too small to part.
    """
    if "valid" in splits or fraction == 0:
        return splits
    sources, targets = splits["train"]
    keys = targets if sources is None else sources
    order = sorted(set(keys), key=lambda key: hashlib.blake2b(key.encode(), digest_size=8).digest())
    if len(order) < 2:
        raise UserError("train has no two different texts to hold one out for validation; give a valid file")
    held = set(order[: max(1, round(fraction * len(order)))])
    rows = {True: [i for i, k in enumerate(keys) if k in held], False: [i for i, k in enumerate(keys) if k not in held]}

    def take(side: bool) -> Texts:
        chosen = rows[side]
        return Texts(None if sources is None else [sources[i] for i in chosen], [targets[i] for i in chosen])

    rest = {split: texts for split, texts in splits.items() if split != "train"}
    return {"train": take(False), "valid": take(True), **rest}
