"""Models that draw, of diffusers as runs, and runs as their folders: noise in the place of text.

A folder is that of a `DiTTransformer2DModel`, or of a pipeline that has one as `transformer`. How noise is added stands
in scheduler_config.json, of the folder or of the pipeline's `scheduler`. A certificate compares what both sides predict
of the same random pictures, times and classes.
"""

import importlib.util
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from transduce.data.images import IMAGE
from transduce.data.imported import Imported
from transduce.data.loader import BatchConfig
from transduce.data.readers import reader
from transduce.data.readers.labels import Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.disk import replace_text
from transduce.errors import UserError
from transduce.exchange import certificate, dit, remote_code
from transduce.exchange.answers import Answers
from transduce.exchange.contents import Folder, save, whole
from transduce.exchange.files import read_json
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.process.diffusion import TOLD, Diffusion, Noise
from transduce.model.process.flow import Flow
from transduce.model.process.process import Noisy, Process
from transduce.objectives.denoise import NoiseConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import Constant
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.tasks.classifying import LABEL
from transduce.tasks.draw import DrawConfig
from transduce.tasks.picturing import MIDDLE

INDEX, SCHEDULER, TRANSFORMER = "model_index.json", "scheduler_config.json", "transformer"
PREDICTS: Mapping[str, Literal["eps", "x0", "v"]] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
NOISE: Mapping[str, Noise] = {"linear": "linear", "squaredcos_cap_v2": "cosine"}
BETAS = (1e-4, 0.02)  # of the first and the last of 1,000 steps
FLOW = "FlowMatchEulerDiscreteScheduler"
TIMES = (0, 1, 17, 500, 999)  # of the pictures that are compared


def place(folder: Path) -> Path | None:
    """Returns the folder of the model that draws (None: there is none)."""
    for one in (folder, folder / TRANSFORMER):
        if (one / "config.json").is_file() and read_json(one / "config.json").get("_class_name") == dit.CLASS:
            return one
    return None


def draws(folder: Path) -> bool:
    """Says whether the model of a folder draws."""
    return place(folder) is not None


def read_folder(folder: Path) -> Folder:
    """Reads the folder of a model, or of a pipeline. Raises UserError."""
    at = place(folder)
    assert at is not None
    for one in {folder, at}:
        remote_code.require_none(one)
    model, config, channels = dit.read(at)
    if channels not in (1, 3):
        what = f"{at} draws codes of {channels} channels, for the decoder of an autoencoder, which is not read here"
        raise UserError(f"{what}; import a model of pixels, with in_channels of 1 or 3")
    config = replace(config, process=process_of(folder, at))
    model.process = config.process
    side = cast(Any, config.embedding).picture
    named: Any = read_json(folder / INDEX).get("id2label") if (folder / INDEX).is_file() else None
    names = tuple(str(cast("dict[str, Any]", named or {}).get(str(i), i)) for i in range(config.classes or 0))
    middle = (MIDDLE,) * channels
    plain = {
        IMAGE: Pictures(height=side[0], width=side[1], channels=channels, mean=middle, deviation=middle),
        LABEL: Labels(names=names),
    }
    own = reader.load(at) if (at / reader.FOLDER).is_dir() else plain
    recipe = Recipe(
        name=folder.resolve().name.strip(".") or "imported", data=Imported(origin=str(folder.resolve())),
        tokenizer=None, model=config, task=DrawConfig(pixels=side, channels=channels), objective=NoiseConfig(),
        batch=BatchConfig(batch_tokens=64, max_length=2), optimizer=AdamWConfig(learning_rate=1e-4),
        schedule=Constant(),
    )  # fmt: skip
    return Folder(model, Readers(None, own), recipe)


def process_of(folder: Path, at: Path) -> Process:
    """Returns how noise is added, by the scheduler of a folder, else that of DiT's paper. Raises UserError."""
    files = (path for path in (folder / "scheduler" / SCHEDULER, at / SCHEDULER) if path.is_file())
    if (path := next(files, None)) is None:
        return Diffusion()
    data = read_json(path)
    if data.get("_class_name") == FLOW:
        if data.get("shift", 1.0) != 1.0 or data.get("use_dynamic_shifting"):
            raise UserError(f"{path} shifts the times of drawing, which is not done here; set shift to 1.0")
        return Flow()
    predicts, noise = data.get("prediction_type", "epsilon"), data.get("beta_schedule", "linear")
    process, ends = Diffusion(steps=int(data.get("num_train_timesteps", TOLD))), betas(data)
    if predicts not in PREDICTS or noise not in NOISE or (noise == "linear" and not alike(ends, betas_of(process))):
        what = f"{path} has prediction_type={predicts}, and {noise} noise of {ends[0]:g} to {ends[1]:g}"
        own = "{:g} to {:g}".format(*betas_of(process))
        raise UserError(f"{what}; read are {', '.join(PREDICTS)}, and {', '.join(NOISE)}, of {own}")
    if data.get("trained_betas") is not None or data.get("rescale_betas_zero_snr"):
        raise UserError(f"{path} has noise of its own (trained_betas, rescale_betas_zero_snr), which is not read here")
    return replace(process, predicts=PREDICTS[predicts], noise=NOISE[noise])


def betas(data: Mapping[str, Any]) -> tuple[float, float]:
    """Returns the variance that the first and the last step add, of a scheduler."""
    return float(data.get("beta_start", BETAS[0])), float(data.get("beta_end", BETAS[1]))


