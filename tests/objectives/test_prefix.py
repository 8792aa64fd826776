"""Prefix language models: a text is parted anywhere, and both parts are the text."""

import numpy as np
import pytest

from transduce.objectives.prefix import parted

from .conftest import LENGTHS


@pytest.mark.parametrize("size", [0, *LENGTHS])
def test_both_parts_are_the_text(size: int, stream: np.ndarray) -> None:
    sizes = list[int]()
    for seed in range(200):
        source, target = parted(stream[:size], np.random.default_rng(seed))
        assert [*source, *target] == stream[:size].tolist()
        assert len(target) >= min(size, 1)
        assert len(source) >= min(size - 1, 1) or size == 0
        sizes.append(len(target))
    if size > 2:
        assert np.mean(sizes) == pytest.approx(size / 2, rel=0.15)
