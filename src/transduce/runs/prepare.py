"""Encodes the data of a recipe into shards, and checks that existing shards are of this recipe.

The shards hold nothing that is not in the data and the tokeniser, so a run has the same bits with them and without.
"""

import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from transduce.config import from_data, to_data
from transduce.data import read
from transduce.data.columns import SPARSE, Columns, required
from transduce.data.prepared import writing
from transduce.data.prepared.index import INDEX, Index, different
from transduce.data.prepared.opened import open_splits
from transduce.data.walk import Piece
from transduce.disk import digest, open_own, remove
from transduce.errors import UserError
from transduce.runs import assumed
from transduce.runs.lock import LOCK, take
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run, fingerprint
from transduce.runs.start import Start, hand_on
from transduce.text.sample import every, remark, sampled
from transduce.text.tokenizer import Tokenizer, TokenizerConfig

TOKENIZER = "tokenizer"
LARGE = 1 << 24  # bytes of data files, from which on the ids of a run are stored in its cache
CACHE = "cache"


@dataclass(frozen=True)
class Shards:
    """A folder of shards that is whole."""

    folder: Path
    index: Index

    @property
    def splits(self) -> dict[str, Columns]:
        return open_splits(self.folder, self.index)


def columns_of(recipe: Recipe) -> tuple[str, ...]:
    """Returns the columns that a recipe cannot do without. Raises UserError where its task or its data cannot be
    prepared."""
    names = recipe.data.gives or tuple(required(recipe.task.reads))
    if not recipe.task.reads_text or not any(name in writing.TEXTS for name in names):
        raise UserError(f"task={recipe.task.kind} reads no text, so there is nothing to prepare; train it as it is")
    return names


def made_of(recipe: Recipe) -> dict[str, Any]:
    """Returns the settings that decide the ids of a recipe, as plain data. Raises UserError."""
    named = recipe.data.named_files()
    if named is None:
        raise UserError(f"data.kind={recipe.data.kind} does not say which files it reads, so it cannot be prepared")
    files = [
        {"name": name, "size": (stat := path.stat()).st_size, "stamp": stat.st_mtime_ns, "sha256": ""}
        for name, path in named
    ]
    return {
        "data": recipe.data.settings(),
        "columns": list(columns_of(recipe)),
        "tokenizer": to_data(recipe.tokenizer),
        "files": files,
    }


def absent(recipe: Recipe) -> bool:
    """Says whether the data of a recipe are missing on this machine, so that shards take their place."""
    return recipe.data.absent()


def mismatch(index: Index, recipe: Recipe) -> str | None:
    """Returns how the data of a recipe differ from those that shards were made of (None: they are the same).

    Files with other times are read and hashed. Where the data are missing, the shards take their place.
    """
    then = {**index.made_of, "tokenizer": as_today(index.made_of["tokenizer"])}
    if absent(recipe) and index.complete:
        now = {**then, "data": recipe.data.settings()}
        now |= {"columns": list(columns_of(recipe)), "tokenizer": to_data(recipe.tokenizer)}
        return different(then, now)
    now = made_of(recipe)
    known, present = then.pop("files"), now.pop("files")
    if (change := different(then, now)) is not None:
        return change
    if [(f["name"], f["size"]) for f in known] != [(f["name"], f["size"]) for f in present]:
        return "the files have other names or sizes"
    for old, new, at in zip(known, present, recipe.data.files_read() or (), strict=True):
        if old["stamp"] != new["stamp"] and old["sha256"] != digest(at):
            return f"{at} has changed"
    return None


def as_today(section: Any) -> Any:
    """Returns the section of a tokeniser with the keys that have come since, at the values that they had then."""
    cls = assumed.class_of(TokenizerConfig.folder, assumed.kind({"tokenizer": section}, "tokenizer"))
    return section if cls is None else to_data(from_data(cls, section))


