"""`transduce impute`: sentences that have lost a word in, whole ones out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, line_option
from transduce.cli.documents import line as object_line
from transduce.cli.options import Checkpoint, Device, Run
from transduce.cli.words import lines, names_of_lines, results
from transduce.errors import UserError

LINES = 64  # read at once
LONGEST = 10_000  # characters of a line


def impute(
    run: Run,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: lines of stdin.")] = None,
    file: Annotated[str | None, typer.Option(help="Lines of this file (gz too) in the place of TEXT.")] = None,
    words: Annotated[
        Path | None, typer.Option(help="A text to count words and n-grams in. Default: what the run was trained on.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="A less probable word is not put in.")] = 0.5,
    proposals: Annotated[int, typer.Option(min=1, help="Words in gaps that the model chooses of.")] = 32,
    vocabulary: Annotated[int, typer.Option(min=1, help="Words that may be lost, the most frequent.")] = 10_000,
    measure: Annotated[
        bool, typer.Option("--measure", metavar="", help="Take a word out of each line, and tell how it is put back.")
    ] = False,
    json: Annotated[
        bool, line_option("text, restored, word, gap, probability; with --measure one document of rows")
    ] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Put back the word that a sentence has lost, with a language model, where one is likely enough.

    A line in is a line out, its words parted by single spaces where one was put in.
    """
    from transduce import api

    if texts and file is not None:
        raise UserError("there are texts and a file; give one of them")
    given = list(texts) if texts else lines(file or "-", LONGEST)
    way = api.imputer(
        run, words=words, vocabulary=vocabulary, proposals=proposals, checkpoint=checkpoint, device=device
    )
    if measure:
        rows = way.measure(given, threshold)
        if json:
            return document({"rows": rows})
        from transduce.cli import show

        def share(value: float | None) -> str:
            return "" if value is None else f"{value:.1%}"

        table = [
            (row.name, f"{row.distance:.3f}", share(row.gaps), share(row.chance), share(row.words), share(row.inserted))
            for row in rows
        ]
        heads = ("distance", "gap found", "by chance", "and word", "inserted")
        return show.table("a word lost in each sentence", "", *heads, rows=table)
    place = names_of_lines(None if texts else file or "-", "text")
    for _, text, answer in results(given, LINES, lambda chunk: way.impute(chunk, threshold), place):
        if json:
            values = {"word": answer.word or None, "gap": answer.gap, "probability": answer.probability}
            object_line({"text": text, "restored": answer.text, **values})
        else:
            sys.stdout.write(f"{answer.text}\n")
        sys.stdout.flush()
