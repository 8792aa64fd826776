"""`transduce generate`: a prompt, and what the model writes after it, as it is written."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from transduce.cli.live import session
from transduce.cli.opening import opened
from transduce.cli.options import (
    Checkpoint,
    Device,
    Draft,
    Json,
    MaxNewTokens,
    MinNewTokens,
    MinP,
    NoRepeatNgram,
    Precision,
    RepetitionPenalty,
    Run,
    Scores,
    Seed,
    Temperature,
    TopK,
    TopP,
)  # fmt: skip
from transduce.cli.scores import as_json, columns
from transduce.cli.words import given, lines
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.generate.options import Options


def generate(
    run: Run,
    prompt: Annotated[
        str | None,
        typer.Argument(help="What comes before; `-` reads standard input; none in a terminal: a live session."),
    ] = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    seed: Seed = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram: NoRepeatNgram = None,
    draft: Draft = None,
    regex: Annotated[str | None, typer.Option(help="A regular expression that the whole answer fits.")] = None,
    json_schema: Annotated[Path | None, typer.Option(help="A file with a JSON schema that the answer fits.")] = None,
    only_legal: Annotated[
        bool, typer.Option("--only-legal", help="Write what the referee of the task allows, such as legal moves.")
    ] = False,
    midi: Annotated[Path | None, typer.Option(help="Write music in four voices to this file, too.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Texts to write, with seeds that follow each other.")] = 1,
    scores: Scores = False,
    json: Json = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Continue a text; without one, in a terminal, each line that is typed.

    transduce generate runs/shakespeare "ROMEO:" --temperature 0.8 --top-p 0.95
    """
    from transduce.data.chorales import write_midi
    from transduce.generate.options import decoding
    from transduce.tasks.moves import referee_of

    if prompt == "-":
        prompt = "\n".join(lines("-"))
    model = opened(run, checkpoint, device, precision, decodes=True)
    options = given(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens, repetition_penalty=repetition_penalty, no_repeat_ngram=no_repeat_ngram,
        stop=tuple(stop) if stop else None, draft=draft, regex=regex,
        json_schema=None if json_schema is None else "\n".join(lines(str(json_schema))),
        referee=referee_of(model.task) if only_legal else None,
    )  # fmt: skip
    if midi is not None and samples > 1:
        raise UserError(f"--midi names one file, but --samples={samples} writes several texts; leave one of them out")
    seed = model.recipe.generate.seed if seed is None else seed
    whole = (
        scores
        or json
        or midi is not None
        or decoding(model.recipe.generate, None, cast("Options", options)).beam_size > 1
    )  # known only at the end

    def spaced(prompt: str) -> str:
        """Returns a prompt as it is shown before what follows it: words have a space between them."""
        return f"{prompt.rstrip()} " if prompt.strip() and model.tokenizer.of_words else prompt

    def pieces(prompt: str, number: int) -> Iterator[str]:
        if not whole:
            return chain([spaced(prompt)], model.stream(prompt, seed=seed + number, **options))
        answer = model.continuation(prompt, seed=seed + number, **options)
        if midi is not None:
            write_midi(f"{prompt} {answer.text}", midi, model.recipe.data)
        before = f"{columns(answer)}\t" if scores else ""
        return iter([as_json(answer, prompt=prompt) if json else f"{before}{spaced(prompt)}{answer.text}"])

    if prompt is None and sys.stdin.isatty():
        model.stream("a", beam_size=1)  # refuses a model that goes on with no text before anything is typed
        session(pieces, samples, goes_on=not (scores or json))
        return
    for sample in range(samples):
        rest = pieces(prompt or "", sample)
        first = [next(rest), next(rest, "")]  # whatever is refused is refused here, before anything is printed
        if sample:
            sys.stdout.write("\n" if json else "\n" + "-" * 40 + "\n")
        for piece in chain(first, rest):
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")
