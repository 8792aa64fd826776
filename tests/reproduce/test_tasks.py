"""The tasks of single experiments against slow and plain formulas."""

import torch

from transduce.reproduce.experiments.associative_retrieval import pairs
from transduce.reproduce.experiments.differentiable_window import segments
from transduce.reproduce.experiments.leak_guard import entropy_of, walk
from transduce.reproduce.experiments.sigma_pi import parity, products
from transduce.reproduce.experiments.vanishing_gradient import slope


def test_segments_against_a_loop() -> None:
    ids, greatest = segments(20, 17, 12, 0.2, torch.Generator().manual_seed(3))
    assert (ids == 12).any()
    for row, told in zip(ids.tolist(), greatest.tolist(), strict=True):
        text = "".join(chr(97 + i) if i < 12 else "|" for i in row)
        wanted = [[ord(max(part, default=" ")) - 97] * len(part) for part in text.split("|")]
        joined = wanted[0] if wanted else []
        for part in wanted[1:]:
            joined = [*joined, -1, *part]
        assert joined == told


def test_the_last_value_written_is_the_answer() -> None:
    for editing in (False, True):
        k, v, query, answer = pairs(50, 6, editing, torch.Generator().manual_seed(1))
        assert k.shape == (50, 12 if editing else 6)
        for row in range(50):
            written = dict(zip(k[row].tolist(), v[row].tolist(), strict=True))
            assert written[int(query[row])] == int(answer[row])
        if not editing:
            assert all(len(set(row)) == 6 for row in [*k.tolist(), *v.tolist()])


def test_the_entropy_is_what_a_long_walk_costs() -> None:
    generator = torch.Generator().manual_seed(0)
    chain = (2 * torch.randn(5, 5, generator=generator)).softmax(-1)
    text = walk(chain, 200, 500, generator)[:, 50:]
    cost = -chain[text[:, :-1], text[:, 1:]].log().mean()
    assert abs(float(cost) - entropy_of(chain)) < 0.02


def test_products_and_parity() -> None:
    x = torch.tensor([[2.0, 3.0, 5.0]])
    assert products(x, 3).tolist() == [[1, 2, 3, 5, 6, 10, 15, 30]]
    assert [parity(3, order) for order in (1, 2, 3)] == [0.5, 0.5, 1.0]


def test_slope_is_that_of_a_line_and_leaves_out_what_underflowed() -> None:
    assert abs(slope([1.0, 0.5, 0.0, -0.5]) + 0.5) < 1e-12
    assert abs(slope([1.0, 0.5, 0.0, -float("inf")]) + 0.5) < 1e-12
