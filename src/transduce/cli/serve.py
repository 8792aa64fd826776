"""`transduce serve`: trained models behind HTTP."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.completion import run_names
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision
from transduce.errors import UserError

# oneDNN and what torch keeps of it hold code for every shape of product, of 1,024 shapes by default: 0.2 MB each.
CACHES, SHAPES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"), "128"
MISSING = "a server needs starlette and uvicorn; install them: pip install 'transduce[serve]'"


def serve(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories of runs.", show_default=False, autocompletion=run_names)
    ],
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8000,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its first line is the key of all requests.")] = None,
    rows: Annotated[int, typer.Option(help="Texts that are written at once, each beam counted.", min=1, max=1024)] = 16,
    queue: Annotated[int, typer.Option(help="Requests that may wait; more are refused.", min=1)] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds in which an answer must be there.", min=0.1)] = 120.0,
    body_bytes: Annotated[int, typer.Option(help="Bytes of a request, at most.", min=1)] = 1 << 20,
    log: Annotated[bool, typer.Option(help="Print a line of JSON for every request, without what was asked.")] = True,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Serve models over HTTP, in OpenAI's forms and in those of their tasks, with a page to look inside.

    transduce serve runs/shakespeare
    """
    for name in CACHES:
        os.environ.setdefault(name, SHAPES)
    try:
        from transduce.serve.asking import Served
        from transduce.serve.http import LOCAL, Limits, Server
        from transduce.serve.server import listening, run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio", "h11"):
            raise
        raise UserError(MISSING) from None
    names = [name_of(path) for path in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two runs are called {twice}, but a name says which is meant; rename one of the directories")
    secret = None if key is None else read_key(key)
    with listening(host, port) as where:
        models = [opened(path, checkpoint, device, precision) for path in runs]
        served = [Served(name, model, rows, queue) for name, model in zip(names, models, strict=True)]
        hosts = LOCAL if host in LOCAL else None
        if hosts is None and secret is None:
            say(f"transduce: whoever reaches {host} may use these models; --key FILE asks for a key")
        if any(model.model.device.type != "cpu" for model in models):
            say("transduce: on a GPU the last bits of an answer may depend on who else asks")
        limits = Limits(timeout=timeout, bytes=body_bytes, key=secret, hosts=hosts, log=log)
        place = f"[{host}]" if ":" in host else host
        say(f"transduce: {', '.join(names)} at http://{place}:{where.getsockname()[1]}/")
        run(Server(served, limits), where)


def name_of(run: Path) -> str:
    return run.resolve().name


def read_key(file: Path) -> str:
    """Returns the first line of a file. Raises UserError where it is none to be sent."""
    lines = file.read_text("utf-8", errors="replace").splitlines()
    word = lines[0].strip() if lines else ""
    if len(word) < 8 or not word.isascii() or not word.isprintable():
        raise UserError(f"the first line of {file} must be a key of 8 visible ASCII characters or more")
    return word


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
