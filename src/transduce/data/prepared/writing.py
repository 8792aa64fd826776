"""Writes rows to shards: chunks, which depend on the data alone, are encoded by several processes, written in order."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file  # type: ignore[reportUnknownVariableType]

from transduce.data.columns import SOURCE, STREAM, TARGET, TEXT
from transduce.data.prepared.index import Index, Shard
from transduce.data.prepared.pool import Coded, Pool
from transduce.data.walk import Piece
from transduce.disk import digest, remove, sync
from transduce.text.tokenizer import Tokenizer
from transduce.text.words import BORDER

TEXTS = (TEXT, STREAM, SOURCE, TARGET)  # the columns that become ids
CHUNK = 1 << 20  # characters that are encoded together
SHARD = 64 << 20  # bytes of a shard, or a few more


class Chunk(NamedTuple):
    """Consecutive rows of a split, by column. joins: the first row continues the last row of the chunk before."""

    split: str
    columns: dict[str, list[Any]]
    joins: bool


def chunks(pieces: Iterable[Piece], names: tuple[str, ...], cuts: bool) -> Iterator[Chunk]:
    """Yields all pieces in chunks. cuts: a text may be cut at a `BORDER`; else it is encoded as a whole."""
    rows, joins, going, size, split, rest = list[tuple[Any, ...]](), False, False, 0, "", ""

    def chunk() -> Chunk:
        return Chunk(split, {name: [row[i] for row in rows] for i, name in enumerate(names)}, joins)

    for piece in pieces:
        if rows and (piece.split != split or size >= CHUNK):
            yield chunk()
            rows, joins, size = [], going, 0
        split, values = piece.split, piece.values
        if piece.more or rest or going:
            rest += values[0]
            cut = len(rest) if not piece.more else last_border(rest) if cuts else 0
            if piece.more and not cut:
                continue
            values, rest = (rest[:cut],), rest[cut:]
        rows.append(values)
        size += sum(len(value) for value in values if isinstance(value, str))
        if piece.more:
            yield chunk()
            rows, joins, size, going = [], True, 0, True
        elif going:
            yield chunk()
            rows, joins, size, going = [], False, 0, False
    if rows:
        yield chunk()


def last_border(text: str) -> int:
    """Returns the index of a border near the end of a text, where it may be cut; 0: it has no border."""
    for back in (1 << 8, 1 << 12, 1 << 16, len(text)):
        border = BORDER.search(text, max(0, len(text) - back))
        if border is not None and border.start():
            return border.start()
    return 0


@dataclass
class Tally:
    """The fingerprint of a split of one column, which a run keeps; equal to that of `runs.run.fingerprint`."""

    rows: int = 0
    characters: int = 0
    sha: Any = field(default_factory=hashlib.sha256)

    def add(self, chunk: Chunk, *, ends: bool) -> None:
        """Counts a chunk. ends: its last row ends in it."""
        (values,) = chunk.columns.values()
        self.rows += len(values) - chunk.joins
        self.characters += sum(map(len, values))
        self.sha.update("\0".join(values).encode() + (b"\0" if ends else b""))

    def plain(self) -> dict[str, Any]:
        return {"examples": self.rows, "characters": self.characters, "sha256": self.sha.hexdigest()}


def tallied(some: Iterable[Chunk], tallies: dict[str, Tally]) -> Iterator[Chunk]:
    """Yields the chunks, and counts each in the tally of its split."""
    before: Chunk | None = None
    for chunk in some:
        if before is not None:
            ends = not (chunk.joins and chunk.split == before.split)
            tallies.setdefault(before.split, Tally()).add(before, ends=ends)
        yield (before := chunk)
    if before is not None:
        tallies.setdefault(before.split, Tally()).add(before, ends=True)


def counted(pieces: Iterable[Piece], sources: dict[str, dict[str, int]]) -> Iterator[Piece]:
    """Yields the pieces, and counts the rows of each source of a mixture."""
    for piece in pieces:
        if piece.source and not piece.more:
            rows = sources.setdefault(piece.split, {})
            rows[piece.source] = rows.get(piece.source, 0) + 1
        yield piece


class Writer:
    """Writes the shards of a folder, one after the other; the index names each when it is whole.

    size: bytes of a shard, or a few more.
    dropped: the splits whose texts are not stored beside their ids.
    """

    def __init__(self, folder: Path, index: Index, size: int, dropped: Collection[str]) -> None:
        self.folder, self.index, self.size, self.dropped = folder, index, size, dropped
        self.split: str = ""
        self.chunks: int = index.shards[-1].chunks if index.shards else 0
        self.parts, self.counts = dict[str, list[NDArray[Any]]](), dict[str, dict[str, int]]()
        self.bytes, self.rows, self.joins = 0, 0, False

    def add(self, chunk: Chunk, coded: dict[str, Coded]) -> bool:
        """Takes the next chunk. Returns whether a shard was written before it."""
        written = bool(self.rows) and (chunk.split != self.split or self.bytes >= self.size)
        if written:
            self.flush()
        if not self.rows:
            self.split, self.joins = chunk.split, chunk.joins
        joined = bool(chunk.joins and self.rows)
        for name, values in chunk.columns.items():
            texts = [value for value in values if isinstance(value, str)]
            counts = self.counts.setdefault(name, {"ids": 0, "unknown": 0, "blank": 0, "characters": 0, "bytes": 0})
            if name in coded:
                encoded = coded[name]
                self._keep(f"{name}.ids", encoded.flat, encoded.lengths, joined)
                counts["ids"] += len(encoded.flat)
                counts["unknown"] += encoded.unknown
                counts["blank"] += sum(not text.strip() for text in texts)
                counts["characters"] += sum(map(len, texts))
            if name not in coded or chunk.split not in self.dropped:
                lines = [(v if name in coded else json.dumps(v, ensure_ascii=False)).encode() for v in values]
                lengths = np.fromiter(map(len, lines), dtype=np.int64, count=len(lines))
                self._keep(f"{name}.values", np.frombuffer(b"".join(lines), np.uint8), lengths, joined)
                counts["bytes"] += int(lengths.sum())
        self.rows += len(next(iter(chunk.columns.values()))) - joined
        self.chunks += 1
        return written

    def _keep(self, name: str, flat: NDArray[Any], lengths: NDArray[np.int64], joined: bool) -> None:
        self.parts.setdefault(name, []).append(flat)
        self.bytes += flat.nbytes
        known = self.parts.setdefault(f"{name}.lengths", [])
        if joined:
            known[-1] = known[-1].copy()
            known[-1][-1] += lengths[0]
            lengths = lengths[1:]
        if len(lengths):
            known.append(lengths)

    def flush(self) -> None:
        """Writes the rows since the last shard as a shard."""
        if not self.rows:
            return
        number = sum(shard.split == self.split for shard in self.index.shards)
        path = self.folder / f"{self.split}-{number:05d}.safetensors"
        beside = self.folder / f".{path.name}.partial"
        remove(beside)
        arrays = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        save_file({n: a.astype(np.int32) if a.dtype == np.int64 else a for n, a in arrays.items()}, beside)
        sync(beside)
        sha = digest(beside)
        beside.replace(path)
        stat = path.stat()
        self.index.shards.append(
            Shard(path.name, self.split, self.chunks, self.rows, self.joins, self.counts, stat.st_size, sha,
                  stat.st_mtime_ns)
        )  # fmt: skip
        self.index.write(self.folder)
        self.parts, self.counts, self.bytes, self.rows = {}, {}, 0, 0


def write(
    folder: Path, index: Index, pieces: Iterable[Piece], names: tuple[str, ...], tokenizer: Tokenizer, at: Path,
    processes: int, progress: Callable[[int], None], data: dict[str, Any] | None = None,
    dropped: Collection[str] = ("train",),
) -> None:  # fmt: skip
    """Writes the shards of a folder that its index does not name yet, and completes the index.

    at: the folder of the tokeniser.
    progress: is called with the number of characters read so far.
    data: the fingerprint of each split, which a run keeps (None: it is computed while writing, for data of one column).
    dropped: the splits whose texts are not stored beside their ids.
    Raises UserError.
    """
    tallies, writer, texts = (
        dict[str, Tally](),
        Writer(folder, index, SHARD, dropped),
        [name for name in names if name in TEXTS],
    )
    skip = writer.chunks

    sources = dict[str, dict[str, int]]()  # of each split, how many rows each source of a mixture has

    def requests() -> Iterator[tuple[Chunk, Any]]:
        some, characters = chunks(counted(pieces, sources), names, tokenizer.stretches), 0
        for number, chunk in enumerate(some if data is not None else tallied(some, tallies)):
            characters += sum(len(value) for name in texts for value in chunk.columns[name])
            progress(characters)
            if number >= skip:
                yield chunk, [(chunk.columns[name], name == TARGET) for name in texts]

    with Pool(at, tokenizer.vocab_size, processes) as pool:
        for chunk, coded in pool.map(requests()):
            writer.add(chunk, dict(zip(texts, coded, strict=True)))
    writer.flush()
    index.data = {split: tally.plain() for split, tally in tallies.items()} if data is None else data
    for split, rows in sources.items():
        index.data[split]["sources"] = rows
    index.complete = True
    index.write(folder)
