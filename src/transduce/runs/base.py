"""The weights of a run that never move, kept once beside its checkpoints, each of which holds the digest.

Tested in tests/tune/test_adapters.py.
"""

from pathlib import Path

from torch import Tensor

from transduce.disk import digest, sync
from transduce.runs.checkpoint import Tensors, read_tensors, save_tensors
from transduce.runs.integrity import BASE, BASE_KEY, beside, read_state


def write(run: Path, tensors: Tensors) -> dict[str, str]:
    """Writes the file of a run, whole or not at all, and returns what every checkpoint is to say of it.

    With no tensors there is neither. Raises OSError where the disk refuses.
    """
    if not tensors:
        return {}
    partial = run / f".{BASE}"
    save_tensors(tensors, partial)
    sync(partial)
    sha = digest(partial)
    partial.replace(run / BASE)
    sync(run)
    return {BASE_KEY: sha}


def recorded(state: dict[str, str]) -> dict[str, str] | None:
    """Returns the entry on the file in the state of a checkpoint (None: the checkpoint holds all weights itself)."""
    return {BASE_KEY: state[BASE_KEY]} if state.get(BASE_KEY) is not None else None


def read_base(directory: Path) -> dict[str, Tensor]:
    """Returns the weights that lie beside an intact checkpoint; none where it holds all weights itself."""
    return {} if read_state(directory).get(BASE_KEY) is None else read_tensors(beside(directory))
