"""The device that is asked for is the device that is used, or a sentence says why not."""

from dataclasses import replace

import pytest
import torch

from transduce.errors import UserError
from transduce.runs.recipe import TrainConfig
from transduce.training.device import device_of


@pytest.mark.parametrize("there", [False, True])
def test_a_gpu_is_used_where_there_is_one_and_asked_for_in_vain_elsewhere(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    config = TrainConfig(max_steps=1)
    assert device_of(replace(config, device="cpu")).type == "cpu"
    assert device_of(replace(config, device="auto")).type == ("cuda" if there else "cpu")
    if there:
        assert device_of(replace(config, device="cuda")).type == "cuda"
    else:
        with pytest.raises(UserError, match="PyTorch sees no GPU here"):
            device_of(replace(config, device="cuda"))
