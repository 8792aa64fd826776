"""The functions of the package for Python: train a recipe, examine it beforehand, load and convert the result."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast, get_args

import torch

from transduce import recipes
from transduce.catalogue import build as published
from transduce.config import from_data, override, to_data
from transduce.data import read
from transduce.data.columns import Columns
from transduce.data.doctor import Findings, examine
from transduce.data.examples import Encoded
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.exchange import certificate, hub, peft_adapter, starting, unread
from transduce.exchange import exporting as exported
from transduce.exchange import importing as imported
from transduce.exchange.parity import Apart, layer_by_layer
from transduce.inspect.plan import Costs, Probe, Work, costs
from transduce.inspect.plan import probe as measured
from transduce.model.models import Model
from transduce.precision.convert import Asked, Precision
from transduce.recipes.suited import words_for
from transduce.runs import assumed
from transduce.runs.checkpoint import steps
from transduce.runs.opening import open_run
from transduce.runs.prepare import prepare as prepare_recipe
from transduce.runs.quantised import read_in
from transduce.runs.quantising import quantise as write_codes
from transduce.runs.recipe import Recipe, TrainConfig
from transduce.runs.run import Run
from transduce.runs.start import Start
from transduce.text.tokenizer import Tokenizer, TokenizerConfig
from transduce.training.precision import autocast
from transduce.training.train import build as built
from transduce.training.train import device_of, threads
from transduce.training.train import train as train_recipe
from transduce.training.watching import Update as Update
from transduce.training.watching import Validation as Validation
from transduce.training.watching import Watch
from transduce.transducer import Transducer

Overrides = Mapping[str, Any] | Iterable[tuple[str, Any]]


def recipe(spec: str = recipes.DEFAULT, overrides: Overrides = ()) -> Recipe:
    """Returns a built-in recipe or a YAML file, with dotted overrides: recipe("dates", {"model.width": 256}).

    model may be the id of a published model, whose shape it then has: {"model": "bert-base", "model.layers": 4}.
    """
    return started(spec, overrides)[0]


def started(
    spec: str, overrides: Overrides = (), out: Path | None = None
) -> tuple[Recipe, Start | None]:  # fmt: skip
    """Returns the recipe that `recipe` returns, and the start of its model.

    out: the directory of runs, where this one may have begun.
    """
    changes = pairs(overrides)
    if {"train.max_steps", "train.max_epochs"} <= {key for key, value in changes if value is not None}:
        raise UserError(
            "train.max_steps and train.max_epochs are two ways of saying how long to train; give one of them"
        )
    if spec not in recipes.names():
        spec, changes = starting.of_run(spec, changes)
    data = recipes.read(spec, changes, published.section, shape=assumed.shape)
    data, start = starting.complete(data, changes, out)
    config = from_data(Recipe, data)
    try:
        return config.resolve(), start
    except UserError:
        raise
    except ValueError as error:  # two values that are each right do not fit together
        raise UserError(str(error)) from None


def pairs(overrides: Overrides) -> list[tuple[str, Any]]:
    """Returns overrides, a mapping or pairs, as pairs."""
    return [*cast("Mapping[str, Any]", overrides).items()] if isinstance(overrides, Mapping) else [*overrides]


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


def load(
    path: str | Path, *, checkpoint: str = "best", device: str = "auto", overrides: Overrides = (),
    precision: Asked | None = None,
) -> Transducer:  # fmt: skip
    """Returns a trained model from its run directory, or from a Hugging Face folder with config.json and safetensors.

    checkpoint: "best", "last", or a name in checkpoints/ of a run.
    device: "auto", "cpu" or "cuda".
    overrides: keys of the recipe to change, such as where the data lies now.
    precision: "fp32", "bf16", "int8", "int4", or "auto", the fastest here (None: as generate.precision says). The
        `reading` of the result says which one it is. In any other precision than fp32 a model cannot be trained, as
        its matrices in float32 are dropped.

    Raises UserError if the run or the checkpoint is not whole, and for a precision that the device cannot multiply.
    """
    if precision not in (None, *get_args(Asked)):
        raise UserError(f"precision={precision} is not a precision; use {', '.join(get_args(Asked))}")
    run = Run(Path(path))
    if run.path.suffix in (".yaml", ".yml") and run.path.is_file():
        advice = f"`transduce train {path}` makes a run of it, a directory in runs/"
        raise UserError(f"{path} is a recipe, not a run; {advice}")
    if not any((run.path / name).exists() for name in ("config.yaml", "config.json")):
        raise UserError(unread.explanation(run.path))
    if (run.path / "config.json").is_file() and not (run.path / "config.yaml").exists():
        certificate.require_intact(run.path)
        folder = imported.read_folder(run.path)
        config = changed(folder.recipe, overrides, device)
        model = folder.model.to(device_of(config.train)).eval()
        reading = read_in(model, precision or config.generate.precision)
        return Transducer(model, Readers(folder.tokenizer), config, None, reading)
    imported.require_certificate(run)
    config = changed(run.recipe, overrides, device)
    opened = open_run(run, checkpoint, config)
    model = opened.model.to(device_of(config.train)).eval()
    reading = read_in(model, precision or config.generate.precision, opened.checkpoint)
    return Transducer(model, opened.readers, config, run.path, reading)


def changed(config: Recipe, overrides: Overrides, device: str) -> Recipe:
    """Returns a recipe with overrides and the device to use."""
    data = to_data(config)
    for dotted, value in [*pairs(overrides), ("train.device", device)]:
        override(data, dotted, value)
    config = from_data(Recipe, data)
    return dataclasses.replace(config, task=config.task.suited(config.data))


def import_model(source: str | Path, out: str | Path | None = None) -> Run:
    """Makes a run of the model in a Hugging Face folder or of hub:OWNER/NAME, and returns it.

    out: the directory of the run (None: runs/NAME). The last file written in it is certificate.json.

    Raises UserError where the folder is not whole, its model is unknown, or the run would compute other numbers.
    """
    folder = hub.snapshot(str(source)) if str(source).startswith(hub.PREFIX) else Path(source)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory; give one with config.json and safetensors, or hub:OWNER/NAME")
    name = str(source).rsplit("/", 1)[-1] if str(source).startswith(hub.PREFIX) else folder.resolve().name
    return imported.write(folder, require_new(Path("runs") / name if out is None else Path(out)))


def require_new(out: Path) -> Path:
    """Returns a directory that will be written. Raises UserError where it is the current directory."""
    if out.exists() and out.samefile(Path()):
        raise UserError(f"{out} is the directory you are in; name another one, which will be made")
    return out


def export(run: str | Path, folder: str | Path, *, checkpoint: str = "best", adapter: bool = False) -> None:
    """Writes a run as a folder that transformers opens with its own classes. Raises UserError if none of them fits.

    adapter: of a run with tune=lora or dora, write the adapters alone, as PEFT opens them.
    """
    if adapter:
        opened = open_run(Run(Path(run)), checkpoint, merged=False)
        size = opened.recipe.task.size(opened.readers)
        peft_adapter.write(opened.model, opened.recipe.model, size, opened.recipe.start, require_new(Path(folder)))
        return
    model = load(run, checkpoint=checkpoint, device="cpu")
    exported.write(model.model, model.tokenizer, model.recipe, Path(run), require_new(Path(folder)))


def quantise(
    run: str | Path, precision: Precision = "int4", *, checkpoint: str = "best", lines: int = 256,
    overrides: Overrides = (),
) -> dict[str, Any]:  # fmt: skip
    """Writes the weights of a checkpoint in fewer bits beside it, for `load(run, precision=...)`.

    Returns the certificate of these codes.

    precision: "int4" or "int8".
    lines: of the training data, on which codes of four bits are fitted to compensate each other's errors (0: they are
        not fitted).
    overrides: keys of the recipe to change, such as where the data lies now.
    Raises UserError where the run has no weights to convert, or the data cannot be read.
    """
    if precision not in ("int4", "int8"):
        raise UserError(f"precision={precision} has no codes to write; use int4 or int8")
    if lines < 0:
        raise UserError(f"lines={lines} must not be negative; use 256, or 0 for no compensation")
    of_run = Run(Path(run))
    if not (of_run.path / "config.yaml").is_file():
        raise UserError(f"{run} is not a run, beside whose checkpoint codes could lie; import it: transduce import DIR")
    imported.require_certificate(of_run)
    return write_codes(open_run(of_run, checkpoint, changed(of_run.recipe, overrides, "cpu")), precision, lines)


def parity(first: str | Path, second: str | Path, texts: Iterable[str] = (), source: str = "") -> list[Apart]:
    """Returns the differences of two models at every layer, on texts. Raises UserError.

    texts: are read by both models (none: some are made here).
    """
    a, b = (load(path, device="cpu") for path in (first, second))
    return layer_by_layer(a.model, b.model, a.tokenizer, list(texts), source, a.task.begins(a.tokenizer))


def build(
    name: str, *, device: str = "auto", overrides: Overrides = (), vocab_size: int | None = None, seed: int = 0
) -> Model:
    """Returns a published model, built from its shape, with start values: build("gpt-2-124m", overrides={"layers": 4}).

    name: an id of `transduce catalogue ls`.
    device: "auto", "cpu", "cuda", or "meta", where a model of any size has shapes and no numbers.
    overrides: dotted keys of the model.
    vocab_size: entries of the vocabulary (None: as published).
    seed: of the start values. (`load` reads published weights.)

    Raises UserError for an unknown id, one that cannot be built, and a model that does not fit the memory.
    """
    config, rows = published.config_of(name, pairs(overrides))
    if device not in ("auto", "cpu", "cuda", "meta"):
        raise UserError(f"device={device} is not a device; use auto, cpu, cuda or meta")
    where = torch.device("meta") if device == "meta" else device_of(TrainConfig(device=device))
    return published.make(config, rows if vocab_size is None else vocab_size, where, seed)


class Prepared(NamedTuple):
    """The result of `prepare`.

    splits: for each, its rows, and the tokens of each column of text.
    bytes: of all shards.
    """

    path: Path
    splits: dict[str, dict[str, Any]]
    vocab_size: int
    bytes: int
    shards: int


def prepare(
    spec: str = recipes.DEFAULT,
    overrides: Overrides = (),
    *,
    out: str | Path,
    processes: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """Encodes the data of a recipe once, into a folder of shards that `train` reads: prepared=DIR.

    spec: a recipe, or a file or folder of data, which gets the recipe that fits it.
    out: the folder of the shards. Shards in it that are whole are kept, so that an interrupted call can be repeated.
    processes: how many encode (None: one for each CPU).
    say: is called with each line that the user should read.
    progress: is called with the number of characters encoded so far.
    Raises UserError where `out` holds something else.
    """
    if processes is not None and not 1 <= processes <= 256:
        raise UserError(f"processes={processes} must be from 1 to 256; one for each CPU is enough")
    changes = pairs(overrides)
    if spec not in recipes.names() and (Path(spec).is_dir() or Path(spec).suffix not in (".yaml", ".yml")):
        words = words_for(read.at_home(spec))
        if words is not None:
            more = [(key, value) for key, _, value in (word.partition("=") for word in words[1:])]
            spec, changes = words[0], [("data.path", spec), *more, *changes]
    config, start = started(spec, changes)
    given = None if start is None else start.readers.tokenizer
    shards = prepare_recipe(config, Path(out), given=given, processes=processes, say=say, progress=progress)
    splits = {name: rows_and_tokens(columns) for name, columns in shards.splits.items()}
    size = Tokenizer.load(shards.folder / "tokenizer").vocab_size
    files = shards.index.shards
    return Prepared(shards.folder, splits, size, sum(shard.size for shard in files), len(files))


def rows_and_tokens(columns: Columns) -> dict[str, Any]:
    """Returns the number of rows of a split, and the number of tokens of each column of text."""
    texts = {name: values for name, values in columns.values.items() if isinstance(values, Encoded)}
    return {"rows": len(columns), "tokens": {name: len(values.ids.flat) for name, values in texts.items()}}


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
        counted = costs(work, job.loader.batch(0, 0), job.loader.rows.shape)
        timed = measured(work, (batch for _, batch in job.loader.stream())) if probe else None
    return Plan(job.recipe, device, job.loader.size(0), counted, timed)


def doctor(spec: str = recipes.DEFAULT, overrides: Overrides = (), *, preview: int = 3) -> Findings:
    """Returns the faults and sizes of a recipe's data, to be seen before training. Writes nothing."""
    config, start = started(spec, overrides)
    task = config.task
    splits = config.data.load(task.reads)
    texts = list(task.texts(splits["train"]))
    tokenizer = None if start is None else start.readers.tokenizer
    if start is None and config.tokenizer is not None:
        tokenizer = config.tokenizer.train(texts)
    readers = Readers(tokenizer, task.readers(splits["train"]))
    encoded = {name: task.examples(columns, readers) for name, columns in splits.items()}
    unread = [*config.data.remarks(task.reads), *task.remarks(readers)]
    seed = config.train.seed
    return examine(splits, encoded, tokenizer, config.batch, seed=seed, rows=preview, unread=unread)


def train_tokenizer(files: Iterable[str], kind: str, **options: Any) -> Tokenizer:
    """Returns a tokeniser trained on the lines of text files, which are not held in memory. Raises UserError."""
    paths = [path for file in files for path in read.required(Path(), file, hint="")]
    config: TokenizerConfig = from_data(_Tokenizer, {"tokenizer": {"kind": kind, **options}}).tokenizer
    return config.train(line for path in paths for line in read.each(path, 1_000_000, "split the line"))


@dataclass(frozen=True, kw_only=True)
class _Tokenizer:
    """A tokeniser alone, so that errors name `tokenizer.vocab_size` as in a recipe."""

    tokenizer: TokenizerConfig
