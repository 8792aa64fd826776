"""`transduce doctor`: look at the data of a recipe as training will see it."""

from typing import Annotated

import typer

from transduce.cli.options import Words
from transduce.cli.words import recipe_and_overrides
from transduce.recipes import DEFAULT


def doctor(
    words: Words = None,
    preview: Annotated[int, typer.Option(help="Rows to show as tokens.")] = 3,
) -> None:
    """Look for what is wrong with the data of a recipe.

    Lengths, what is cut off, unknown tokens, repeats, overlap of splits, and rows as the model will see them.
    """
    from transduce import api
    from transduce.cli import show

    show.findings(api.doctor(*recipe_and_overrides(words, DEFAULT), preview=preview))
