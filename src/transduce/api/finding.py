"""The learning rate of a training, looked for beforehand."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from transduce import recipes
from transduce.api.recipes import Overrides, started
from transduce.errors import UserError
from transduce.runs.run import Run
from transduce.training.range_test import LEAST, Range, range_test
from transduce.training.train import build as built
from transduce.training.train import device_of, threads


def lr_find(
    spec: str = recipes.DEFAULT, overrides: Overrides = (), *, low: float = 1e-6, high: float = 1.0, updates: int = 100
) -> Range:  # fmt: skip
    """Returns the losses of updates whose learning rate rises from `low` to `high`. Writes nothing.

    Raises UserError, also for a training that makes its own data, as its losses do not compare.
    """
    if not 0 < low < high < float("inf"):
        raise UserError(f"the rates go from {low:g} to {high:g}; give two above 0, the smaller one first")
    if updates < 2 * LEAST:
        raise UserError(f"{updates} updates are too few to see a curve; use 100, or {2 * LEAST} at least")
    config, start = started(spec, overrides)
    if config.objective.explores:
        what = f"objective={config.objective.kind} learns from answers that the model gives"
        raise UserError(f"{what}, so its losses do not tell of the rate; try a few rates with short trainings")
    device = device_of(config.train)
    cuda = [device] if device.type == "cuda" else []
    with TemporaryDirectory() as folder, threads(config.train.threads), torch.random.fork_rng(cuda):
        job = built(Run(Path(folder)), config, device, start)
        torch.manual_seed(config.train.seed)  # as a training begins
        return range_test(job, device, low=low, high=high, updates=updates)
