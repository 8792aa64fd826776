"""A turn keeps lengths, and products of turned vectors depend on the distance alone.

Su et al. 2021, arXiv:2104.09864.
"""

import torch

from transduce.model.ops.rotary import rotate


def turned(x: torch.Tensor, position: int) -> torch.Tensor:
    angles = position * 10.0 ** -torch.arange(4, dtype=torch.float64)
    return rotate(x, angles.cos()[None, None], angles.sin()[None, None])


def test_it_is_a_rotation_by_position() -> None:
    q, k = torch.randn(2, 1, 1, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned(q, 7).norm(dim=-1), q.norm(dim=-1))
    torch.testing.assert_close(turned(turned(q, 3), 4), turned(q, 7))
    products = [(turned(q, m) * turned(k, m - 5)).sum(-1) for m in (5, 6, 40)]
    torch.testing.assert_close(products[0], products[1])
    torch.testing.assert_close(products[0], products[2])
    assert not torch.allclose(products[0], (turned(q, 5) * turned(k, 1)).sum(-1))


def test_angles_are_computed_in_float32_at_least() -> None:
    x = torch.randn(1, 1, 1, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    angles = torch.full((1, 1, 4), 0.3)
    found = rotate(x, angles.cos(), angles.sin())
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, rotate(x.float(), angles.cos(), angles.sin()).bfloat16())
