"""States are values: what is done to one is done to every tensor in it, and to no other."""

from typing import NamedTuple

import torch
from torch import Tensor

from transduce.model.state import assign, choose, insert, join, nbytes, over, select, snapshot, tensors


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


def state(start: float = 0.0) -> tuple[object, ...]:
    a, b = (start + torch.arange(12.0).view(3, 4), torch.arange(3) + int(start))
    return (Pair(a, b), None, (start + torch.ones(3, 2, 2, dtype=torch.float64),))


def flat(value: object) -> list[list[object]]:
    return [x.tolist() for x in tensors(value)]


def test_bytes_are_those_of_every_number() -> None:
    """12 of four bytes, 3 of eight, 12 of eight."""
    assert nbytes(state()) == 12 * 4 + 3 * 8 + 12 * 8
    assert nbytes(None) == nbytes(()) == nbytes((None, None)) == 0
    assert nbytes(torch.zeros(5, 7, dtype=torch.bfloat16)) == 70
    assert nbytes(torch.zeros(4, dtype=torch.bool)) == 4
    assert nbytes(torch.zeros(1, 3).expand(9, 3)) == 9 * 3 * 4  # of all rows, wherever they lie


def test_rows_are_selected_in_any_order_and_number() -> None:
    chosen = select(state(), torch.tensor([2, 0, 0, 1]))
    assert isinstance(chosen[0], Pair)
    assert chosen[1] is None
    assert chosen[0].b.tolist() == [2, 0, 0, 1]
    assert chosen[0].a[:, 0].tolist() == [8.0, 0.0, 0.0, 4.0]
    assert chosen[2][0].shape == (4, 2, 2)


def test_a_snapshot_is_out_of_reach_of_updates_in_place() -> None:
    here = state()
    kept, before = snapshot(here), flat(here)
    for x in tensors(here):
        x.zero_()
    assert flat(kept) == before


def test_rows_are_replaced_in_the_precision_of_the_state() -> None:
    here, before = state(), flat(state())
    other = over(select(state(100.0), torch.tensor([0, 1])), lambda x: x.to(torch.float16))
    put = insert(here, torch.tensor([2, 0]), other)
    assert flat(here) == before
    assert put[0].b.tolist() == [101, 1, 100]
    assert put[0].a[:, 1].tolist() == [105.0, 5.0, 101.0]
    assert [x.dtype for x in tensors(put)] == [x.dtype for x in tensors(here)]


def test_each_row_is_of_the_one_or_the_other() -> None:
    rows = torch.tensor([True, False, True])
    mixed = choose(rows, state(), state(100.0))
    assert mixed[0].b.tolist() == [0, 101, 2]
    assert mixed[0].a[:, 3].tolist() == [3.0, 107.0, 11.0]
    assert mixed[2][0].flatten(1).sum(1).tolist() == [4.0, 404.0, 4.0]


def test_assigning_keeps_the_addresses() -> None:
    here = state()
    addresses = [x.data_ptr() for x in tensors(here)]
    assert assign(here, state(7.0)) is here
    assert flat(here) == flat(state(7.0))
    assert [x.data_ptr() for x in tensors(here)] == addresses


def test_join_puts_rows_below_one_another_and_fills_up_lists():
    one, two = ((torch.ones(n, 2, m, 3), torch.arange(m).expand(n, m), None) for n, m in ((1, 2), (2, 4)))
    fields, positions, nothing = join([one, two])
    assert fields.shape == (3, 2, 4, 3)
    assert fields[0, :, 2:].eq(0).all()
    assert positions.tolist() == [[0, 1, -1, -1], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert nothing is None
    assert join([one]) is one
