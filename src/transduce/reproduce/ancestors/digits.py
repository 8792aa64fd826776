"""Handwritten digits of 8 by 8 pixels, which come with scikit-learn: 1,797 of them, no download."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from transduce.errors import UserError


class Digits(NamedTuple):
    """Images (N, 1, 8, 8) in [0, 1] and what they show (N,)."""

    images: Tensor
    labels: Tensor

    def only(self, keep: Tensor) -> "Digits":
        """Returns those at an index, or where a mask is true."""
        return Digits(self.images[keep], self.labels[keep])

    def draw(self, count: int, generator: torch.Generator) -> "Digits":
        """Returns a random batch, with replacement."""
        return self.only(torch.randint(len(self.labels), (count,), generator=generator))


def digits(seed: int, tests: int = 500) -> tuple[Digits, Digits]:
    """Returns digits for training and for testing, split at random.   Alpaydin & Kaynak 1998, UCI repository."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("the digits come with scikit-learn; run `pip install 'transduce[digits]'`") from None
    raw = cast(Any, load_digits())
    everything = Digits(torch.tensor(raw.images, dtype=torch.float32)[:, None] / 16, torch.tensor(raw.target).long())
    order = torch.randperm(len(everything.labels), generator=torch.Generator().manual_seed(seed))
    return everything.only(order[tests:]), everything.only(order[:tests])
