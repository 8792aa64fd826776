"""`transduce evaluate`: how good a run is on one of its splits."""

from typing import Annotated

import typer

from transduce.cli.completion import change_words
from transduce.cli.documents import document, option
from transduce.cli.opening import opened
from transduce.cli.options import BeamSize, Checkpoint, Device, Precision, Run
from transduce.cli.words import overrides


def evaluate(
    run: Run,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.", autocompletion=change_words),
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, valid or test. Default: test if there, else valid.")] = None,
    beam_size: BeamSize = None,
    samples: Annotated[int, typer.Option(help="Examples to show.")] = 5,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
    json: Annotated[
        bool, option("run, checkpoint, split, what was measured, samples (source, expected, output)")
    ] = False,
) -> None:
    """Measure loss, BLEU or exact match on a split.

    The data of the recipe is read again; if it lies elsewhere now, say data.path=FOLDER.
    """

    changes = [*overrides(words), *([("generate.beam_size", beam_size)] if beam_size is not None else [])]
    model = opened(run, checkpoint, device, precision, changes)
    evaluation = model.evaluate(split)
    if json:
        return document({"run": run, "checkpoint": checkpoint, **evaluation.as_data(samples)})
    from transduce.cli import show

    show.evaluation(evaluation, model.task, f"{run}, {checkpoint} checkpoint, {evaluation.split}", samples)
