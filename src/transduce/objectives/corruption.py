"""Texts of a batch, changed at random, and what is to be written of them: shared by objectives that restore a text.

A corruption is a function of (tokens, generator) alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense, prefixed, right_padded
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer

Ids = NDArray[np.int64]
MEASURING = 0x5EED  # of the generators of a measurement, beside the name of each example


class Restoration(NamedTuple):
    """A text as it is read, and what is written to it; neither has the tokens that stand around a text."""

    source: Ids
    target: Ids


Corruption = Callable[[Ids, np.random.Generator], Restoration]


@dataclass(frozen=True)
class Frame:
    """The tokens that stand around texts, by id: before and after a source; opens: before what is written.

    end: ends what is written (-1: nothing does).
    silent: ids that are no text.
    limit: slots that a model has for either side (None: any number).
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    opens: tuple[int, ...]
    end: int
    pad: int
    silent: Ids
    limit: int | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, model: Model) -> "Frame":
        marks = tokenizer.marks
        silent = np.array(sorted(tokenizer.silent - {tokenizer.unk}), dtype=np.int64)
        return cls(marks.before, marks.after, marks.opens, tokenizer.eos, tokenizer.pad, silent, model.limit)

    @property
    def room(self) -> int | None:
        """Returns how many tokens of a text are read, so that it fits on both sides with what is around it."""
        around = max(len(self.before) + len(self.after), len(self.opens) + 1)
        return None if self.limit is None else max(self.limit - around, 1)

    def texts(self, batch: Batch) -> list[list[Ids]]:
        """Returns the texts of each row, in order, of at most `room` tokens: its inputs without what is no text."""
        ids, layout = batch.inputs.cpu().numpy(), batch.layout
        text = layout.valid.cpu().numpy() & ~np.isin(ids, self.silent)
        if layout.segments is None:
            return [[row[real][: self.room]] for row, real in zip(ids, text, strict=True)]
        segments, valid = layout.segments.cpu().numpy(), layout.valid.cpu().numpy()
        return [
            [row[real & (which == name)][: self.room] for name in np.unique(which[there])]
            for row, real, which, there in zip(ids, text, segments, valid, strict=True)
        ]


def generators(batch: Batch, count: int, training: bool) -> Iterator[np.random.Generator]:
    """Yields a generator for each of `count` texts. In training they are seeded by the one that checkpoints keep, so
    that every epoch differs; else by the names of the examples, so that all measurements see the same.
    """
    if training:
        seed = int(torch.randint(1 << 62, ()))
        return (np.random.default_rng((seed, i)) for i in range(count))
    names = batch.examples if len(batch.examples) == count else range(count)
    return (np.random.default_rng((MEASURING, name)) for name in names)


def rows_of(rows: Sequence[Sequence[Ids]], pad: int, device: torch.device) -> tuple[Tensor, Layout]:
    """Returns (B, T) ids of rows of texts, one behind the other, then padding; and where they sit."""
    lengths = [[len(text) for text in row] for row in rows]
    shape = len(rows), max((sum(row) for row in lengths), default=0)
    grid = np.full(shape, pad, dtype=np.int64)
    for row, texts in zip(grid, rows, strict=True):
        joined = np.concatenate(texts) if len(texts) else row[:0]
        row[: len(joined)] = joined
    ids = torch.from_numpy(grid).to(device)  # pyright: ignore[reportUnknownMemberType]
    if all(len(row) == 1 for row in lengths):
        sizes = [row[0] for row in lengths]
        if min(sizes) == shape[1]:
            return ids, dense(*shape, device=device)
        return ids, right_padded(torch.tensor(sizes, device=device), shape[1])
    places, names = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for row, sizes in enumerate(lengths):
        places[row, : sum(sizes)] = np.concatenate([np.arange(n) for n in sizes]) if sizes else 0
        names[row, : sum(sizes)] = np.repeat(np.arange(len(sizes)), sizes)
    positions, segments = (torch.from_numpy(x).to(device) for x in (places, names))  # pyright: ignore
    return ids, Layout(positions, segments)


