"""Evenly spread rows of shards, in memory: a sample of a corpus that was prepared, beside what was counted of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from transduce.data.columns import Columns
from transduce.data.examples import Encoded, Index, Ragged
from transduce.text.tokenizer import Tokenizer

TOKENS = 1 << 20  # of a sample, at most, but for its first row
ROWS = 1 << 14
PART = 1 << 14  # tokens of a stream that stay together


def part_of(columns: Columns, tokenizer: Tokenizer) -> Columns:
    """Returns rows of a split that are evenly spread, their texts read back from their ids; of streams, parts of each.

    A small split is returned as a whole. Texts read back may differ in what the tokeniser makes alike.
    """
    encoded = [values for values in columns.values.values() if isinstance(values, Encoded)]
    tokens, rows = sum(len(values.ids.flat) for values in encoded), len(columns)
    count = max(1, min(rows, ROWS, rows * TOKENS // max(tokens, 1)))
    chosen = np.unique(np.linspace(0, rows - 1, count).astype(np.int64))
    cut = max(PART, TOKENS // max(count, 1))
    values = {name: _some(values, chosen, cut, tokenizer) for name, values in columns.values.items()}
    ends = np.cumsum(list(columns.sources.values()), dtype=np.int64)
    sources = np.bincount(np.searchsorted(ends, chosen, side="right"), minlength=len(ends)).tolist()
    return Columns(values, columns.group, dict(zip(columns.sources, sources, strict=False)))


def _some(values: Sequence[Any], chosen: Index, cut: int, tokenizer: Tokenizer) -> Sequence[Any]:
    if not isinstance(values, Encoded):
        return [values[int(row)] for row in chosen]
    ids = Ragged.of([row_of(values.ids, int(row), cut) for row in chosen])
    texts = tokenizer.decode_batch([ids[row].tolist() for row in range(len(ids))])
    unknown = 0 if tokenizer.unk is None else int((ids.flat == tokenizer.unk).sum())
    return Encoded(
        ids, texts, unknown=unknown, blank=sum(not text.strip() for text in texts),
        characters=sum(map(len, texts)), utf8=sum(len(text.encode()) for text in texts),
    )  # fmt: skip


def row_of(ids: Ragged, row: int, most: int) -> Any:
    """Returns a row; of a longer one than `most`, parts of `PART` tokens that are evenly spread."""
    start, stop = int(ids.offsets[row]), int(ids.offsets[row + 1])
    if stop - start <= most:
        return ids.flat[start:stop]
    count = max(1, most // PART)
    begins = np.linspace(start, stop - PART, count).astype(np.int64)
    return np.concatenate([ids.flat[int(begin) : int(begin) + PART] for begin in begins])


def counts(name: str, columns: Columns, looked_at: int) -> str:
    """Returns a sentence on what the index of shards has counted of a split."""
    encoded = {name: values for name, values in columns.values.items() if isinstance(values, Encoded)}
    each = "; ".join(
        f"{column}: {len(values.ids.flat):,} tokens, {values.unknown:,} of them unknown, {values.blank:,} blank texts"
        for column, values in encoded.items()
    )
    return f"{name} has {len(columns):,} rows ({each}), all counted; what follows looked at {looked_at:,} of them"
