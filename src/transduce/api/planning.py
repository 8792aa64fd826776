"""The costs of a training, and the faults of its data, seen beforehand."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from transduce import recipes
from transduce.api.recipes import Overrides, started
from transduce.data import read
from transduce.data.doctor import Findings, examine
from transduce.data.prepared.part import counts, part_of
from transduce.data.readers.reader import Readers
from transduce.data.thinned import thinned
from transduce.inspect.plan import Costs, Probe, Work, costs, widest
from transduce.inspect.plan import probe as measured
from transduce.runs.prepare import TOKENIZER, open_prepared
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.text.tokenizer import Tokenizer
from transduce.training.precision import autocast
from transduce.training.train import build as built
from transduce.training.train import device_of, threads
from transduce.tune.tuning import Tuning


class Plan(NamedTuple):
    """The costs of training a recipe.

    batches: of one epoch.
    probe: a few timed updates (None: nothing was timed).
    sample: what was looked at where it was not all of the data; `batches` is about right then.
    """

    recipe: Recipe
    device: torch.device
    batches: int
    costs: Costs
    probe: Probe | None
    sample: tuple[str, ...] = ()

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
        some = thinned(config.data, Path(folder) / "data") if unprepared(config) else None
        looked_at = config
        if some is not None:
            train = replace(config.train, max_epochs=None)  # which are as many steps as all of the data say
            looked_at = replace(config, data=some.data, prepared="never", train=train)
        job = built(Run(Path(folder)), looked_at, device, start)
        batches = job.loader.size(0) if some is None else round(job.loader.size(0) * some.whole / max(some.sample, 1))
        recipe = job.recipe if some is None else replace(config.resolve(), task=job.recipe.task).in_steps(batches)
        precision = autocast(config.train, device)
        optimizers = config.optimizer.build(job.model)
        work = Work(job.model, job.objective, optimizers, precision, config.train.accumulate)
        Tuning(config.tune, job.model, optimizers).arrange(recipe.train.max_steps)
        counted = costs(work, widest(job.loader), job.loader.rows.shape)
        timed = measured(work, (batch for _, batch in job.loader.stream())) if probe else None
    return Plan(recipe, device, batches, counted, timed, () if some is None else (some.remark,))


def unprepared(config: Recipe) -> bool:
    """Says whether the texts themselves are read, and not shards that were prepared of them."""
    return config.prepared in ("auto", "run", "never") and config.task.reads_text


def doctor(spec: str = recipes.DEFAULT, overrides: Overrides = (), *, preview: int = 3) -> Findings:
    """Returns the faults and sizes of a recipe's data, to be seen before training. Writes nothing.

    Of large files a sample is looked at, as the findings say; of shards, one beside their own exact counts.
    """
    config, start = started(spec, overrides)
    task, tokenizer = config.task, None if start is None else start.readers.tokenizer
    with TemporaryDirectory() as folder:
        some = thinned(config.data, Path(folder)) if unprepared(config) else None
        sample, data = ([], config.data) if some is None else ([some.remark], some.data)
        if unprepared(config) or not task.reads_text:
            splits, looks = task.examined(data.load(task.reads))
            texts = list(task.texts(splits["train"]))
            if start is None and config.tokenizer is not None:
                tokenizer = config.tokenizer.train(texts)
        else:
            shards = open_prepared(read.at_home(config.prepared), config)
            tokenizer, looks = Tokenizer.load(shards.folder / TOKENIZER), list[str]()
            splits = {name: part_of(columns, tokenizer) for name, columns in shards.splits.items()}
            sample = [counts(name, columns, len(splits[name])) for name, columns in shards.splits.items()]
    readers = Readers(tokenizer, task.readers(splits["train"]))
    encoded = {name: task.examples(columns, readers) for name, columns in splits.items()}
    looks += [line for name in encoded for line in task.unlearnable(config.model, readers, name, encoded[name])]
    unread = [*([] if config.data.absent() else config.data.remarks(task.reads)), *task.remarks(readers), *looks]
    seed = config.train.seed
    return examine(
        splits, encoded, tokenizer, config.batch, seed=seed, rows=preview, unread=unread, data=config.data,
        looked_at=sample,
    )  # fmt: skip
