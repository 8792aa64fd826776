"""`transduce rank`: the passages of a file, those that fit a question best first."""

import sys
from typing import Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results

QUESTIONS = 256  # read at once
LONGEST = 1_000_000  # characters of a line


def rank(
    run: Run,
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="[QUESTION]...", help="Default: lines of stdin.")
    ] = None,
    passages: Annotated[str, typer.Option(help="The file (gz too) with a passage on each line.")] = ...,  # type: ignore[assignment]
    top: Annotated[int, typer.Option(help="How many to print for each question.", min=1)] = 5,
    json: Annotated[bool, line_option("question, passages (line, score, text)")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print the passages that fit each question best: score, number of the line and line, in tabs.

    transduce rank RUN "Where did the plague begin?" --passages paragraphs.txt
    """
    model = opened(run, checkpoint, device, precision)
    numbered = [(number, text) for number, text in enumerate(lines(passages, LONGEST), 1) if text.strip()]
    ranked = model.ranker([text for _, text in numbered])
    place = names_of_lines(None if questions else "-")
    for _, question, answer in results(questions or lines("-", LONGEST), QUESTIONS, ranked, place):
        best = [(*numbered[i], score) for i, score in zip(answer.order[:top], answer.scores[:top], strict=True)]
        if json:
            rows = [{"line": number, "score": score, "text": text} for number, text, score in best]
            object_line({"question": question, "passages": rows})
        else:
            sys.stdout.write("".join(f"{score:.4f}\t{number}\t{text}\n" for number, text, score in best) + "\n")
        sys.stdout.flush()
