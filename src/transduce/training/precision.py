"""The precision of an update: float32, or bfloat16 products over float32 weights.

Tested in tests/training/test_loop.py.
"""

import torch

from transduce.runs.recipe import TrainConfig


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Returns the context of the losses. "auto": bfloat16 where the processor multiplies it, else float32."""
    low = config.precision == "bf16" or (config.precision == "auto" and multiplies_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def multiplies_bf16(device: torch.device) -> bool:
    """Says whether the device has instructions for bfloat16; without them it is emulated, and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name) is True for name in ("avx512_bf16", "amx_bf16", "bf16"))
