"""Memories of many requests side by side, in rows that are taken and left while the others go on.

Tested in tests/generate/test_rows.py.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from transduce.generate.reading import keep
from transduce.model.layout import one_each
from transduce.model.models import Model
from transduce.model.state import State, nbytes, over, tensors


class Lane:
    """Rows of a model's state and of what it remembers of sources; the first `count` of them are taken.

    Room for rows and for tokens grows as it is asked for, and all of it is given back when the last row is left.
    """

    def __init__(self) -> None:
        self.count, self.state, self.memory = 0, None, None
        self.ids, self.positions = list[int](), list[int]()  # what each row reads next, and where it stands

    @property
    def nbytes(self) -> int:
        return nbytes((self.state, self.memory))

    def add(self, state: State, memory: State, id: int, position: int) -> None:
        """Takes the next row for what one request, read by itself, has left. id: the token it reads next."""
        self.state, self.memory = (
            placed(mine, self.count, new) for mine, new in ((self.state, state), (self.memory, memory))
        )
        self.ids.append(id)
        self.positions.append(position)
        self.count += 1

    def remove(self, row: int) -> None:
        """Leaves a row, which the last one fills."""
        last = self.count - 1
        if row != last:
            for x in tensors((self.state, self.memory)):
                x[row].copy_(x[last])
        self.ids[row], self.positions[row] = self.ids[last], self.positions[last]
        self.ids.pop()
        self.positions.pop()
        self.count = last
        if not last:
            self.state = self.memory = None

    def feed(self, row: int, id: int) -> None:
        """Says what a row reads next."""
        self.ids[row] = id
        self.positions[row] += 1

    def step(self, model: Model) -> Tensor:
        """Reads the next token of every row. Returns (count, M)."""
        device = model.device
        ids, positions = (torch.tensor(x, device=device)[:, None] for x in (self.ids, self.positions))
        state, memory = (over(x, lambda x: x[: self.count]) for x in (self.state, self.memory))
        y, after = model.step(ids, one_each(positions), state, memory)
        keep(state, after)
        return y[:, -1]


def placed(mine: State, row: int, new: State) -> State:
    """Returns a state whose row `row` is the only one of another state; room is made where it is short.

    Of lists of tokens the places behind those that are written hold zeros, and -1, which is no position.
    """
    if mine is None:
        return over(new, torch.clone)
    values: Iterator[Tensor] = iter(list(tensors(new)))
    return over(mine, lambda x: put(x, row, next(values)))


def put(x: Tensor, row: int, new: Tensor) -> Tensor:
    """x: (C, ...), new: (1, ...), which may be shorter or longer behind its first dimension."""
    sizes = [max(a, b) for a, b in zip(x.shape[1:], new.shape[1:], strict=True)]
    rows = x.shape[0] if row < x.shape[0] else 2 * x.shape[0]
    if [rows, *sizes] != list(x.shape):
        wider = torch.full((rows, *sizes), blank(x), dtype=x.dtype, device=x.device)
        wider[tuple(slice(n) for n in x.shape)] = x
        x = wider
    x[row].fill_(blank(x))
    x[(row, *(slice(n) for n in new.shape[1:]))] = new[0]
    return x


def blank(x: Tensor) -> float:
    """Returns what stands where nothing was written."""
    return 0 if x.is_floating_point() else -1
