"""Answers to prompts as rows of ids, those to one prompt kept together, with what a reference model holds of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data import pieces
from transduce.data.examples import Index, Ragged
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.pieces import Pieces, Spans
from transduce.data.rows import Packed, Padded, Rows
from transduce.errors import UserError
from transduce.model.batch import Batch


class Compared(NamedTuple):
    """The part of a batch that objectives of preferences read.

    document: (B, T) which answer of the batch a slot belongs to: those to one prompt follow each other, the best first.
    reference: (B, T) float32 log p of the target under the reference model, 0 where there is no target; None: unknown.
    label: (B, T) 1 where the answer is wanted, 0 where it is not; None: the order says it.
    place: (B, T) where the target stands among the ids of all answers, -1 where there is none.
    """

    document: Tensor
    place: Tensor
    reference: Tensor | None
    label: Tensor | None = None


@dataclass(frozen=True)
class AnswerPieces(Pieces):
    """Answers, `group` of them to each prompt. A piece is all of these, and takes a row for each, or a part of one.

    own: (total,) which ids are targets. together: a piece is a part of a row, as long as all its answers.
    """

    own: NDArray[np.bool_]
    reference: NDArray[np.float32] | None
    label: NDArray[np.int8] | None
    group: int
    together: bool

    @property
    def lengths(self) -> tuple[Index, Index]:
        each = self.target.lengths.reshape(-1, self.group)
        if self.together:
            return np.zeros(len(each), dtype=np.int64), each.sum(1)
        widest = each.max(1, initial=0)
        return (self.group - 1) * widest, widest

    def padded(self, chosen: Index) -> Batch:
        rows = self.answers(chosen)
        inputs, layout = pieces.padded(self.target, rows, self.pad)
        places, _ = pieces.padded(self.places, rows, -1, shift=1)
        document = torch.arange(len(rows))[:, None].expand(inputs.shape).contiguous()
        return self.batch(inputs, layout, places, document, self.named(chosen))

    def packed(self, rows: list[Index]) -> Batch:
        """Returns a batch of several answers per row, each apart from the others."""
        parts = [self.answers(row) for row in rows]
        inputs, _, layout = pieces.packed(self.target, parts, self.pad)
        _, places, _ = pieces.packed(self.places, parts, -1)
        counts = torch.tensor([len(part) for part in parts])
        assert layout.segments is not None
        document = layout.segments + (counts.cumsum(0) - counts)[:, None]
        return self.batch(inputs, layout, places, document, self.named(np.concatenate(rows)))

    def answers(self, chosen: Index) -> Index:
        """Returns the numbers of the answers of pieces, in order."""
        return (chosen[:, None] * self.group + np.arange(self.group)).reshape(-1)

    @property
    def places(self) -> Spans:
        """Where each id stands among all of them."""
        return self.target._replace(flat=np.arange(len(self.target.flat), dtype=np.int64))

    def batch(self, inputs: Tensor, layout: Any, places: Tensor, document: Tensor, examples: tuple[int, ...]) -> Batch:
        at = places.numpy()
        has_target = (at >= 0) & self.own[np.maximum(at, 0)]
        ids = np.where(has_target, self.target.flat[np.maximum(at, 0)], -1).astype(np.int64)
        reference = None
        if self.reference is not None:
            reference = pieces.tensor(np.where(has_target, self.reference[np.maximum(at, 0)], np.float32(0)))
        label = None
        if self.label is not None:
            label = pieces.tensor(self.label.astype(np.int64))[torch.tensor(examples)[document]]
        return Batch(
            inputs, layout, pieces.tensor(ids), extra=Compared(document, places, reference, label), examples=examples
        )


@dataclass(frozen=True)
class Answers:
    """Prompts with answers as ids: those to prompt i are the rows i * group to (i + 1) * group.

    own: which ids the assistant writes. names: of the answers to a prompt, the best first.
    reference: log p of each id under a reference model; None: unknown. label: of each answer, where there is one to a
    prompt: 1 where it is wanted, 0 where not; None: the order says it.
    """

    beside: ClassVar[int] = -1  # the last id is a target alone

    texts: Ragged
    own: NDArray[np.bool_]
    pad: int
    names: tuple[str, ...]
    reference: NDArray[np.float32] | None = None
    label: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.texts) // len(self.names)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {name: self.every(i) for i, name in enumerate(self.names)}

    def every(self, first: int) -> Ragged:
        """Returns the answers of one name."""
        return Ragged.of([self.texts[i] for i in range(first, len(self.texts), len(self.names))])

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        group, limit = len(self.names), config.max_length
        parts = self.pieces(limit, drop, together=config.packing)
        if config.packing:
            return Packed(parts, config.batch_tokens, group * limit)
        return Padded(parts, config.batch_tokens)

    def pieces(self, limit: int, drop: bool, *, together: bool) -> AnswerPieces:
        """Returns a piece for each prompt. Raises UserError where a cut leaves an answer no token."""
        group, slots = len(self.names), self.texts.lengths - 1
        fits = (slots <= limit).reshape(-1, group).all(1)
        chosen = np.flatnonzero(fits) if drop else np.arange(len(self), dtype=np.int64)
        rows = (chosen[:, None] * group + np.arange(group)).reshape(-1)
        before = np.concatenate([np.zeros(1, dtype=np.int64), self.own.cumsum()])
        starts, lengths = self.texts.offsets[:-1][rows], np.minimum(slots, limit)[rows]
        if len(empty := np.flatnonzero(before[starts + lengths + 1] == before[starts])):
            row = int(rows[empty[0]])
            what = f"prompt {row // group + 1} leaves its `{self.names[row % group]}` no room"
            more = f"batch.max_length={limit}, and it takes {slots[row]} slots"
            raise UserError(f"{what}: {more}; raise it, or set batch.overlong=drop")
        return AnswerPieces(
            Spans(self.texts.flat, starts, lengths), chosen, self.pad, self.own, self.reference, self.label, group,
            together,
        )  # fmt: skip

    def keys(self) -> list[str]:
        """Returns a hash of each answer with its prompt: of its ids, and of which of them are its own."""
        out = list[str]()
        for i in range(len(self.texts)):
            start, stop = self.texts.offsets[i], self.texts.offsets[i + 1]
            row = np.ascontiguousarray(self.texts.flat[start:stop], dtype=np.int32)
            sha = hashlib.blake2b(row.tobytes(), digest_size=16)
            sha.update(self.own[start:stop].tobytes())
            out.append(sha.hexdigest())
        return out

    def referenced(self, reference: NDArray[np.float32]) -> "Answers":
        """Returns the same with what a reference model holds of each id."""
        return replace(self, reference=reference)
