"""A process that starts trainings as children and kills them: at a moment, at a file operation, in a half-written file.

It reads one JSON line per job from standard input and answers with one: the exit codes of the child that is started
again and again, killed as the job says, until it ends by itself. torch is imported once, here, before any fork.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.runs import checkpoint
from transduce.runs.recipe import Recipe
from transduce.training.train import train

FOLLOWED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_operation(root: str, wanted: int | None, note: str) -> None:
    """Die at operation number `wanted` on the files under root, before it is done; and count them in a file."""
    seen = [0]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in FOLLOWED and any(isinstance(a, str | os.PathLike) and root in os.fspath(a) for a in args):
            seen[0] += 1
            if seen[0] == wanted:
                die()

    sys.addaudithook(hook)
    original = os._exit

    def leave(code: int) -> None:
        Path(note).write_text(str(seen[0]))
        original(code)

    os._exit = leave


def in_half_a_file(wanted: int) -> None:
    """Die when half of tensor file number `wanted` is written."""
    original, seen = checkpoint.save_tensors, [0]

    def half(tensors: Any, path: Path) -> None:
        original(tensors, path)
        seen[0] += 1
        if seen[0] == wanted:
            os.truncate(path, path.stat().st_size // 2)
            die()

    checkpoint.save_tensors = half


def child(recipe: dict[str, Any], root: str, kill: dict[str, Any], note: str) -> None:
    code = 1
    try:
        if "file" in kill:
            in_half_a_file(kill["file"])
        at_operation(root, kill.get("operation"), note)
        train(from_data(Recipe, recipe), Path(root), quiet=True)
        code = 0
    except UserError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def start(recipe: dict[str, Any], root: str, kill: dict[str, Any], note: str) -> int:
    """Run one child; returns its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        child(recipe, root, kill, note)
    if "seconds" in kill:
        time.sleep(kill["seconds"])
        os.kill(pid, kill.get("signal", signal.SIGKILL))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    torch.set_num_threads(1)
    for slow in ("torch._dynamo", "matplotlib.backends.backend_agg", "matplotlib.figure"):
        importlib.import_module(slow)  # before the first fork, so that no child has to
    for line in sys.stdin:
        job = json.loads(line)
        note, begun = f"{job['root']}.operations", time.monotonic()
        codes: list[int] = []
        for kill in [*job["kills"], {}]:
            codes.append(start(job["recipe"], job["root"], kill, note))
            if codes[-1] != -signal.SIGKILL:
                break
        operations = int(Path(note).read_text()) if Path(note).exists() else 0
        print(json.dumps({"codes": codes, "operations": operations, "seconds": time.monotonic() - begun}), flush=True)


if __name__ == "__main__":
    main()
