"""`transduce caption`: pictures in, what they show out, a line each."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import BeamSize, Checkpoint, Device, Precision, Run
from transduce.cli.words import given, lines, names_of_lines, results

if TYPE_CHECKING:
    from transduce.tasks.answer import Answer

FILES = 256  # looked at at once, so that a list of any length passes through
LONGEST = 100_000  # characters of a path


def caption(
    run: Run,
    pictures: Annotated[
        list[str] | None, typer.Argument(metavar="[PICTURE]...", help="Default: lines of stdin.")
    ] = None,
    file: Annotated[str | None, typer.Option(help="Paths in lines of this file (gz too), in place of PICTURE.")] = None,
    beam_size: BeamSize = None,
    json: Annotated[bool, line_option("image (its file), text, log_p, tokens, log_p_per_token")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print what each picture shows: files, folders and globs, or a path on each line of standard input.

    A picture in is a line out, in order.
    """
    from transduce.errors import UserError

    if pictures and file is not None:
        raise UserError("there are pictures and a file of their paths; give one of them")
    model = opened(run, checkpoint, device, precision)
    options = given(beam_size=beam_size)

    def work(some: list[str]) -> "list[list[Answer]]":
        return model.captions(some, **options)

    work([])
    inputs = model.task.expand(pictures) if pictures else lines(file or "-", LONGEST)
    for _, picture, answers in results(
        inputs, FILES, work, names_of_lines(None if pictures else file or "-", "picture")
    ):
        best = answers[0] if answers else None
        text = "" if best is None else best.text
        if json:
            about = {} if best is None else {
                "log_p": best.log_p, "tokens": best.tokens, "log_p_per_token": best.per_token,
            }  # fmt: skip
            object_line({"image": picture, "text": text, **about})
        else:
            sys.stdout.write(" ".join(text.splitlines()) + "\n")
        sys.stdout.flush()
