"""Ways to read tensors of a checkpoint: each undoes itself, and puts every number where its docstring says."""

import pytest
import torch
from torch import Tensor

from transduce.exchange.ops import FIRST, ROW, SAME, TRANSPOSED, Fused, Op, Split, Taps, Then


def numbers(*shape: int) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).view(shape)


INVERTIBLE: list[tuple[Op, list[Tensor]]] = [
    (SAME, [numbers(3, 4)]),
    (TRANSPOSED, [numbers(3, 4), numbers(2, 5)]),
    (Split((2, 3, 1)), [numbers(6, 4)]),
    (Split((2, 4)), [numbers(6)]),
    (ROW, [numbers(1, 7)]),
    (Fused(2, 3), [numbers(2 * 5 * 3, 4)]),
    (Fused(2, 3), [numbers(2 * 5 * 3)]),
    (Fused(1, 2), [numbers(6, 4)]),
    (Taps(3), [numbers(4, 5, 3)]),
    (Then(TRANSPOSED, Split((2, 3, 1))), [numbers(4, 6)]),
]


@pytest.mark.parametrize(("op", "theirs"), INVERTIBLE, ids=lambda x: type(x).__name__)
def test_writing_undoes_reading(op: Op, theirs: list[Tensor]) -> None:
    back = op.write(op.read(theirs))
    assert [x.tolist() for x in back] == [x.tolist() for x in theirs]
    again = op.read(back)
    assert [x.tolist() for x in again] == [x.tolist() for x in op.read(theirs)]


def test_parts_stand_one_behind_the_other() -> None:
    a, b = Split((2, 1)).read([numbers(3, 2)])
    assert (a.tolist(), b.tolist()) == ([[0, 1], [2, 3]], [[4, 5]])
    wrong = numbers(4, 2)
    assert all(x is wrong for x in Split((2, 1)).read([wrong]))  # whose shape is then named


def test_of_several_the_first_is_read_and_all_are_written() -> None:
    one, other = numbers(2), numbers(2) + 7
    assert FIRST.read([one, other])[0] is one
    first, second = FIRST.write([one])
    assert first is one
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()  # a file holds no tensor twice


def test_a_buffer_of_one_row_is_a_vector() -> None:
    assert ROW.read([numbers(1, 3)])[0].tolist() == [0, 1, 2]
    assert ROW.read([numbers(2, 3)])[0].shape == (2, 3)


@pytest.mark.parametrize("bias", [False, True])
def test_heads_of_one_key_stand_together(bias: bool) -> None:
    """Two key heads of two features, each with three queries: q q q k v | q q q k v, as Falcon has them."""
    names = [f"{what}{group}" for group in "ab" for what in ("q0", "q1", "q2", "k", "v") for _ in range(2)]
    rows = numbers(20) if bias else numbers(20, 3)
    q, k, v = Fused(2, 2).read([rows])
    first = [rows_of if bias else rows_of[0] // 3 for rows_of in (*q.tolist(), *k.tolist(), *v.tolist())]
    ordered = [names[int(i)] for i in first]
    assert ordered[:12:2] == ["q0a", "q1a", "q2a", "q0b", "q1b", "q2b"]
    assert ordered[12:16:2] == ["ka", "kb"]
    assert ordered[16::2] == ["va", "vb"]


def test_taps_of_a_convolution_are_those_of_the_matrix() -> None:
    """y_t = sum_k W_k x_{t+k} is one product with the inputs side by side, the last one first."""
    conv = torch.nn.Conv1d(5, 4, 3, bias=False, dtype=torch.float64)
    (matrix,) = Taps(3).read([conv.weight.detach()])
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(matrix @ x.flip(1).T.flatten(), conv(x[None])[0, :, 0])
