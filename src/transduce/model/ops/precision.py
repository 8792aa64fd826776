"""The precision in which the products of a region run."""

import torch
from torch import Tensor


def autocast_dtype(x: Tensor) -> torch.dtype:
    """Returns the dtype in which matrix products with x run here: autocast's, where it is on, else x's own."""
    return torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype


def lowered(x: Tensor) -> Tensor:
    """Returns x in that dtype: cast once, where several products follow (autocast would cast for each)."""
    return x.to(autocast_dtype(x))
