"""The costs of a training, and the faults of its data, seen beforehand."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from transduce import recipes
from transduce.api.recipes import Overrides, started
from transduce.data.doctor import Findings, examine
from transduce.data.readers.reader import Readers
from transduce.inspect.plan import Costs, Probe, Work, costs, widest
from transduce.inspect.plan import probe as measured
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.training.precision import autocast
from transduce.training.train import build as built
from transduce.training.train import device_of, threads
from transduce.tune.tuning import Tuning


class Plan(NamedTuple):
    """The costs of training a recipe.

    batches: of one epoch.
    probe: a few timed updates (None: nothing was timed).
    """

    recipe: Recipe
    device: torch.device
    batches: int
    costs: Costs
    probe: Probe | None

    @property
    def seconds(self) -> float | None:
        """Returns the time to the last step, validation not counted (None: nothing was timed)."""
        return None if self.probe is None else self.probe.seconds_per_update * self.recipe.train.max_steps

    @property
    def average(self) -> int:
        """Returns the bytes of the average of the weights that move, where the recipe keeps one."""
        return 0 if self.recipe.train.ema is None else self.costs.gradients

    @property
    def memory(self) -> int:
        """Returns the most bytes that the training takes: of weights, optimiser, average, and an update."""
        costs = self.costs
        return costs.weights + costs.optimizer + self.average + costs.update

    @property
    def process(self) -> int:
        """Returns the most bytes that the process takes with libraries and data, if its heap had no gaps.

        In bfloat16 on a processor oneDNN keeps some 0.25 MiB for each shape of a product that it has ever seen.
        """
        return self.costs.resident - self.costs.weights + self.memory


def plan(spec: str = recipes.DEFAULT, overrides: Overrides = (), *, probe: bool = True) -> Plan:
    """Returns the costs of training a recipe. Does a few updates on real batches and writes nothing."""
    config, start = started(spec, overrides)
    device = device_of(config.train)
    cuda = [device] if device.type == "cuda" else []
    with TemporaryDirectory() as folder, threads(config.train.threads), torch.random.fork_rng(cuda):
        job = built(Run(Path(folder)), config, device, start)
        precision = autocast(config.train, device)
        optimizers = config.optimizer.build(job.model)
        work = Work(job.model, job.objective, optimizers, precision, config.train.accumulate)
        Tuning(config.tune, job.model, optimizers).arrange(job.recipe.train.max_steps)
        counted = costs(work, widest(job.loader), job.loader.rows.shape)
        timed = measured(work, (batch for _, batch in job.loader.stream())) if probe else None
    return Plan(job.recipe, device, job.loader.size(0), counted, timed)


def doctor(spec: str = recipes.DEFAULT, overrides: Overrides = (), *, preview: int = 3) -> Findings:
    """Returns the faults and sizes of a recipe's data, to be seen before training. Writes nothing."""
    config, start = started(spec, overrides)
    task = config.task
    splits, looks = task.examined(config.data.load(task.reads))
    texts = list(task.texts(splits["train"]))
    tokenizer = None if start is None else start.readers.tokenizer
    if start is None and config.tokenizer is not None:
        tokenizer = config.tokenizer.train(texts)
    readers = Readers(tokenizer, task.readers(splits["train"]))
    encoded = {name: task.examples(columns, readers) for name, columns in splits.items()}
    looks += [line for name in encoded for line in task.unlearnable(config.model, readers, name, encoded[name])]
    unread = [*config.data.remarks(task.reads), *task.remarks(readers), *looks]
    seed = config.train.seed
    return examine(splits, encoded, tokenizer, config.batch, seed=seed, rows=preview, unread=unread)