def ids(*parts: Iterable[int] | Ids) -> Ids:
    """Returns tokens one behind the other."""
    arrays = [np.zeros(0, dtype=np.int64)]
    for part in parts:
        arrays.append(np.asarray(part if isinstance(part, np.ndarray | list) else [*part], dtype=np.int64))
    return np.concatenate(arrays)


def restorations(batch: Batch, frame: Frame, corruption: Corruption, training: bool) -> list[list[Restoration]]:
    """Returns every text of each row as a corruption changes it."""
    rows = frame.texts(batch)
    draws = generators(batch, sum(map(len, rows)), training)
    return [[corruption(text, next(draws)) for text in row] for row in rows]


def pairs(batch: Batch, changed: Sequence[Sequence[Restoration]], frame: Frame) -> Batch:
    """Returns a batch for an encoder and a decoder: the changed texts, and what is written. Of an empty text nothing is
    asked; what is longer than the model's positions is cut there, and does not end.
    """
    device, limit = batch.inputs.device, frame.limit
    most = None if limit is None else limit - len(frame.before) - len(frame.after)

    def asked(source: Ids, target: Ids) -> Ids:
        """Returns what is written behind each token of the decoder."""
        text = ids([-1] * (len(frame.opens) - 1), target, [frame.end])
        return text[:limit] if len(source) + len(target) else np.full_like(text[:limit], -1)

    sources = [[ids(frame.before, one.source[:most], frame.after) for one in row] for row in changed]
    inputs = [[ids(frame.opens, one.target)[:limit] for one in row] for row in changed]
    source, source_layout = rows_of(sources, frame.pad, device)
    given, layout = rows_of(inputs, frame.pad, device)
    wanted, _ = rows_of([[asked(*one) for one in row] for row in changed], -1, device)
    return Batch(given, layout, wanted, source, source_layout, examples=batch.examples)


def continuations(batch: Batch, changed: Sequence[Sequence[Restoration]], frame: Frame) -> Batch:
    """Returns a batch for a decoder: what is written goes on from the changed text, all of whose tokens see each other.

    Raffel et al. 2020, arXiv:1910.10683, sec. 3.2.1.
    """
    device, limit = batch.inputs.device, frame.limit

    def asked(source: Ids, target: Ids) -> Ids:
        """Returns what is written behind each token; nothing behind those of the prefix but its last."""
        text = ids(frame.opens[1:], source, target, [frame.end] if len(source) + len(target) else [-1])
        text[: max(len(frame.opens) + len(source) - 1, 0)] = -1
        return text[:limit]

    def prefix(source: Ids, target: Ids) -> Ids:
        size = len(frame.opens) + len(source)
        return np.full(size + len(target), size, dtype=np.int64)[:limit]

    given, layout = rows_of([[ids(frame.opens, *one)[:limit] for one in row] for row in changed], frame.pad, device)
    wanted, _ = rows_of([[asked(*one) for one in row] for row in changed], -1, device)
    prefixes, _ = rows_of([[prefix(*one) for one in row] for row in changed], 0, device)
    return Batch(given, prefixed(layout, prefixes), wanted, examples=batch.examples)


def parts(total: int, count: int, rng: np.random.Generator) -> Ids:
    """Returns the sizes of `count` parts of `total` things, each at least 1; every way of cutting is as likely."""
    if count < 2:
        return np.array([total], dtype=np.int64)
    cuts = np.sort(rng.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(ids([0], cuts, [total]))


def require_sentinels(count: int, known: Sequence[int], kind: str) -> None:
    """Raises UserError unless there are so many tokens that stand for hidden spans."""
    if count > len(known):
        raise UserError(
            f"objective={kind} needs {count} tokens that stand for spans of one text, but the tokeniser has "
            f"{len(known)}; set tokenizer.sentinels={max(100, count)}, or lower batch.max_length"
        )
