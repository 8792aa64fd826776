"""`transduce predict`: what a model gives for each input, a line each, whatever its task is."""

import sys
from typing import Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results

LINES = 2048  # read at once, so that a file of any size passes through
LONGEST = 1_000_000  # characters of an input


def predict(
    run: Run,
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...", help="Default: lines of stdin.")] = None,
    file: Annotated[str | None, typer.Option(help="Lines of this file (gz too) in the place of INPUT.")] = None,
    json: Annotated[bool, line_option("input, prediction")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print what the model gives for each argument, or for each line of a file or of standard input.

    For every task, also one of another package; a command of its own, such as translate, has more options.
    """
    from transduce.errors import UserError

    if inputs and file is not None:
        raise UserError("there are inputs and a file to predict from; give one of them")
    model = opened(run, checkpoint, device, precision)
    rows = inputs or lines(file or "-", LONGEST)
    for _, text, prediction in results(rows, LINES, model.predict, names_of_lines(None if inputs else file or "-")):
        if json:
            object_line({"input": text, "prediction": prediction})
        else:
            sys.stdout.write(" ".join(model.task.line(prediction).splitlines()) + "\n")
        sys.stdout.flush()
