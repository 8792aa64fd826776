"""`transduce act`: a model plays episodes in a world, a line each."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Precision, Run
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.tasks.acting import Played, Target

MOST = 10_000  # episodes


def act(
    run: Run,
    world: Annotated[
        str | None, typer.Option(help="graph, cartpole or reacher. Default: that of the training.")
    ] = None,
    target: Annotated[
        str, typer.Option("--return", metavar="R", help="The return to ask for: a number, best or worst.")
    ] = "best",
    episodes: Annotated[int, typer.Option(help="How many to play.", min=1, max=MOST)] = 20,
    seed: Annotated[int, typer.Option(help="The same seed, the same episodes.", min=0)] = 0,
    context: Annotated[
        int | None, typer.Option(help="Steps that it looks back on. Default: as many as in training.", min=1)
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Steps that a model that plans foresees. Default: as its recipe says.", min=1)
    ] = None,
    beam_size: Annotated[
        int | None, typer.Option(help="Trajectories that it continues after each. Default: as its recipe says.", min=1)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the first episode as an animation (.gif).")] = None,
    json: Annotated[bool, line_option("episode, asked, return, steps, reached (null: there is no goal)")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Play episodes in a world, and print what each earned.

    transduce act runs/act --return best --episodes 20 --out episode.gif
    """
    if out is not None and out.suffix != ".gif":
        raise UserError(f"--out {out} must end in .gif, since an animation is written")
    model = opened(run, checkpoint, device, precision)
    played = model.act(
        world, target=number(target), episodes=episodes, seed=seed, context=context, pictures=bool(out),
        horizon=horizon, beam_size=beam_size,
    )  # fmt: skip
    for count, one in enumerate(played, 1):
        row = {
            "episode": count,
            "asked": one.target,
            "return": one.returned,
            "steps": one.steps,
            "reached": one.reached,
        }
        if json:
            object_line(row)
        else:
            goal = {None: "", True: "\treached", False: "\tnot reached"}[one.reached]
            sys.stdout.write(f"{count}\tasked {one.target:g}\treturn {one.returned:g}\t{one.steps} steps{goal}\n")
    if not json:
        sys.stdout.write(f"{summary(played)}\n")
    if out is not None:
        from transduce.worlds.canvas import film

        film(played[0].pictures, out)


def number(target: str) -> "Target":
    """Returns the return that is asked for. Raises UserError."""
    if target == "best" or target == "worst":
        return target
    try:
        value = float(target)
    except ValueError:
        value = float("nan")
    if value != value or abs(value) == float("inf"):
        raise UserError(f"--return {target} is not a return; give a number, best or worst")
    return value


def summary(played: "list[Played]") -> str:
    """Returns what all episodes come to."""
    from transduce.tasks.acting import share

    mean = sum(one.returned for one in played) / len(played)
    goals = share(played)
    text = f"mean return {mean:.2f} of {len(played)} episode{'s' * (len(played) > 1)}"
    return text if goals is None else f"{text}, {goals[0]} of {goals[1]} reached"
