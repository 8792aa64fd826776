"""The checkpoints of a run, and whether their files are as they were written. Imports no torch."""

import json
import math
import re
from pathlib import Path
from typing import Any, cast

from transduce.disk import digest, mismatch, read_json
from transduce.errors import UserError

BASE = "base.safetensors"  # of a run: the weights that never move
BASE_KEY = "base"  # of state.json: its sha256


def name(step: int) -> str:
    """Returns the name of the checkpoint of a step."""
    return f"step-{step:08d}"


def steps(checkpoints: Path) -> list[int]:
    """Returns the steps that have a checkpoint, whole or damaged, in order."""
    numbers = (re.fullmatch(r"step-([0-9]{8,18})", path.name) for path in checkpoints.glob("step-*"))
    return sorted(step for match in numbers if match and name(step := int(match[1])) == match[0])


def read_state(directory: Path) -> dict[str, Any]:
    """Returns what state.json holds; where that is not what was written, that the checkpoint is not healthy."""
    try:
        expected = read_json(directory / "DONE").get("state.json")
        state = read_json(directory / "state.json")
        return state if expected == digest(directory / "state.json") else {"healthy": False}
    except (UserError, OSError):
        return {"healthy": False}


def fault(directory: Path) -> str | None:
    """Returns what is wrong with a checkpoint, in a few words; None: every file is the one that was written."""
    hashes, problem = recorded(directory)
    problem = problem or mismatch(directory, hashes)
    sha = None if problem is not None else read_state(directory).get(BASE_KEY)
    if sha is None:
        return problem
    base = beside(directory)
    if not base.exists():
        return f"{BASE} of its run, which holds the weights that do not move, is missing"
    return None if digest(base) == sha else f"{BASE} of its run is not what was written"


def beside(directory: Path) -> Path:
    """Returns where the weights lie that no checkpoint of the run holds, since they never move.

    directory: that of a checkpoint, or `best` and `last`, which may be links or copies.
    """
    inside = directory.resolve().parent
    return (inside.parent if inside.name == "checkpoints" else inside) / BASE


def quick_fault(directory: Path) -> str | None:
    """Returns what is wrong with a checkpoint as far as names and lengths of files tell."""
    hashes, problem = recorded(directory)
    if problem is not None:
        return problem
    for file in sorted(hashes):
        if not (directory / file).is_file():
            return f"{file} is missing"
        if file.endswith(".safetensors") and count_numbers(directory / file) is None:
            return f"{file} is cut off or damaged"
    if read_state(directory).get(BASE_KEY) is not None and count_numbers(beside(directory)) is None:
        return f"{BASE} of its run is missing, cut off or damaged"
    return None


def parameters(directory: Path) -> int | None:
    """Returns how many numbers the weights of a checkpoint are, with those that its run keeps beside it."""
    moving, still = count_numbers(directory / "model.safetensors"), 0
    if moving is not None and read_state(directory).get(BASE_KEY) is not None:
        still = count_numbers(beside(directory)) or 0
    return None if moving is None else moving + still


def recorded(directory: Path) -> tuple[dict[str, Any], str | None]:
    """Returns the sha256 of every file of a checkpoint, as its DONE has them, and what is wrong with that list."""
    try:
        hashes: Any = json.loads((directory / "DONE").read_text())
    except OSError:
        return {}, "it has no DONE, so it was never finished"
    except (ValueError, RecursionError):
        return {}, "its DONE is not readable"
    if not isinstance(hashes, dict) or "model.safetensors" not in hashes:
        return {}, "its DONE does not name model.safetensors"
    hashes = cast("dict[str, Any]", hashes)
    if strange := sorted(path.name for path in directory.glob("*.safetensors") if path.name not in hashes):
        return {}, f"its DONE does not name {strange[0]}"
    return hashes, None


def count_numbers(file: Path) -> int | None:
    """Returns how many numbers a safetensors file holds, read from its header; None: it is cut off, or none."""
    try:
        with file.open("rb") as opened:
            length, size = int.from_bytes(opened.read(8), "little"), file.stat().st_size
            if length > size - 8:
                return None
            header = json.loads(opened.read(length))
        tensors = [value for key, value in header.items() if key != "__metadata__"]
        end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
        return sum(math.prod(tensor["shape"]) for tensor in tensors) if size == 8 + length + end else None
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
