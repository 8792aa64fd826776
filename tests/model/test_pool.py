"""Ways to pool, token by token; that padding changes nothing is a law of the heads that pool (`test_heads.py`)."""

import pytest
import torch

from transduce.errors import UserError
from transduce.model.layout import Layout, dense, left_padded, packed, right_padded
from transduce.model.pool import POOLS, pooled, require_pools

LENGTHS = [5, 1, 7]


def by_hand(name: str, row: torch.Tensor, skip: int) -> torch.Tensor:
    """row: (n, M), the tokens of a text."""
    kept = row[skip:]
    places = torch.arange(skip, len(row), dtype=row.dtype)[:, None] + 1
    return {
        "first": kept[0], "last": kept[-1], "mean": kept.mean(0), "max": kept.amax(0),
        "weighted": (places * kept).sum(0) / places.sum(), "mean-sqrt": kept.sum(0) / len(kept) ** 0.5,
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("skip", [0, 3])
@pytest.mark.parametrize("side", [right_padded, left_padded], ids=["right", "left"])
def test_every_way_is_its_formula_wherever_padding_stands(name: str, skip: int, side: object) -> None:
    lengths = torch.tensor([n + skip for n in LENGTHS])
    layout: Layout = side(lengths, 11)  # type: ignore[operator]
    hidden = torch.randn(3, 11, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.stack([by_hand(name, row[kept], skip) for row, kept in zip(hidden, layout.valid, strict=True)])
    torch.testing.assert_close(pooled(hidden, layout, (name,), skip), expected)


def test_several_stand_one_behind_the_other_in_float32() -> None:
    hidden, layout = torch.randn(2, 5, 3).bfloat16(), dense(2, 5)
    both = pooled(hidden, layout, ("max", "last"))
    assert both.dtype == torch.float32
    assert torch.equal(both, torch.cat([hidden.float().amax(1), hidden[:, -1].float()], -1))


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match="several documents"):
        pooled(torch.randn(2, 7, 3), packed([[4, 3], [7]], 7))
    for names, says in (((), "pool is empty"), (("mean", "lst"), "did you mean `last`"), (("zzz",), "use one or more")):
        with pytest.raises(UserError, match=says):
            require_pools(names)
