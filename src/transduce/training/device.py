"""The device that a training or a model uses.

Tested in tests/training/test_device.py.
"""

import torch

from transduce.errors import UserError
from transduce.runs.recipe import TrainConfig


def device_of(config: TrainConfig) -> torch.device:
    """Returns the device that was asked for. Raises UserError if this machine does not have it."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device=cuda, but PyTorch sees no GPU here; use train.device=cpu or auto")
    return torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
