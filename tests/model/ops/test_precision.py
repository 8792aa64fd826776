"""Products run in the precision of the region that they stand in."""

import torch

from transduce.model.ops.precision import autocast_dtype, lowered


def test_the_precision_is_that_of_the_region() -> None:
    for own in (torch.float32, torch.float64):
        x = torch.ones(2, dtype=own)
        assert autocast_dtype(x) == lowered(x).dtype == own
        with torch.autocast("cpu", torch.bfloat16):
            assert autocast_dtype(x) == lowered(x).dtype == torch.bfloat16
            with torch.autocast("cpu", enabled=False):
                assert lowered(x).dtype == own
    y = torch.ones(2)
    assert lowered(y) is y
