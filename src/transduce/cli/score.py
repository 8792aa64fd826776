"""`transduce score`: how likely a model holds given texts to be."""

import sys
from typing import Annotated

import typer

from transduce.cli.options import Checkpoint, Device, Run
from transduce.cli.words import chunks, lines
from transduce.errors import UserError

LINES = 2048


def score(
    run: Run,
    file: Annotated[str, typer.Argument(help="Lines of source<TAB>target; of a language model, of text.")] = "-",
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Print how likely each target is, given its source.

    Per line: log p, tokens, log p per token, and the line, tab-separated.

    Natural logarithms; the end of the sentence is a token too.
    """
    from transduce import api

    model = api.load(run, checkpoint=checkpoint, device=device)
    number, name = 0, "standard input" if file == "-" else file
    for chunk in chunks(lines(file), LINES):
        places = [f"{name}, line {number + i}" for i in range(1, len(chunk) + 1)]
        pairs = map(_pair, chunk, places)
        number += len(chunk)
        for line, found in zip(chunk, model.score(pairs if model.takes_source else chunk), strict=True):
            tokens = len(found.tokens)
            sys.stdout.write(f"{found.total:.6f}\t{tokens}\t{found.total / max(tokens, 1):.6f}\t{line}\n")
        sys.stdout.flush()


def _pair(line: str, where: str) -> tuple[str, str]:
    source, tab, target = line.partition("\t")
    if not tab or "\t" in target:
        raise UserError(f"{where} has {line.count(chr(9))} tabs; write source<TAB>target")
    return source, target
