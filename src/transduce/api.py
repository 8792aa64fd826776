"""Everything from Python: train a recipe, look at it beforehand, load what came out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import torch

from transduce import recipes
from transduce.config import from_data, override, to_data
from transduce.data import read
from transduce.data.doctor import Findings, examine
from transduce.data.examples import encode
from transduce.errors import UserError
from transduce.inspect.plan import Costs, Probe, Work, costs, probe
from transduce.text.tokenizer import Tokenizer, TokenizerConfig
from transduce.train import checkpoint as checkpoints
from transduce.train.precision import autocast
from transduce.train.recipe import Recipe
from transduce.train.resume import best_weights, load_weights
from transduce.train.run import Run
from transduce.train.training import build, device_of, threads
from transduce.train.training import train as train_recipe
from transduce.transducer import Transducer

Overrides = Mapping[str, Any] | Iterable[tuple[str, Any]]


def recipe(spec: str = recipes.DEFAULT, overrides: Overrides = ()) -> Recipe:
    """A built-in recipe or a YAML file, with dotted overrides: recipe("dates", {"model.width": 256})."""
    found = from_data(Recipe, recipes.read(spec, pairs(overrides)))
    try:
        return found.resolve()
    except UserError:
        raise
    except ValueError as error:  # only together do two values not fit
        raise UserError(str(error)) from None


def pairs(overrides: Overrides) -> list[tuple[str, Any]]:
    """Overrides as pairs, however they were given."""
    return [*cast("Mapping[str, Any]", overrides).items()] if isinstance(overrides, Mapping) else [*overrides]


def train(
    spec: str = recipes.DEFAULT, overrides: Overrides = (), *, out: str | Path = "runs", quiet: bool = False
) -> Run:
    """Train a recipe in the directory out/NAME, or go on where an earlier call was stopped; returns the run.

    Raises UserError where nothing can be done: no steps left, another config in that directory, a full disk.
    """
    return train_recipe(recipe(spec, overrides), Path(out), quiet=quiet)


def load(path: str | Path, *, checkpoint: str = "best", device: str = "auto", overrides: Overrides = ()) -> Transducer:
    """A trained model from its run directory.

    checkpoint: "best", "last", or a name in checkpoints/. device: "auto", "cpu" or "cuda". overrides: keys of the
    recipe to change, such as where the data lies now. Raises UserError if the run or the checkpoint is not whole.
    """
    run = Run(Path(path))
    if run.path.suffix in (".yaml", ".yml") and run.path.is_file():
        made = f"`transduce train {path}` makes a run of it, a directory in runs/"
        raise UserError(f"{path} is a recipe, not a run; {made}")
    if not run.path.is_dir():
        raise UserError(f"{path} does not exist; `transduce train` makes runs, as directories in runs/")
    data = to_data(run.recipe)
    for dotted, value in [*pairs(overrides), ("train.device", device)]:
        override(data, dotted, value)
    config = from_data(Recipe, data)
    where = run.path / checkpoint if checkpoint in ("best", "last") else run.checkpoints / checkpoint
    if not where.is_dir():
        names = [path.name for path in (run.best, run.last, *sorted(run.checkpoints.glob("*"))) if path.is_dir()]
        there = f"there are {', '.join(names)}" if names else "there is none yet; train it first"
        raise UserError(f"{run.path} has no checkpoint `{checkpoint}`; {there}")
    checkpoints.require_intact(where)
    tokenizer = Tokenizer.load(run.path / "tokenizer")
    model = config.model.build(tokenizer.vocab_size)
    load_weights(model, best_weights(where))
    return Transducer(model.to(device_of(config.train)).eval(), tokenizer, config)


class Plan(NamedTuple):
    """What a recipe costs. batches: of one epoch. probe: None if nothing was timed."""

    recipe: Recipe
    device: torch.device
    batches: int
    costs: Costs
    probe: Probe | None

    @property
    def seconds(self) -> float | None:
        """To the last step, validation not counted."""
        return None if self.probe is None else self.probe.seconds_per_update * self.recipe.train.max_steps


def plan(spec: str = recipes.DEFAULT, overrides: Overrides = (), *, timed: bool = True) -> Plan:
    """What training a recipe will cost. Does a few updates on real batches and writes nothing."""
    config = recipe(spec, overrides)
    device = device_of(config.train)
    cuda = [device] if device.type == "cuda" else []
    with TemporaryDirectory() as folder, threads(config.train.threads), torch.random.fork_rng(cuda):
        task = build(Run(Path(folder)), config, device)
        precision = autocast(config.train, device)
        optimizers = config.optimizer.build(task.model)
        work = Work(task.model, task.objective, optimizers, precision, config.train.accumulate)
        counted = costs(work, task.loader.batch(0, 0), task.loader.rows.shape)
        found = probe(work, (batch for _, batch in task.loader.stream())) if timed else None
    return Plan(config, device, task.loader.size(0), counted, found)


def doctor(spec: str = recipes.DEFAULT, overrides: Overrides = (), *, preview: int = 3) -> Findings:
    """What is to be known of a recipe's data before training on it. Writes nothing."""
    config = recipe(spec, overrides)
    texts = config.data.load()
    tokenizer = config.tokenizer.train([*(texts["train"].sources or ()), *texts["train"].targets])
    encoded = {split: encode(text, tokenizer) for split, text in texts.items()}
    documents, seed = config.data.documents, config.train.seed
    return examine(texts, encoded, tokenizer, config.batch, documents=documents, seed=seed, rows=preview)


def train_tokenizer(files: Iterable[str], kind: str, **options: Any) -> Tokenizer:
    """A tokeniser for the lines of text files."""
    paths = [path for file in files for path in read.required(Path(), file)]
    texts = [line for path in paths for line in read.lines(path, max_chars=1_000_000)]
    made: TokenizerConfig = from_data(_Tokenizer, {"tokenizer": {"kind": kind, **options}}).tokenizer
    return made.train(texts)


@dataclass(frozen=True, kw_only=True)
class _Tokenizer:
    """A tokeniser alone, so that errors name `tokenizer.vocab_size` as in a recipe."""

    tokenizer: TokenizerConfig