def open_prepared(folder: Path, recipe: Recipe, *, every: bool = False) -> Shards:
    """Returns the shards in a folder. every: all of them are hashed.

    Raises UserError where they are not whole, or not of this recipe.
    """
    index = Index.read(folder)
    if (change := mismatch(index, recipe)) is not None:
        raise UserError(f"{folder} was prepared from something else: {change}; prepare it anew in another folder")
    if not index.complete:
        raise UserError(f"{folder} is not finished; run the same `transduce prepare` again, and it goes on")
    index.require_whole(folder, every=every)
    if not (folder / TOKENIZER).is_dir() and folder.name != CACHE:
        raise UserError(f"{folder} has lost its tokeniser; remove that folder, and prepare the data again")
    return Shards(folder, index)


def prepare(
    recipe: Recipe, folder: Path, *, at: Path | None = None, given: Tokenizer | None = None, anew: bool = False,
    quick: bool = False, processes: int | None = None, say: Callable[[str], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Shards:  # fmt: skip
    """Writes the shards of a recipe into a folder. Shards that an interrupted call left whole are kept.

    at: the folder of the tokeniser, which is made where it is missing (None: inside `folder`).
    given: the tokeniser to use in place of a new one.
    anew: shards of other data, or damaged ones, are replaced.
    quick: where the shards are many, those with the recorded size and time are not hashed again.
    say: is called with each line that the user should read.
    progress: is called with the number of characters encoded so far.
    Raises UserError, also where the folder holds shards of other data.
    """
    at, settings = at or folder / TOKENIZER, made_of(recipe)
    with owned(folder):
        index = Index.read(folder) if (folder / INDEX).exists() else None
        if index is not None and (change := mismatch(index, recipe)) is not None:
            if not anew:
                problem = f"{folder} holds data that were prepared from something else: {change}"
                raise UserError(f"{problem}; choose another out=, or remove that folder")
            index = None
        walk, columns = recipe.data.walker(), dict[str, Columns]()
        if walk is None and (index is None or not index.complete):
            columns = recipe.data.load(recipe.task.reads)
        if not at.exists():
            index = None
            tokenizer_of(recipe, given, lambda: texts_of(recipe, walk, columns), at, say)
        sha = folder_digest(at)
        if index is not None and index.tokenizer != sha:
            if not anew:
                raise UserError(f"{at} is not the tokeniser that {folder} was prepared with; restore it from a copy")
            index = None
        if index is None:
            for path in folder.glob("*.safetensors"):
                remove(path)
            index = Index(settings, sha)
            index.write(folder)
        index.require_whole(folder, every=not quick)
        if not index.complete:
            pieces = walk() if walk is not None else rows(columns)
            data = None if walk is not None else {split: fingerprint(some) for split, some in columns.items()}
            tokenizer, count = Tokenizer.load(at), processes or os.cpu_count() or 1
            names = (*index.made_of["columns"], *(c for c in sorted(SPARSE) if columns and c in columns["train"].names))
            dropped = () if columns and "valid" not in columns else ("train",)  # else a measure looks at its texts
            writing.write(folder, index, pieces, names, tokenizer, at, count, progress, data, dropped)
        if any(not file["sha256"] for file in index.made_of["files"]):
            for file, path in zip(index.made_of["files"], recipe.data.files_read() or (), strict=True):
                file["sha256"] = digest(path)
            index.write(folder)
    return Shards(folder, index)


@contextmanager
def owned(folder: Path) -> Generator[None]:
    """Makes a folder, and locks it. Raises UserError where another process has locked it, or it has other files."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / INDEX).exists() and any(
        not path.name.startswith(".") and path.name != TOKENIZER for path in folder.iterdir()
    ):
        raise UserError(f"{folder} holds other files; choose another out=, where shards alone are put")
    with open_own(folder / LOCK, "a+") as lock:
        if not take(lock):
            raise UserError(f"{folder} is being written by another process; wait for it, or choose another out=")
        yield


def rows(columns: dict[str, Columns]) -> Iterator[Piece]:
    """Yields the rows of splits that are in memory."""
    for split, some in columns.items():
        names = chain.from_iterable(repeat(name, count) for name, count in some.sources.items())
        for values in zip(*some.values.values(), strict=True):
            yield Piece(split, values, source=next(names, ""))


def texts_of(
    recipe: Recipe, walk: Callable[[], Iterator[Piece]] | None, columns: dict[str, Columns]
) -> Iterable[Piece | str]:
    """Returns the texts that a tokeniser is trained on; of a walk, in pieces."""
    if walk is None:
        return recipe.task.texts(columns["train"])
    return (piece for piece in walk() if piece.split == "train")


def tokenizer_of(
    recipe: Recipe, given: Tokenizer | None, texts: Callable[[], Iterable[Piece | str]], at: Path,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Writes the tokeniser of a recipe into a folder, whole or not at all.

    given: the tokeniser to write (None: it is trained on `texts`).
    """
    if given is None:
        if recipe.tokenizer is None:
            raise UserError("there is text to prepare, but no tokeniser; set tokenizer.kind, for example to bpe")
        characters = sum(len(piece if isinstance(piece, str) else piece.values[0]) for piece in texts())
        if (line := remark(characters)) is not None:
            say(line)
        step = every(characters)
        given = recipe.tokenizer.train(sampled(joined(texts()) if step == 1 else split(texts()), step))
    beside = at.with_name(f".{at.name}")
    remove(beside)
    given.save(beside)
    beside.rename(at)


def joined(texts: Iterable[Piece | str]) -> Iterator[str]:
    """Yields whole texts, joined from their pieces."""
    parts = list[str]()
    for piece in texts:
        parts.append(piece if isinstance(piece, str) else piece.values[0])
        if isinstance(piece, str) or not piece.more:
            yield "".join(parts)
            parts = []


def split(texts: Iterable[Piece | str]) -> Iterator[str]:
    """Yields the texts of pieces, without joining them."""
    for piece in texts:
        yield piece if isinstance(piece, str) else piece.values[0]


def folder_digest(folder: Path) -> str:
    """Returns the names and hashes of the files of a tokeniser, as one text."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return " ".join(f"{path.name}:{digest(path)}" for path in files)


def shards_of(
    run: Run, recipe: Recipe, start: Start | None, say: Callable[[str], None]
) -> Shards | None:  # fmt: skip
    """Returns the shards that a run trains on, and puts their tokeniser into the run (None: data stay in memory).

    Raises UserError where a folder of shards is not of this recipe, or has another tokeniser than the run.
    """
    own, folder = run.path / TOKENIZER, run.path / CACHE
    if recipe.prepared == "never":
        return None
    if recipe.prepared not in ("auto", "run"):
        shards = open_prepared(folder := read.at_home(recipe.prepared), recipe)
        if start is None and not own.exists():
            beside = run.path / f".{TOKENIZER}"
            remove(beside)
            shutil.copytree(folder / TOKENIZER, beside)
            beside.rename(own)
    else:
        if recipe.prepared == "auto" and not (folder / INDEX).exists() and not large(recipe):
            return None
        if start is not None:
            hand_on(start, run, recipe)
        if not (folder / INDEX).exists():
            say(f"encoding the data once: their ids are kept in {folder}, where the next start finds them")
        shards = prepare(recipe, folder, at=own, anew=True, quick=True, say=say)
    if own.exists() and folder_digest(own) != shards.index.tokenizer:
        raise UserError(f"{folder} was prepared with another tokeniser than that of {run.path}; set prepared=auto")
    return shards


def large(recipe: Recipe) -> bool:
    """Says whether the data files of a recipe are so large that their ids are worth storing."""
    paths = recipe.data.files_read() if recipe.task.reads_text else None
    return paths is not None and sum(path.stat().st_size for path in paths) >= LARGE
