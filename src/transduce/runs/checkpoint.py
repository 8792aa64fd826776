"""A checkpoint: a directory that is either whole or not there, and the proof that it is whole."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from transduce.disk import digest, remove, sync
from transduce.errors import UserError
from transduce.runs.integrity import fault, name, read_state, steps
from transduce.runs.migrate import SCHEMA

Tensors = Mapping[str, Tensor]


def write(
    target: Path, parts: Mapping[str, Tensors], state: Mapping[str, Any], record: str = "state.json"
) -> None:  # fmt: skip
    """Writes `target` beside its place, hashes it, forces it to the disk, and renames it: it is whole or not there.

    parts: file name -> tensors by name.
    state: the content of the JSON file `record`.

    Raises OSError (a full disk, say, or no directory to write in); then nothing new is left behind, and an earlier
    directory of that name is as it was.
    """
    beside, old = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.old")
    try:
        remove(beside)
        beside.mkdir()
        for name, tensors in parts.items():
            save_tensors(tensors, beside / name)
        (beside / record).write_text(json.dumps({**state, "schema": SCHEMA}, indent=1) + "\n")
        hashes = {path.name: digest(path) for path in sorted(beside.iterdir())}
        (beside / "DONE").write_text(json.dumps(hashes, indent=1) + "\n")
        for path in (*beside.iterdir(), beside):
            sync(path)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        beside.rename(target)
        sync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def save_tensors(tensors: Tensors, path: Path) -> None:
    """Writes a safetensors file. Raises OSError where the disk refuses."""
    try:
        safetensors.torch.save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        if match := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(match[1]), os.strerror(int(match[1])), str(path)) from error
        raise OSError(errno.EIO, str(error), str(path)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file. Raises UserError for anything else, and never unpickles."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a safetensors file") from None
    if head[8:9] != b"{":
        if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
            raise UserError(
                f"{path} is a pickle, which can run any code when it is read, so it is refused; "
                "save the weights as safetensors and give that file"
            )
        raise UserError(f"{path} is not a safetensors file; it may be truncated, so fetch it again")
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); fetch it again") from None


def require_intact(directory: Path) -> None:
    """Raises UserError if the checkpoint is truncated or altered."""
    if (problem := fault(directory)) is not None:
        raise UserError(f"the checkpoint {directory} cannot be used: {problem}; use another one of the run")


def newest(checkpoints: Path, say: Callable[[str], None]) -> Path | None:
    """Returns the newest intact checkpoint, or None where a run has none. Damaged ones are set aside, as `say` reports.

    Raises UserError if there are checkpoints, but none is intact; they stay where they are.
    """
    damaged: dict[Path, str] = {}
    for step in reversed(steps(checkpoints)):
        path = checkpoints / name(step)
        if (problem := fault(path)) is None:
            break
        damaged[path] = problem
    else:
        if damaged:
            raise UserError(f"no checkpoint in {checkpoints} is intact; remove that directory to start over")
        return None
    for bad, problem in damaged.items():
        aside = bad.with_name(f"damaged-{bad.name}")
        shutil.rmtree(aside, ignore_errors=True)
        bad.rename(aside)
        say(f"checkpoint {bad.name} is damaged: {problem}; falling back to the one before (kept as {aside.name})")
    return path


def rotate(checkpoints: Path, keep: int, spare: set[int]) -> None:
    """Removes all but the last `keep` healthy checkpoints that were saved on schedule, and those of `spare`.

    An unhealthy one (with numbers that are not finite) is not counted, and the last healthy one always stays.
    """
    infos = {step: read_state(checkpoints / name(step)) for step in steps(checkpoints)}
    healthy = [step for step, info in infos.items() if info.get("healthy", True)]
    regular = [step for step in healthy if infos[step].get("regular", True)]
    stay = {*regular[-keep:], *healthy[-1:], *spare}
    for step in infos.keys() - stay:
        hidden = checkpoints / f".{name(step)}.old"
        (checkpoints / name(step)).rename(hidden)  # at once: a half-removed checkpoint must not look like a damaged one
        shutil.rmtree(hidden)


def clean(checkpoints: Path) -> None:
    """Removes what a killed process left behind."""
    for path in (*checkpoints.glob(".*.partial"), *checkpoints.glob(".*.old")):
        shutil.rmtree(path, ignore_errors=True)


def schema(directory: Path) -> int:
    """Returns the schema of the names in a checkpoint; one without the entry has the first."""
    number = read_state(directory).get("schema", 1)
    return number if isinstance(number, int) else 1


def point(link: Path, target: str) -> None:
    """Makes `link` a symbolic link to the relative path `target`, at once.

    Where a run was copied with its links followed, `link` is a directory, a second copy of one in `checkpoints`.
    """
    beside = link.with_name(f".{link.name}.link")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    if link.is_dir() and not link.is_symlink():
        remove(link)
    beside.replace(link)
