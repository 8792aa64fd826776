"""Runs cases one after another in a process of its own, and says of each how it ended.

python tests/fuzz/drive.py KIND SEED [CASES] writes a line of JSON before and after each case. With one case it shows
what the command prints. A command ends well with a status of 0, or with another one and a sentence; a traceback, ten
seconds of the processor, and a gigabyte more of memory are failures.
"""

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SECONDS, BYTES, ROOM = 10, 1 << 30, 6 << 30
CLICK = ("Usage:", "Error:", "╭─ Error")


class Hang(BaseException):
    """A case has taken ten seconds of the processor."""


def stop(number: int, frame: object) -> None:
    raise Hang


def run(words: list[str], stdin: bytes) -> dict[str, Any]:
    """Runs a command in this process."""
    from transduce.cli.main import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fault, code = "", 0
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except Hang:
        fault = "hang: " + "".join(traceback.format_exc().splitlines(keepends=True)[-12:])
    except BaseException:
        fault = "traceback: " + "".join(traceback.format_exc().splitlines(keepends=True)[-8:])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    err.flush()
    told = err.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if not fault and grown > BYTES:
        fault = f"memory: {grown >> 20} MiB more"
    out.flush()
    helped = told.startswith(CLICK) or b"Usage:" in out.buffer.getvalue()  # type: ignore[attr-defined]
    if not fault and code not in (0, 130) and not helped:
        last = [line for line in told.split("\n") if line.startswith("transduce: ")]
        if len(last) != 1 or not told.rstrip("\n").endswith(last[0]):
            fault = f"not one sentence: {told[:500]!r}"
        elif len(last[0]) > 2000:
            fault = f"a sentence of {len(last[0])} characters: {last[0][:200]}"
    return {"code": code, "fault": fault, "told": told[-300:]}


def main_(kind: str, seed: int, cases: int) -> None:
    signal.signal(signal.SIGPROF, stop)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    module = importlib.import_module(f"fuzz.{kind}")
    import torch

    torch.set_num_threads(1)
    pipe = sys.stdout
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        os.chdir(name)
        with contextlib.redirect_stdout(io.StringIO()):
            module.prepare(Path(name))
        resource.setrlimit(resource.RLIMIT_AS, (ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))
        for number in range(seed, seed + cases):
            random = Random(f"{kind} {number}")
            made = module.case(random, Path(name))
            words, stdin = made if isinstance(made, tuple) else (made, b"one line\tand another\n")
            print(json.dumps({"seed": number, "words": words}), file=pipe, flush=True)
            print(json.dumps({"seed": number, **run(words, stdin)}), file=pipe, flush=True)
            os.chdir(name)


if __name__ == "__main__":
    main_(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
