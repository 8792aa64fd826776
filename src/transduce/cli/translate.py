"""`transduce translate`: text in, translations out, a line each."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from transduce.cli.opening import opened
from transduce.cli.options import (
    BeamSize,
    Checkpoint,
    Device,
    Draft,
    Json,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    NoRepeatNgram,
    Precision,
    RepetitionPenalty,
    Run,
    Scores,
    Seed,
    Temperature,
)  # fmt: skip
from transduce.cli.scores import as_json, columns
from transduce.cli.words import given, lines, names_of_lines, results

if TYPE_CHECKING:
    from transduce.generate.options import Options
    from transduce.tasks.answer import Answer

NBEST = (
    "Print N per text: its number, log p and text, in tabs; the best first, which is ranked by log p divided by the "
    "length penalty, while the number printed is log p. Texts that are the same are printed once."
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
    min_new_tokens: MinNewTokens = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram: NoRepeatNgram = None,
    temperature: Temperature = None,
    seed: Seed = None,
    draft: Draft = None,
    scores: Scores = False,
    json: Json = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Translate arguments, or standard input line by line.

    A line in is a line out, in order: transduce translate RUN < source.txt > target.txt
    """
    from transduce.transducer import Answer

    model = opened(run, checkpoint, device, precision, decodes=True)
    choices = {"beam_size": beam_size, "length_penalty": length_penalty, "max_new_tokens": max_new_tokens}
    rules = {"repetition_penalty": repetition_penalty, "no_repeat_ngram": no_repeat_ngram}
    choices |= {**rules, "min_new_tokens": min_new_tokens, "temperature": temperature, "seed": seed}
    choices |= {"draft": draft}
    options = cast("Options", given(**choices))

    def rows(chunk: list[str]) -> Iterator[list[str]]:
        for text, answers in zip(chunk, model.answers(chunk, nbest=nbest, **options), strict=True):
            if nbest is None and not answers:  # a blank line has no translation, but keeps its place
                answers = [Answer("", 0.0, 0)]
            yield [written(text, answer, nbest is not None, scores, json) for answer in answers]

    size = 1 if sys.stdin.isatty() else LINES
    for number, _, lines_out in results(
        texts or lines("-", LONGEST), size, rows, names_of_lines(None if texts else "-")
    ):
        numbered = nbest is not None and not json
        sys.stdout.writelines(f"{number - 1}\t{row}\n" if numbered else f"{row}\n" for row in lines_out)
        sys.stdout.flush()


def written(source: str, answer: "Answer", many: bool, scores: bool, json: bool) -> str:
    """Returns an answer as a line."""
    if json:
        return as_json(answer, source=source)
    text = flat(answer.text) if many or scores else answer.text.replace("\n", " ")
    return f"{columns(answer)}\t{text}" if scores else f"{answer.log_p:.6f}\t{text}" if many else text


def flat(text: str) -> str:
    """Returns a text as one cell of a table."""
    return text.replace("\t", " ").replace("\n", " ")
