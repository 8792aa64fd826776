"""`transduce translate`: text in, translations out, a line each."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from transduce.cli.options import BeamSize, Checkpoint, Device, LengthPenalty, MaxNewTokens, Run, Seed, Temperature
from transduce.cli.words import given, lines, places, results

if TYPE_CHECKING:
    from transduce.transducer import Options

NBEST = (
    "Print N per text: its number, log p and text, in tabs; the best first, which is ranked by log p divided by the "
    "length penalty, while the number printed is log p."
)
LINES = 2048  # read at once, so that a file of any size passes through; each chunk is batched by length
LONGEST = 100_000  # characters of a text


def translate(
    run: Run,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: lines of stdin.")] = None,
    beam_size: BeamSize = None,
    nbest: Annotated[int | None, typer.Option(help=NBEST)] = None,
    length_penalty: LengthPenalty = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Translate arguments, or standard input line by line.

    A line in is a line out, in order: transduce translate RUN < source.txt > target.txt
    """
    from transduce import api

    model = api.load(run, checkpoint=checkpoint, device=device)
    asked = {"beam_size": beam_size, "length_penalty": length_penalty, "max_new_tokens": max_new_tokens}
    options = cast("Options", given(**asked, temperature=temperature, seed=seed))

    def rows(chunk: list[str]) -> Iterator[list[str]]:
        full = [text for text in chunk if text.strip()]  # a blank line has no translation, but keeps its place
        if nbest is None:
            found = iter([[text.replace("\n", " ")] for text in model.translate(full, **options)])
            return (next(found) if text.strip() else [""] for text in chunk)
        tables = model.translate(full, nbest=nbest, **options)
        many = ([f"{one.score:.6f}\t{flat(one.text)}" for one in table] for table in tables)
        return (next(many) if text.strip() else [] for text in chunk)

    size = 1 if sys.stdin.isatty() else LINES
    for number, _, found in results(texts or lines("-", LONGEST), size, rows, places(None if texts else "-")):
        sys.stdout.writelines(f"{row}\n" if nbest is None else f"{number - 1}\t{row}\n" for row in found)
        sys.stdout.flush()


def flat(text: str) -> str:
    """A text as one cell of a table."""
    return text.replace("\t", " ").replace("\n", " ")
