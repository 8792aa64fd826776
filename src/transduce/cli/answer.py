"""`transduce answer`: questions and a text in, stretches of the text out."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results
from transduce.errors import UserError

QUESTIONS = 256  # read at once, so that a file of any size passes through
LONGEST = 1_000_000  # characters of a question or a context


def answer(
    run: Run,
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="[QUESTION]...", help="Default: lines of stdin.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="The text that holds the answers.")] = None,
    context_file: Annotated[Path | None, typer.Option(help="The file of that text (gz too).")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Questions, each with its context: SQuAD .json, .jsonl, .csv, .tsv, .parquet.")
    ] = None,
    json: Annotated[bool, line_option("question, text (null: no answer), probability, start, stop")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print the answer to each argument, or to each line of standard input, as a text has it.

    transduce answer RUN "Who wrote it?" --context-file book.txt

    A question without an answer has a line of nothing.
    """
    from transduce.data import read

    if sum(given is not None for given in (context, context_file, file)) != 1:
        raise UserError("questions need a text to be answered from; give one of --context, --context-file and --file")
    if questions and file is not None:
        raise UserError("there are questions, and a file that has them; give one of them")
    model = opened(run, checkpoint, device, precision)
    if file is not None:
        pairs, place = rows(file), names_of_lines(str(file))
    else:
        text = context if context_file is None else read.text(context_file)
        pairs = ((text or "", question) for question in questions or lines("-", LONGEST))
        place = names_of_lines(None if questions else "-")
    for _, (_, question), result in results(pairs, QUESTIONS, model.answer_pairs, place):
        if json:
            object_line({"question": question, **result._asdict(), "text": result.text or None})
        else:
            sys.stdout.write(" ".join(result.text.splitlines()) + "\n")
        sys.stdout.flush()


def rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (context, question) of every row of a table."""
    from transduce.data import cells, recognise
    from transduce.data.columns import CONTEXT, QUESTION

    form = recognise.form(path, (CONTEXT, QUESTION), {}, None, "auto", LONGEST)
    yield from ((str(context), str(question)) for context, question in cells.values(path, form, LONGEST))
