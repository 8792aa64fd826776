"""`transduce transcribe`: sounds in, what is said in them out, a line each."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import BeamSize, Checkpoint, Device, Precision, Run
from transduce.cli.words import given, lines, names_of_lines, results

if TYPE_CHECKING:
    from transduce.tasks.transcribe import Transcribed

FILES = 64  # heard at once, so that a list of any length passes through
LONGEST = 100_000  # characters of a path


def transcribe(
    run: Run,
    sounds: Annotated[list[str] | None, typer.Argument(metavar="[SOUND]...", help="Default: lines of stdin.")] = None,
    file: Annotated[str | None, typer.Option(help="Paths in lines of this file (gz too), in place of SOUND.")] = None,
    beam_size: BeamSize = None,
    json: Annotated[bool, line_option("sound (its file), text, log_p")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print what is said in each sound: files, folders and globs, or a path on each line of standard input.

    A sound in is a line out, in order. It does not depend on what else is asked.
    """
    from transduce.errors import UserError

    if sounds and file is not None:
        raise UserError("there are sounds and a file of their paths; give one of them")
    model = opened(run, checkpoint, device, precision)
    options = given(beam_size=beam_size)

    def work(some: list[str]) -> "list[Transcribed]":
        return model.transcribed(some, **options)

    work([])
    inputs = model.task.expand(sounds) if sounds else lines(file or "-", LONGEST)
    for _, sound, answer in results(inputs, FILES, work, names_of_lines(None if sounds else file or "-", "sound")):
        if json:
            object_line({"sound": sound, "text": answer.text, "log_p": answer.log_p})
        else:
            sys.stdout.write(" ".join(answer.text.splitlines()) + "\n")
        sys.stdout.flush()
