"""How tensors of a checkpoint become ours, and back: invertible, and by views where that is possible."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class Op:
    """`read` makes our tensors of theirs, `write` theirs of ours; one undoes the other."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return list(theirs)

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return list(ours)


class Transposed(Op):
    """Matrices (in, out), as GPT-2 keeps them, to (out, in)."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [x.mT for x in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [x.mT for x in ours]


@dataclass(frozen=True)
class Split(Op):
    """One tensor to several, of these sizes along the first axis."""

    sizes: tuple[int, ...]

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        if theirs[0].shape[0] != sum(self.sizes):  # torch would raise; the shape is the message of whoever called
            return [theirs[0]] * len(self.sizes)
        return list(torch.split(theirs[0], list(self.sizes)))

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat(list(ours))]


@dataclass(frozen=True)
class Then(Op):
    """One after the other."""

    first: Op
    second: Op

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return self.second.read(self.first.read(theirs))

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return self.first.write(self.second.write(ours))


SAME, TRANSPOSED = Op(), Transposed()
