"""`transduce quantise`: codes in fewer bits beside a checkpoint, fitted to the data of its run."""

from typing import Annotated, Literal

import typer

from transduce.cli.completion import change_words
from transduce.cli.documents import document, option
from transduce.cli.options import Checkpoint, Run
from transduce.cli.words import overrides


def quantise(
    run: Run,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.", autocompletion=change_words),
    ] = None,
    precision: Annotated[Literal["int4", "int8"], typer.Option(help="Bits of a number of a matrix.")] = "int4",
    lines: Annotated[
        int, typer.Option(min=0, help="Of the training data, to which codes of four bits are fitted; 0: to none.")
    ] = 256,
    checkpoint: Checkpoint = "best",
    json: Annotated[bool, option("path, certificate (as certificate.json)")] = False,
) -> None:
    """Write the matrices of a checkpoint in fewer bits beside it, for --precision.

    Measures the loss on `valid` before and after. transduce quantise runs/shakespeare --precision int4
    """
    from transduce import api

    record = api.quantise(run, precision, checkpoint=checkpoint, lines=lines, overrides=overrides(words))
    name = run / checkpoint if checkpoint in ("best", "last") else run / "checkpoints" / checkpoint
    if json:
        return document({"path": name / precision, "certificate": record})
    from transduce.cli import show

    loss, calibration = record["loss"], record["calibration"]
    fitted = f"{calibration['rows']:,} rows, {calibration['tokens']:,} tokens" if calibration else "none"
    rows = [
        ("numbers in fewer bits", f"{record['numbers_in_fewer_bits']:,} of {record['numbers']:,}"),
        ("calibrated on", fitted),
        (f"loss on valid, {loss['targets']:,} targets", f"{loss['fp32']:.4f}"),
        ("the same in fewer bits", f"{loss[precision]:.4f}"),
        ("difference", f"{record['difference']:+.4f} {record['unit']}"),
        ("largest difference of logits", f"{record['largest_logit_difference'] or 0.0:.3g}"),
    ]
    show.facts(str(name / precision), rows)
