"""The random generators that training draws from.

Tested in tests/runs/test_position.py.
"""

import torch
from torch import Tensor


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """Returns the states of the generators that training draws from."""
    here = {"cpu": torch.get_rng_state()}
    return here if device.type != "cuda" else {**here, "cuda": torch.cuda.get_rng_state(device)}


def set_rng_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