def betas_of(process: Diffusion) -> tuple[float, float]:
    """Returns the same of a process, where its noise is linear."""
    return BETAS[0] * TOLD / process.steps, BETAS[1] * TOLD / process.steps


def alike(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(one, other, strict=True))


def scheduler_of(process: Process) -> dict[str, Any]:
    """Returns scheduler_config.json, with which diffusers draws at the same times."""
    if not isinstance(process, Diffusion):
        return {"_class_name": FLOW, "num_train_timesteps": TOLD, "shift": 1.0}
    predicts, noise = ({ours: theirs for theirs, ours in table.items()} for table in (PREDICTS, NOISE))
    first, last = betas_of(process)
    return {
        "_class_name": "DDIMScheduler", "num_train_timesteps": process.steps, "beta_start": first, "beta_end": last,
        "beta_schedule": noise[process.noise], "prediction_type": predicts[process.predicts], "clip_sample": False,
        "set_alpha_to_one": True, "timestep_spacing": "trailing",
    }  # fmt: skip


def write(folder: Path, out: Path) -> Run:
    """Makes a run of the model in a folder, untrained here, with a certificate. Raises UserError, leaving nothing."""
    at = place(folder)
    assert at is not None
    certificate.require_intact(folder)
    with whole(out) as beside:
        save(read_folder(folder), at, beside, ("config.json",))
        model, readers = open_run(Run(beside))[:2]
        seal(beside)
        files = (path for path in beside.rglob("*") if path.is_file() and not path.parent.is_symlink())
        hashed = certificate.hashes(beside, (p for p in files if not ({"best", "last"} & set(p.parts))))
        sources = certificate.hashes(folder, (path for path in folder.rglob("*") if path.is_file()))
        certify(model, readers, at, beside, hashed, read=sources)
    return Run(out)


def export(model: Model, readers: Readers, recipe: Recipe, folder: Path) -> None:
    """Writes a run that draws as a folder that diffusers opens, with a certificate. Raises UserError."""
    shaped = recipe.task.shaped(recipe.model, readers)
    if not isinstance(shaped, DenoiserConfig) or IMAGE not in readers.columns:
        raise UserError(f"diffusers has no class for task={recipe.task.kind}; export a run of task=draw")
    if readers[IMAGE].kind != Pictures.kind:
        what = "this run draws in the latents of an autoencoder, for which diffusers has another class"
        raise UserError(f"{what}; export a run that draws in pixels (task.latents=null)")
    process = shaped.process
    if isinstance(process, Diffusion) and process.noise == "linear" and betas_of(process)[1] > 0.999:
        what = f"model.process.steps={process.steps} bounds the linear noise of its steps, which diffusers does not"
        raise UserError(f"{what}; export a model that was trained in 21 steps or more")
    with whole(folder) as beside:
        dit.write(model, shaped, readers[IMAGE].size, beside)
        replace_text(beside / SCHEDULER, json.dumps(scheduler_of(process), indent=2) + "\n")
        readers.save(beside)
        files = certificate.hashes(beside, (path for path in beside.rglob("*") if path.is_file()))
        certify(model, readers, beside, beside, files)


def certify(
    model: Model, readers: Readers, at: Path, out: Path, files: dict[str, str], **more: Any
) -> None:  # fmt: skip
    """Compares a model with diffusers on a folder, and writes a certificate into `out`.

    Raises UserError where they differ.
    """
    noisy = drawn(model, readers)
    if importlib.util.find_spec("diffusers") is not None:
        against, theirs = "diffusers", of_diffusers(at, noisy, model.classes)
    else:
        against = "a second reading of the folder, since diffusers is not installed"
        theirs = predicted(dit.read(at)[0], noisy)
    ours = Answers({"logits": predicted(model, noisy)}, [], [])
    findings = certificate.compare(ours, Answers({"logits": theirs}, [], []))
    certificate.require_equal(findings, "the run", against)
    parameters = sum(p.numel() for p in model.parameters())
    certificate.write(out, certificate.document(findings, against, parameters, files, **more))


def drawn(model: Model, readers: Readers) -> Noisy:
    """Returns random pictures at several times, of several classes and, last, of none."""
    reader = cast(Pictures, readers[IMAGE])
    shape = (len(TIMES), reader.channels, reader.height, reader.width)
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    given = torch.arange(len(TIMES)) % model.classes
    given[-1] = -1
    return Noisy(x, torch.tensor(TIMES, dtype=torch.float32), given)


@torch.inference_mode()
def predicted(model: Model, noisy: Noisy) -> Tensor:
    """Returns all numbers that a model predicts, (B, channels * H * W)."""
    layout = dense(len(noisy.x), 1)
    assert model.head is not None
    hidden = model.eval().features(Batch(noisy, layout, noisy.given))
    return model.head(hidden, model.arranged(layout)).flatten(1)


@torch.inference_mode()
def of_diffusers(at: Path, noisy: Noisy, classes: int) -> Tensor:
    """Returns the same of the class of diffusers, whose last class is none."""
    import diffusers

    some: Any = diffusers
    theirs = some.DiTTransformer2DModel.from_pretrained(
        at, local_files_only=True, trust_remote_code=False, use_safetensors=True
    ).eval()  # fmt: skip
    given = torch.where(noisy.given < 0, classes, noisy.given)
    return theirs(noisy.x, noisy.time.long(), given).sample.flatten(1)
