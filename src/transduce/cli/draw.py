"""`transduce draw`: pictures or points out of noise, by the label or the caption that is asked for."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run


def draw(
    run: Run,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="A label or a caption to draw; may be repeated. Default: none."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many to draw, of each label.")] = 1,
    guidance: Annotated[
        float, typer.Option(help="How much it is set off from what is drawn of none; 0: not at all.")
    ] = 0.0,
    steps: Annotated[int | None, typer.Option(help="Of drawing. Default: as the recipe says.")] = None,
    sampler: Annotated[str | None, typer.Option(help="auto, ddpm, ddim, euler or heun.")] = None,
    eta: Annotated[float, typer.Option(help="The share of the noise of ddpm that ddim adds, 0 to 1.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed, the same drawings.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Of pictures: a grid.png, or a folder, with a folder for each label.")
    ] = None,
    json: Annotated[bool, line_option("given, number, drawn (a point, or the file of a picture)")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Draw pictures or points out of noise. What is drawn depends on the run, the seed, the label and its number alone.

    transduce draw RUN --given 3 --count 16 --guidance 2 --steps 50 --seed 0 --out grid.png

    transduce draw RUN --given "a red arrow" --out grid.png
    """
    from transduce.tasks.drawing import DrawingConfig

    model = opened(run, checkpoint, device, precision)
    task = model.task
    if isinstance(task, DrawingConfig):
        task.require_place(out)
    drawn = model.draw(given, count, guidance=guidance, steps=steps, sampler=sampler, eta=eta, seed=seed)
    assert isinstance(task, DrawingConfig)
    labels: list[str | None] = [*given] if given else [None]
    rows = [drawn[i * count : (i + 1) * count] for i in range(len(labels))]
    places = None if out is None else task.write(rows, labels, out)
    for i, (label, row) in enumerate(zip(labels, rows, strict=True)):
        for number, one in enumerate(row):
            if json:
                object_line({"given": label, "number": number, "drawn": one if places is None else places[i][number]})
            elif places is None:
                sys.stdout.write(f"{task.line(one)}\n")
