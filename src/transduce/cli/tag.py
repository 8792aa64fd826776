"""`transduce tag`: text in, a word and its tag a line out."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results
from transduce.errors import UserError

LINES = 2048  # read at once, so that a file of any size passes through
LONGEST = 1_000_000  # characters of a text
KEYS = "text, words, tags, probabilities, entities (label, text, start, stop)"


def tag(
    run: Run,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: lines of stdin.")] = None,
    file: Annotated[str | None, typer.Option(help="Lines of this file (gz too), or the sentences of .conll.")] = None,
    words: Annotated[
        bool, typer.Option("--words", metavar="", help="Words are what stands between blanks, signs included.")
    ] = False,
    json: Annotated[bool, line_option(KEYS)] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Print every word of each argument, or of each line of a file or of standard input, with its tag.

    Word and tag stand on a line with a tab between, and a blank line behind each text, as in CoNLL files.
    """
    from transduce.tasks.tag import Tagging

    if texts and file is not None:
        raise UserError("there are texts and a file to tag; give one of them")
    model = opened(run, checkpoint, device, precision)
    sentences = None if file is None else sentences_of(Path(file))
    plain = texts or (lines(file or "-", LONGEST) if sentences is None else ())
    given: Any = (text.split() for text in plain) if words else plain
    inputs = given if sentences is None else sentences

    def work(some: list[Any]) -> list[Tagging]:
        return model.tag(some)

    for _, text, answer in results(inputs, LINES, work, names_of_lines(None if texts else file or "-")):
        if json:
            text = text if isinstance(text, str) else " ".join(text)
            object_line({"text": text, **answer._asdict()})
        else:
            rows = zip(answer.words, answer.tags, strict=True)
            sys.stdout.write("".join(chain((f"{word}\t{one}\n" for word, one in rows), "\n")))
        sys.stdout.flush()


def sentences_of(path: Path) -> Iterator[list[str]] | None:
    """Returns the words of the sentences of a CoNLL file; None: the file is not one."""
    from transduce.data import cells, conll

    if (kind := cells.kind_of(path)) not in conll.EXTENSIONS:
        return None
    universal = kind == ".conllu"
    place = conll.UNIVERSAL.index("words") if universal else 0
    rows = conll.sentences(path, LONGEST, universal=universal)
    return ([*columns[place]] for _, columns in rows)
