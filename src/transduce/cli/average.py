"""`transduce average`: the mean of the weights of several runs, as a run."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.completion import run_names
from transduce.cli.documents import document, option

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN RUN...", help="Runs that began with the same weights.", autocompletion=run_names),
]


def average(
    runs: Runs,
    out: Annotated[Path, typer.Option(help="The directory of the new run.")] = Path("runs/average"),
    greedy: Annotated[
        bool, typer.Option("--greedy", metavar="", help="Leave out a run where the average is worse with it, on valid.")
    ] = False,
    json: Annotated[bool, option("path, rows (name, used, loss, measure, value), unmeasured")] = False,
) -> None:
    """Average the weights of runs that were tuned from one model, each in its own way, and measure that on valid.

    transduce average runs/a runs/b runs/c --out runs/soup
    """
    from transduce import api

    result = api.average(runs, out, greedy=greedy)
    if json:
        return document({"path": result.run.path, "rows": result.rows, "unmeasured": result.unmeasured or None})
    from transduce.cli import show

    if result.rows:
        measure = result.rows[0].measure
        own = measure != "loss"
        values = [[f"{row.loss:.4f}", *([f"{row.value:.4f}"] if own else [])] for row in result.rows]
        heads = [row.name if row.used else f"{row.name} (left out)" for row in result.rows]
        rows = [(head, *value) for head, value in zip(heads, values, strict=True)]
        show.table("on valid", "run", "loss", *([measure] if own else []), rows=rows)
    else:
        print(f"nothing was measured: {result.unmeasured}")
    print(f"the average is in {result.run.path}")
