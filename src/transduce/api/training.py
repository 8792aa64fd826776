"""Training a recipe."""

from pathlib import Path

from transduce import recipes
from transduce.api.recipes import Overrides, started
from transduce.runs.checkpoint import steps
from transduce.runs.run import Run
from transduce.training.train import train as train_recipe
from transduce.training.watching import Watch


def train(
    spec: str = recipes.DEFAULT,
    overrides: Overrides = (),
    *,
    out: str | Path = "runs",
    quiet: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Trains a recipe in the directory out/NAME, or goes on where an earlier call was stopped; returns the run.

    watch: is called with an `Update` after every update, and with a `Validation` after every validation. It changes no
        number. An exception in it ends the training after that step, when all is saved, and is raised here; the same
        call then goes on from there.

    Raises UserError where it cannot train: no steps are left, the directory has another config, the disk is full.
    """
    config, start = started(spec, overrides, Path(out))
    notes = unused_weights(spec, Path(out) / config.name)
    return train_recipe(config, Path(out), quiet=quiet, notes=notes, watch=watch, start=start)


def unused_weights(spec: str, run: Path) -> list[str]:
    """Returns a note for a new run whose recipe is the config.yaml of another run: the weights there are not used."""
    other = Path(spec).parent
    if Path(spec).name != "config.yaml" or not steps(other / "checkpoints") or steps(run / "checkpoints"):
        return []
    return [f"{spec} gives the recipe only: {run} starts from new weights, and those of {other} are not used"]
