"""Python and the libraries that have a part in the numbers of a run.

Tested in tests/runs/test_position.py.
"""

import importlib.metadata
import platform

import torch


def made_with() -> dict[str, str]:
    """Returns versions on which the last bits of a number can depend."""
    return {**versions(), "threads": str(torch.get_num_threads()), "machine": platform.machine()}


def versions() -> dict[str, str]:
    """Returns the versions of Python and the libraries that have a part in the numbers."""
    names = ("transduce", "torch", "numpy", "tokenizers", "safetensors", "sacrebleu", "babel")
    installed = {d.metadata["Name"].lower(): d.version for d in map(_distribution, names) if d is not None}
    return {"python": platform.python_version(), **installed}


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
