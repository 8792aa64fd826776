"""Codes that make up for each other's errors, given what a matrix multiplies.

GPTQ: Frantar et al. 2022, arXiv:2210.17323, alg. 1. Columns are rounded one after the other, and those not yet rounded
move so that the product with the inputs changes least.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from transduce.precision.codes import GROUP, Int4, fit_groups, meant, nearest, padded

cholesky = cast("Callable[..., Tensor]", torch.linalg.cholesky)
DAMP = 0.01  # of the mean of the diagonal, added to it, so that the inverse exists


def compensate_int4(weight: Tensor, gram: Tensor) -> Int4:
    """Returns codes of (N, K) with a small |x (W - W')^T| for the inputs x of a matrix.

    gram: (K, K), the sum of x^T x over inputs.
    """
    rows, wide = padded(weight.detach().float()).clone(), weight.shape[1]
    upper = inverse_factor(padded(padded(gram.float()).mT).mT, wide)
    scales, offsets, codes = list[Tensor](), list[Tensor](), torch.empty_like(rows, dtype=torch.uint8)
    for start in range(0, rows.shape[1], GROUP):
        part, factor = slice(start, start + GROUP), upper[start : start + GROUP]
        group = rows[:, part].clone()
        matters = factor[:, part].diagonal().square().reciprocal()
        scale, offset = (x[:, 0] for x in fit_groups(group[:, None], matters[None]))
        errors = torch.empty_like(group)
        for i in range(GROUP):
            codes[:, start + i] = (code := nearest(group[:, i : i + 1], scale, offset))[:, 0]
            errors[:, i] = (group[:, i] - meant(code, scale, offset)[:, 0]) / factor[i, start + i]
            group[:, i + 1 :] -= errors[:, i, None] * factor[i, start + i + 1 : start + GROUP]
        rows[:, start + GROUP :] -= errors @ factor[:, start + GROUP :]
        scales.append(scale)
        offsets.append(offset)
    return Int4(codes, torch.stack(scales, 1), torch.stack(offsets, 1))


def inverse_factor(gram: Tensor, wide: int) -> Tensor:
    """Returns the upper U with U^T U = (gram + damping)^-1. wide: columns that are not padding."""
    gram = gram.clone()
    diagonal = gram.diagonal()
    diagonal += DAMP * diagonal[:wide].mean().clamp_min(1e-8)
    return cholesky(torch.cholesky_inverse(cholesky(gram)), upper=True)
