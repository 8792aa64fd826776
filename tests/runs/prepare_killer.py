"""A process that prepares data in children and kills them: each a few operations on files later than the one before.

Its argument is JSON: a recipe, its overrides, and a folder. In folder/whole no child is killed; in folder/killed all
are, until one ends by itself. It prints the exit codes of the latter. All is imported once, before any fork.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import transduce.training.train  # noqa: F401  # what api imports, before any fork
from transduce import api
from transduce.data import walk
from transduce.data.prepared import writing
from transduce.runs.prepare import prepare

FOLLOWED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}
STEP = 17


def die_at(wanted: int, root: str) -> None:
    """Ends this process by SIGKILL at operation number `wanted` on what lies under root; 0: never."""
    seen = [0]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in FOLLOWED and any(isinstance(a, str | os.PathLike) and root in os.fspath(a) for a in args):
            seen[0] += 1
            if seen[0] == wanted:
                os.kill(os.getpid(), 9)

    sys.addaudithook(hook)


def child(made: Any, out: Path, wanted: int) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        die_at(wanted, str(out))
        prepare(made, out, processes=1)
        os._exit(0)
    finally:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
        os._exit(1)


def main() -> None:
    spec, over, folder = json.loads(sys.argv[1])
    writing.CHUNK, writing.SHARD, walk.BLOCK = 1000, 4000, 1 << 10
    made, codes, wanted = api.recipe(spec, over), list[int](), 1
    assert child(made, Path(folder) / "whole", 0) == 0
    while not codes or codes[-1] == -9:
        codes.append(child(made, Path(folder) / "killed", wanted))
        wanted += STEP
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
