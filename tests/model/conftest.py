import pytest
import torch


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Every test draws the same numbers, whichever tests ran before it."""
    torch.manual_seed(0)
