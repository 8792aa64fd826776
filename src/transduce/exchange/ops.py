"""Conversions of tensors of a checkpoint into ours, and back: invertible, and by views where that is possible."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class Op:
    """`read` makes our tensors of Hugging Face's, `write` those of ours; one undoes the other."""

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
class Around(Op):
    """A tensor with axes of one element before it, which ours has not. axes: how many."""

    axes: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = theirs
        alone = x.ndim > self.axes and all(size == 1 for size in x.shape[: self.axes])
        return [x.reshape(x.shape[self.axes :]) if alone else x]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [ours[0].reshape((1,) * self.axes + tuple(ours[0].shape))]


@dataclass(frozen=True)
class Kernel(Op):
    """A convolution (out, in, side, side) whose stride is its side, as the matrix (out, in * side^2) of its patches."""

    side: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = theirs
        return [x.flatten(1) if x.ndim == 4 and x.shape[2:] == (self.side, self.side) else x]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [ours[0].reshape(len(ours[0]), -1, self.side, self.side)]


@dataclass(frozen=True)
class Windows(Op):
    """A convolution (out, in, taps) over time to a matrix (out, taps in) of windows of frames, the first one first."""

    taps: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        (x,) = theirs
        return [x.mT.flatten(1) if x.ndim == 3 and x.shape[2] == self.taps else x]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [ours[0].reshape(len(ours[0]), self.taps, -1).mT]


class First(Op):
    """The first of several; the others stand in the file, but nothing computes with them."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[0]]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [ours[0], ours[0].clone()]


class OneRow(Op):
    """A matrix of one row, as buffers of biases are kept, to a vector."""

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [x[0] if x.shape[0] == 1 else x for x in theirs]  # else the shape is the message of whoever called

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [x[None] for x in ours]


@dataclass(frozen=True)
class Fused(Op):
    """Queries, keys and values in one, group by group: the queries of a key head, its key, its value.

    groups: key heads. size: features of a head. Biases too, which have one axis.
    """

    groups: int
    size: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        x = theirs[0].reshape(self.groups, -1, self.size, *theirs[0].shape[1:])  # (G, H/G + 2, D, ...)
        return [part.flatten(0, 2) for part in (x[:, :-2], x[:, -2:-1], x[:, -1:])]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [torch.cat([x.reshape(self.groups, -1, self.size, *x.shape[1:]) for x in ours], 1).flatten(0, 2)]


@dataclass(frozen=True)
class Taps(Op):
    """A convolution (out, in, K) along the tokens to a matrix (out, K in) of taps side by side, the last one first."""

    kernel: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [x.flip(2).mT.flatten(1) for x in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [x.unflatten(1, (self.kernel, -1)).mT.flip(2) for x in ours]


@dataclass(frozen=True)
class Then(Op):
    """One after the other."""

    first: Op
    second: Op

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return self.second.read(self.first.read(theirs))

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return self.first.write(self.second.write(ours))


@dataclass(frozen=True)
class Pixels(Op):
    """Rows of a map to the pixels of a patch, in the order (side, side, channels), to (channels, side, side)."""

    side: int

    def read(self, theirs: Sequence[Tensor]) -> list[Tensor]:
        return [x.reshape(self.side**2, -1, *x.shape[1:]).transpose(0, 1).flatten(0, 1) for x in theirs]

    def write(self, ours: Sequence[Tensor]) -> list[Tensor]:
        return [x.reshape(-1, self.side**2, *x.shape[1:]).transpose(0, 1).flatten(0, 1) for x in ours]


SAME, TRANSPOSED, FIRST, ROW = Op(), Transposed(), First(), OneRow()
FLAT, INNER = Around(2), Around(1)  # (1, 1, M) to (M,); (1, T, M) to (T, M)
