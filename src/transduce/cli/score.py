"""`transduce score`: how likely a model holds given texts to be."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.cli.words import lines, names_of_lines, results
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.generate.score import Scores
    from transduce.transducer import Transducer

LINES = 2048
LONGEST = 100_000  # characters of a line


def score(
    run: Run,
    file: Annotated[str, typer.Argument(help="Lines of source<TAB>target; of a language model, of text.")] = "-",
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
    reward: Annotated[
        bool, typer.Option("--reward", metavar="", help="Print the reward of each answer: lines of prompt<TAB>answer.")
    ] = False,
    json: Annotated[
        bool, line_option("text (or source, target; prompt, answer), log_p, tokens, log_p_per_token (or reward)")
    ] = False,
) -> None:
    """Print how likely each target is, given its source.

    Per line: log p, tokens, log p per token, and the line, tab-separated.

    Natural logarithms; the end of the sentence is a token too.
    """

    model = opened(run, checkpoint, device, precision, decodes=not reward)
    if reward:
        rewards(model, file, json=json)
        return

    def cells(line: str) -> list[str]:
        names = model.task.reads
        row = line.split("\t") if len(names) > 1 else [line]
        if len(row) != len(names):
            raise UserError(f"there are {len(row) - 1} tabs; write {'<TAB>'.join(names)}")
        return row

    def scores(chunk: list[str]) -> "list[Scores]":
        rows: Any = (row if len(row) > 1 else row[0] for row in map(cells, chunk))
        return model.score(rows)

    for _, line, result in results(lines(file, LONGEST), LINES, scores, names_of_lines(file)):
        tokens = len(result.tokens)
        if json:
            texts = zip(model.task.reads, cells(line), strict=True)
            numbers = {"log_p": result.total, "tokens": tokens, "log_p_per_token": result.total / max(tokens, 1)}
            object_line({**dict(texts), **numbers})
            continue
        sys.stdout.write(f"{result.total:.6f}\t{tokens}\t{result.total / max(tokens, 1):.6f}\t{line}\n")
        sys.stdout.flush()


def rewards(model: "Transducer", file: str, *, json: bool) -> None:
    """Prints the reward of the answer in each line of a file, before the line."""

    def pair(line: str) -> tuple[str, str]:
        prompt, tab, answer = line.partition("\t")
        if not tab or "\t" in answer:
            raise UserError(f"there are {line.count(chr(9))} tabs; write prompt<TAB>answer")
        return prompt, answer

    def of(chunk: list[str]) -> list[float]:
        return model.reward(map(pair, chunk))

    for _, line, number in results(lines(file, LONGEST), LINES, of, names_of_lines(file)):
        if json:
            object_line({**dict(zip(("prompt", "answer"), pair(line), strict=True)), "reward": number})
        else:
            sys.stdout.write(f"{number:.6f}\t{line}\n")
        sys.stdout.flush()
