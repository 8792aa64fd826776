"""Shards as the splits of a data set: columns whose ids lie in files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.data.columns import SPARSE, Columns
from transduce.data.examples import Encoded, Ragged
from transduce.data.examples import Index as Numbers
from transduce.data.prepared.index import Index
from transduce.data.prepared.tape import Lines, Tape, tensors
from transduce.data.source import SPLITS


def open_splits(folder: Path, index: Index) -> dict[str, Columns]:
    """Returns the splits of a folder that is complete. Raises UserError where a shard is not whole."""
    names: list[str] = index.made_of["columns"]
    splits = [split for split in SPLITS if any(shard.split == split for shard in index.shards)]
    return {split: _split(folder, split, index, names) for split in splits}


def _split(folder: Path, split: str, index: Index, names: list[str]) -> Columns:
    shards = [shard for shard in index.shards if shard.split == split]
    parts = [tensors(folder / shard.name) for shard in shards]
    joins = [shard.joins for shard in shards]

    def rows(key: str) -> tuple[Tape, Numbers] | None:
        if key not in parts[0]:
            return None
        return Tape([part[key] for part in parts]), offsets([part[f"{key}.lengths"] for part in parts], joins)

    def column(name: str) -> Any:
        ids, values = rows(f"{name}.ids"), rows(f"{name}.values")
        lines = None if values is None else Lines(*values, plain=ids is not None)
        if ids is None:
            return lines
        counts = {key: sum(shard.columns[name][key] for shard in shards) for key in shards[0].columns[name]}
        flat: Any = ids[0]
        return Encoded(
            Ragged(flat, ids[1]), lines, unknown=counts["unknown"], blank=counts["blank"],
            characters=counts["characters"], utf8=counts["bytes"],
        )  # fmt: skip

    there = [*names, *(name for name in sorted(SPARSE) if f"{name}.values" in parts[0])]
    return Columns({name: column(name) for name in there}, sources=index.data[split].get("sources", {}))


def offsets(lengths: list[NDArray[np.int64]], joins: list[bool]) -> Numbers:
    """(rows + 1,): where each row begins, from the lengths in each shard. joins: the first goes on from before."""
    known = list[NDArray[np.int64]]()
    for some, join in zip(lengths, joins, strict=True):
        if join and known:
            known[-1] = np.append(known[-1][:-1], known[-1][-1] + some[0])
            some = some[1:]
        if len(some):
            known.append(some)
    return np.concatenate([np.zeros(1, dtype=np.int64), *known]).cumsum()
