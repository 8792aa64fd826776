"""The index of a folder of shards: the settings that its ids depend on, and the shards that are whole."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from transduce.disk import digest, read_json, replace_text, sync
from transduce.errors import UserError

INDEX, SCHEMA = "index.json", 1
WAY = "remove that folder, and prepare the data again"
ALWAYS = 1 << 28  # bytes of shards whose hashes are compared at every opening


@dataclass(frozen=True)
class Shard:
    """A file of ids.

    split: train, valid or test.
    chunks: how many chunks of the data are in this shard and those before it.
    joins: its first row continues the last row of the shard before it.
    columns: for each, the numbers of ids, unknown ids, blank texts, characters and bytes in it.
    stamp: when it was written, in nanoseconds; while size and stamp are the same, it is not hashed again.
    """

    name: str
    split: str
    chunks: int
    rows: int
    joins: bool
    columns: dict[str, dict[str, int]]
    size: int
    sha256: str
    stamp: int


@dataclass
class Index:
    """The index of all shards.

    made_of: the settings that decide the ids, as plain data; its `files` may have other times.
    data: the fingerprint of every split, which a run keeps in data.json.
    complete: every row is in a shard.
    """

    made_of: dict[str, Any]
    tokenizer: str = ""
    shards: list[Shard] = field(default_factory=list[Shard])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    complete: bool = False

    def write(self, folder: Path) -> None:
        """Writes the index, after everything that it names is on the disk."""
        sync(folder)
        replace_text(folder / INDEX, json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Index":
        """Returns the index of a folder. Raises UserError where it is missing or cannot be read."""
        path = folder / INDEX
        if not path.is_file():
            raise UserError(f"{folder} has no {INDEX}, so it holds no prepared data; make it: transduce prepare")
        data = read_json(path, WAY)
        try:
            if data["schema"] != SCHEMA:
                raise UserError(f"{path} is of another version of transduce; {WAY}")
            shards = [Shard(**shard) for shard in data["shards"]]
            return cls(data["made_of"], data["tokenizer"], shards, data["data"], data["complete"])
        except (TypeError, LookupError) as error:
            raise UserError(f"{path} is not an index of shards ({error}); {WAY}") from None

    def require_whole(self, folder: Path, *, every: bool = False) -> None:
        """Raises UserError unless every shard is the file that was written.

        every: all shards are hashed; else, where they exceed `ALWAYS` bytes, only those of another size or time.
        """
        every = every or sum(shard.size for shard in self.shards) <= ALWAYS
        for shard in self.shards:
            if (problem := fault(folder, shard, every)) is not None:
                raise UserError(f"{folder / shard.name} {problem}; {WAY}")


def fault(folder: Path, shard: Shard, every: bool) -> str | None:
    """Returns the fault of a shard, in a few words (None: it is the file that was written)."""
    path = folder / shard.name
    if not path.is_file():
        return "is missing"
    stat = path.stat()
    if stat.st_size != shard.size:
        return f"has {stat.st_size:,} bytes, but {shard.size:,} were written"
    if (every or stat.st_mtime_ns != shard.stamp) and digest(path) != shard.sha256:
        return "is not what was written (its sha256 differs)"
    return None


def different(then: Any, now: Any, where: str = "") -> str | None:
    """Returns the first difference of two descriptions, in a few words (None: they are equal)."""
    if isinstance(then, dict) and isinstance(now, dict):
        then, now = cast("dict[str, Any]", then), cast("dict[str, Any]", now)
        for key in sorted({*then, *now}):
            inside = f"{where}.{key}" if where else key
            if key not in then or key not in now:
                return f"{inside} is {'new' if key in now else 'gone'}"
            if (difference := different(then[key], now[key], inside)) is not None:
                return difference
        return None
    return None if then == now else f"{where} is {json.dumps(now)} now, {json.dumps(then)} there"
