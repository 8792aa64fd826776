"""`transduce doctor`: look at the data of a recipe as training will see it."""

from typing import Annotated

import typer

from transduce.cli.documents import document, option
from transduce.cli.explain import answered
from transduce.cli.options import Words
from transduce.cli.words import recipe_and_overrides
from transduce.recipes import DEFAULT

KEYS = "splits, overlap, vocab_size, unused, padding, batches, preview, looked_at, sources, advice"


def doctor(
    words: Words = None,
    preview: Annotated[int, typer.Option(help="Rows to show as tokens.")] = 3,
    json: Annotated[bool, option(KEYS)] = False,
) -> None:
    """Look for what is wrong with the data of a recipe.

    Lengths, what is cut off, unknown tokens, repeats, overlap of splits, and rows as the model will see them.
    """
    from transduce import api

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    if answered(spec, overrides, json):
        return
    findings = api.doctor(spec, overrides, preview=preview)
    if json:
        overlap = [{"in": a, "of": b, "examples": shared} for (a, b), shared in findings.overlap.items()]
        return document({**vars(findings), "overlap": overlap, "advice": findings.advice()})
    from transduce.cli import show

    show.findings(findings)
