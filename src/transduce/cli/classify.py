"""`transduce classify`: texts or pictures in, labels out, a line each."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results

if TYPE_CHECKING:
    from transduce.tasks.classifying import Classified
    from transduce.tasks.multilabel import Multilabelled

LINES = 2048  # read at once, so that a file of any size passes through; each chunk is batched by length
LONGEST = 1_000_000  # characters of a text
KEYS = (
    "text (of a picture: image, its file), label (null for a text of blanks), probability, probabilities; of several "
    "labels: labels"
)


def classify(
    run: Run,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: lines of stdin.")] = None,
    file: Annotated[str | None, typer.Option(help="Lines of this file (gz too) in the place of TEXT.")] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", metavar="", help="Print every label with its probability, in tabs.")
    ] = False,
    json: Annotated[bool, line_option(KEYS)] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print the label of each argument, or of each line of a file or of standard input.

    A line in is a line out, in order; a line of blanks has no label, and keeps its place. A model that sees takes files
    of pictures, folders and globs.
    """
    from transduce.errors import UserError
    from transduce.tasks.multilabel import Multilabelled

    if texts and file is not None:
        raise UserError("there are texts and a file to classify; give one of them")
    model = opened(run, checkpoint, device, precision)
    inputs = model.task.expand(texts) if texts else lines(file or "-", LONGEST)
    name = model.task.reads[0]
    place = names_of_lines(None if texts else file or "-", model.task.unit)
    for _, text, answer in results(inputs, LINES, model.classify, place):
        if json:
            if isinstance(answer, Multilabelled):
                choice = {"labels": answer.labels}
            else:
                choice = {"label": answer.label or None, "probability": answer.probability}
            object_line({name: text, **choice, "probabilities": answer.probabilities})
        else:
            sys.stdout.write(f"{ranked(answer) if probabilities else model.task.line(answer)}\n")
        sys.stdout.flush()


def ranked(answer: "Classified | Multilabelled") -> str:
    """Returns every label and its probability, the likeliest first, with tabs between."""
    return "\t".join(f"{label} {share:.6f}" for label, share in answer.probabilities.items())
