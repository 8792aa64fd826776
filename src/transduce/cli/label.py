"""`transduce label`: which of two answers is better? Asked in the terminal, kept as pairs to learn from."""

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, MaxNewTokens, Run
from transduce.cli.words import given, lines
from transduce.disk import open_own
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.transducer import Transducer

LABELS, TRIES = "labels.jsonl", 8
HELP = "1 or 2: that one is better; =: neither; q: enough (Ctrl-D, too)"


def label(
    run: Run,
    file: Annotated[Path, typer.Argument(help="Prompts, one per line.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The pairs so far (default: labels.jsonl in RUN).")] = None,
    temperature: Annotated[float, typer.Option(help="How different the answers are; 1: as the model says.")] = 1.0,
    max_new_tokens: MaxNewTokens = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same answers.")] = 0,
    json: Annotated[bool, line_option("prompt, chosen, rejected")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Choose the better of two answers to each prompt, as data for `train reward`, `dpo` and `rlhf`.

    Each choice is on the disk before the next question. Where a prompt has been answered, the next call goes on behind.
    """
    if not temperature > 0:
        raise UserError(f"--temperature={temperature:g} gives the same answer twice; use 1")
    prompts = [line for line in lines(str(file)) if line.strip()]
    model, path = opened(run, checkpoint, device, None, decodes=True), out or run / LABELS
    done, answers = Counter(row["prompt"] for row in mended(path)), choices()
    options = given(max_new_tokens=max_new_tokens, temperature=temperature)
    print(HELP, file=sys.stderr)
    for number, prompt in enumerate(prompts):
        if done[prompt] > 0:
            done[prompt] -= 1
            continue
        if (two := different(model, prompt, seed + 2 * TRIES * number, options)) is None:
            print(f"all answers to {prompt[:60]!r} are equal; it is left out", file=sys.stderr)
            continue
        order = random.Random(f"{seed} {number}").sample((0, 1), 2)
        print(f"\n{number + 1}/{len(prompts)} {prompt}\n  1  {two[order[0]]}\n  2  {two[order[1]]}", file=sys.stderr)
        if (choice := next(answers, "q")) == "q":
            break
        if choice != "=":
            better = order[int(choice) - 1]
            row = dumps({"prompt": prompt, "chosen": two[better], "rejected": two[1 - better]}, ensure_ascii=False)
            keep(path, row)
            if json:
                print(row, flush=True)
    rows = len(mended(path))
    print(f"{rows} pairs in {path}; learn from them: transduce train reward data.path={path}", file=sys.stderr)


def different(model: "Transducer", prompt: str, seed: int, options: dict[str, Any]) -> tuple[str, str] | None:
    """Returns two answers that differ; None where none does."""
    first = model.chat(prompt, seed=seed, **options)
    others = (model.chat(prompt, seed=seed + i, **options) for i in range(1, TRIES))
    other = next((text for text in others if text != first), None)
    return None if other is None else (first, other)


def choices() -> Iterator[str]:
    """Yields 1, 2, = or q, as they are typed, or as the lines of standard input."""
    while True:
        try:
            if sys.stdin.isatty():
                print("> ", end="", file=sys.stderr, flush=True)
            word = sys.stdin.readline()
        except KeyboardInterrupt:
            return
        if not word:
            return
        if (word := word.strip().lower()) in ("1", "2", "=", "q"):
            yield word
        else:
            print(HELP, file=sys.stderr)


def keep(path: Path, row: str) -> None:
    """Adds a row to a file, on the disk when it returns."""
    with open_own(path, "a") as file:
        file.write(row + "\n")
        file.flush()
        os.fsync(file.fileno())


def mended(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a file of pairs, without a last one that was cut off while it was written; removes that."""
    if not path.exists():
        return []
    content = path.read_bytes()
    if (whole := content.rfind(b"\n") + 1) < len(content):
        os.truncate(path, whole)
    try:
        rows = [loads(row) for row in content[:whole].decode("utf-8").splitlines()]
    except ValueError:
        raise UserError(f"{path} holds something else than pairs; choose another --out") from None
    if not all(isinstance(row, dict) and {"prompt", "chosen", "rejected"} <= row.keys() for row in rows):
        raise UserError(f"{path} holds something else than pairs; choose another --out")
    return cast("list[dict[str, str]]", rows)
