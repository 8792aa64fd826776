"""`transduce generate`: a prompt, and what the model writes after it, as it is written."""

import sys
from itertools import chain
from typing import Annotated

import typer

from transduce.cli.options import Checkpoint, Device, MaxNewTokens, MinP, Run, Seed, Temperature, TopK, TopP
from transduce.cli.words import given, lines


def generate(
    run: Run,
    prompt: Annotated[str, typer.Argument(help="What comes before; `-` reads standard input.")] = "",
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    seed: Seed = None,
    max_new_tokens: MaxNewTokens = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Texts to write, with seeds that follow each other.")] = 1,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Continue a text.

    transduce generate runs/shakespeare "ROMEO:" --temperature 0.8 --top-p 0.95
    """
    from transduce import api

    if prompt == "-":
        prompt = "\n".join(lines("-"))
    model = api.load(run, checkpoint=checkpoint, device=device)
    options = given(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, max_new_tokens=max_new_tokens,
        stop=tuple(stop) if stop else None,
    )  # fmt: skip
    seed = model.recipe.generate.seed if seed is None else seed
    for sample in range(samples):
        pieces = model.stream(prompt, seed=seed + sample, **options)
        first = next(pieces, "")  # whatever is refused is refused here, before anything is printed
        if sample:
            sys.stdout.write("\n" + "-" * 40 + "\n")
        sys.stdout.write(prompt)
        for piece in chain([first], pieces):
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")
