"""`transduce parity`: where two models part, layer by layer."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, option
from transduce.cli.options import Run


def parity(
    first: Run,
    second: Annotated[Path, typer.Argument(help="Another run, or the folder of a published model.")],
    text: Annotated[list[str] | None, typer.Option(help="What both read; may be given several times.")] = None,
    source: Annotated[str, typer.Option(help="What both answer, if they are encoder-decoders.")] = "",
    json: Annotated[bool, option("a list of objects with name, largest, scale, near")] = False,
) -> None:
    """Show how far two models are apart at every layer, on the same ids, those of the first one's tokeniser."""
    from transduce import api

    rows = api.parity(first, second, text or (), source)
    if json:
        return document([{**row._asdict(), "near": row.near} for row in rows])
    from transduce.cli import show

    cells = [(row.name, f"{row.largest:.3g}", f"{row.scale:.3g}", "" if row.near else "differs") for row in rows]
    show.table(f"{first} and {second}", "layer", "largest difference", "largest value", "", rows=cells)
