"""What the rules of generation see of rows that are padded on the left."""

from itertools import product

import pytest
import torch

from transduce.generate.rules import completing


def expected(ids: list[int], earlier: list[int], n: int) -> set[int]:
    """The tokens after which an n-gram of `earlier` would stand at the end of ids, looked for one by one."""
    end = ids[len(ids) - (n - 1) :] if n > 1 else []
    if len(ids) < n - 1:
        return set()
    return {earlier[i + n - 1] for i in range(len(earlier) - n + 1) if earlier[i : i + n - 1] == end}


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("pads", [*product([0, 1, 3], repeat=2)], ids=str)
def test_padding_is_no_part_of_an_ngram(n: int, pads: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    for a, b in product([1, 2, 3, 7], [1, 2, 3, 8]):
        for _ in range(10):
            ids, earlier = (torch.randint(0, 3, (size,), generator=generator).tolist() for size in (a, b))
            rows = (torch.tensor([[-1] * pad + row]) for pad, row in zip(pads, (ids, earlier), strict=True))
            found = completing(*rows, n, 5)[0]
            assert {*found.nonzero()[:, 0].tolist()} == expected(ids, earlier, n), (ids, earlier)
