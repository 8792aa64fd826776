"""`transduce regress`: text in, numbers out, a line each."""

import sys
from typing import Annotated, Any

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results
from transduce.errors import UserError

LINES = 2048  # read at once, so that a file of any size passes through; each chunk is batched by length
LONGEST = 1_000_000  # characters of a line


def regress(
    run: Run,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: lines of stdin. Of pairs: TEXT<TAB>TEXT.")
    ] = None,
    file: Annotated[str | None, typer.Option(help="Lines of this file (gz too) in the place of TEXT.")] = None,
    json: Annotated[bool, line_option("text, number (null for a text of blanks); of pairs: other, too")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print the number of each argument, or of each line of a file or of standard input.

    Of a model for similarity a line holds two texts with a tab between. A line of blanks has no number.
    """
    if texts and file is not None:
        raise UserError("there are texts and a file to read; give one of them")
    model = opened(run, checkpoint, device, precision)

    def work(some: list[str]) -> list[float | None]:
        full = [text for text in some if text.strip()]
        numbers = iter(model.regress([cells(text) for text in full] if pairs else full))
        return [next(numbers) if text.strip() else None for text in some]

    pairs = len(model.task.reads) > 2
    inputs, place = texts or lines(file or "-", LONGEST), names_of_lines(None if texts else file or "-")
    for _, text, number in results(inputs, LINES, work, place):
        if json:
            row: Any = cells(text) if pairs and text.strip() else (text,)
            object_line({**dict(zip(("text", "other"), row, strict=False)), "number": number})
        else:
            sys.stdout.write("\n" if number is None else f"{model.task.line(number)}\n")
        sys.stdout.flush()


def cells(line: str) -> tuple[str, str]:
    """Returns both texts of a line. Raises UserError."""
    row = line.split("\t")
    if len(row) != 2:
        raise UserError(f"there are {len(row) - 1} tabs; write two texts with a tab between")
    return row[0], row[1]
