"""The precision of an update: float32, or bfloat16 products over float32 weights.

Tested in tests/training/test_loop.py.
"""

import functools
import platform
from pathlib import Path

import torch

from transduce.runs.recipe import TrainConfig

NAMES = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, of x86, of Arm


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Returns the context of the losses. "auto": bfloat16 where the processor multiplies it faster, else float32."""
    low = config.precision == "bf16" or (config.precision == "auto" and multiplies_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def multiplies_bf16(device: torch.device) -> bool:
    """Says whether the device has instructions for bfloat16 that are faster than those for float32.

    Without any it is emulated. Intel's processors without AMX, or whose AMX a virtual machine hides, have AVX-512
    instructions of half the rate of float32 (78 against 138 GFLOP/s on a Xeon of family 6, model 207); AMD's have twice
    the rate. So it depends on the machine alone, and a training goes on in the precision in which it began.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return faster_in_bf16({name for name in NAMES if able.get(name) is True}, intel())


def faster_in_bf16(able: set[str], intel: bool) -> bool:
    """The same for a processor of these instructions."""
    return bool(able - {"avx512_bf16"}) or (bool(able) and not intel)


@functools.cache
def intel() -> bool:
    """Says whether the processor is one of Intel's, where the system tells."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return "GenuineIntel" in platform.processor()
