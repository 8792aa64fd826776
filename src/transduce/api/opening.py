"""Models to use: those of runs and of Hugging Face folders, and published ones with start values."""

from pathlib import Path
from typing import get_args

import torch

from transduce.api.recipes import Overrides, changed, pairs
from transduce.errors import UserError
from transduce.exchange import certificate, unread
from transduce.exchange import importing as imported
from transduce.model.models import Model
from transduce.precision.convert import Asked
from transduce.runs.opening import calibrated, open_run
from transduce.runs.quantised import read_in
from transduce.runs.recipe import TrainConfig
from transduce.runs.run import Run
from transduce.training.device import device_of
from transduce.transducer import Transducer


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
        return Transducer(model, folder.readers, config, None, reading)
    imported.require_certificate(run)
    config = changed(run.recipe, overrides, device)
    opened = open_run(run, checkpoint, config)
    config = calibrated(run, opened, config)
    model = opened.model.to(device_of(config.train)).eval()
    reading = read_in(model, precision or config.generate.precision, opened.checkpoint)
    return Transducer(model, opened.readers, config, run.path, reading)


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
    from transduce.catalogue import build as published

    config, rows = published.config_of(name, pairs(overrides))
    if device not in ("auto", "cpu", "cuda", "meta"):
        raise UserError(f"device={device} is not a device; use auto, cpu, cuda or meta")
    where = torch.device("meta") if device == "meta" else device_of(TrainConfig(device=device))
    return published.make(config, rows if vocab_size is None else vocab_size, where, seed)
