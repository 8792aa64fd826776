"""Models that act, of Hugging Face as runs, and runs as their folders: episodes in the place of text.

A certificate compares what both sides predict of the same random episodes. How states, actions and returns are read is
no part of such folders; where they come from here, it lies in their `readers`.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from transduce.config import to_data
from transduce.data.imported import Imported
from transduce.data.loader import BatchConfig
from transduce.data.readers import reader
from transduce.data.readers.actions import Actions
from transduce.data.readers.reader import Readers
from transduce.data.readers.returns import Returns
from transduce.data.readers.vectors import Vectors
from transduce.data.tracks import ACTIONS, REWARDS, STATES
from transduce.disk import remove, replace_text
from transduce.exchange import certificate
from transduce.exchange import checkpoint as published
from transduce.exchange.answers import Answers
from transduce.exchange.families.decision_transformer import RETURN, STATE
from transduce.exchange.families.family import families
from transduce.exchange.files import read_json, require_new
from transduce.model.batch import SLOTS, Batch, Steps
from transduce.model.embed.trajectory import TrajectoryConfig
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.act import ActObjectiveConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import Constant
from transduce.runs import checkpoint
from transduce.runs.generators import rng_state
from transduce.runs.opening import open_run
from transduce.runs.position import Position, to_state
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.runs.weights import weights
from transduce.tasks.act import ActConfig

ROWS, STEPS = 4, 7  # of the episodes that are compared


class Folder(NamedTuple):
    """The contents of a model's folder: the model, its readers, and a recipe for both."""

    model: Model
    readers: Readers
    recipe: Recipe


def acts(folder: Path) -> bool:
    """Says whether the model of a folder reads episodes."""
    if not (folder / "config.json").is_file():
        return False
    kind = read_json(folder / "config.json").get("model_type")
    return any(family.acts for family in families() if family.model_type == kind)


def read_folder(folder: Path) -> Folder:
    """Reads a folder with config.json and safetensors. Raises UserError."""
    opened = published.read(folder)
    embedding, size = opened.config.embedding, opened.vocab_size
    assert isinstance(embedding, TrajectoryConfig)
    assert embedding.actions is not None
    plain = {
        STATES: Vectors(mean=(0.0,) * size, deviation=(1.0,) * size),
        ACTIONS: Actions(low=(-1.0,) * embedding.actions, high=(1.0,) * embedding.actions),
        REWARDS: Returns(steps=embedding.steps or 1),
    }
    recipe = Recipe(
        name=folder.resolve().name.strip(".") or "imported", data=Imported(origin=str(folder.resolve())),
        tokenizer=None, model=opened.config, task=ActConfig(), objective=ActObjectiveConfig(),
        batch=BatchConfig(batch_tokens=3840, max_length=60), optimizer=AdamWConfig(learning_rate=1e-4),
        schedule=Constant(),
    )  # fmt: skip
    own = reader.load(folder) if (folder / reader.FOLDER).is_dir() else plain
    return Folder(opened.model, Readers(None, own), recipe)


def write(folder: Path, out: Path) -> Run:
    """Makes a run of the model in a folder, untrained here, with a certificate. Raises UserError, leaving nothing."""
    require_new(out)
    certificate.require_intact(folder)
    beside = out.with_name(f".{out.name}.partial")
    remove(beside)
    try:
        save(read_folder(folder), folder, beside)
        model = open_run(Run(beside)).model
        seal(beside)
        files = (path for path in beside.rglob("*") if path.is_file() and not path.parent.is_symlink())
        hashed = certificate.hashes(beside, (p for p in files if not ({"best", "last"} & set(p.parts))))
        sources = certificate.hashes(folder, (path for path in folder.rglob("*") if path.is_file()))
        certify(model, folder, beside, hashed, read=sources)
        out.rmdir() if out.exists() else None
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Run(out)


def save(contents: Folder, folder: Path, out: Path) -> None:
    """Writes the files of a run."""
    recipe, at = contents.recipe.resolve(), out / "checkpoints" / checkpoint.name(0)
    for name in ("samples", "plots", "checkpoints", "origin"):
        (out / name).mkdir(parents=True, exist_ok=True)
    contents.readers.save(out)
    shutil.copyfile(folder / "config.json", out / "origin" / "config.json")
    state = to_state(Position(), rng_state(torch.device("cpu")), regular=False, healthy=True)
    checkpoint.write(at, {"model.safetensors": weights(contents.model), "optimizer.safetensors": {}}, state)
    for link in ("best", "last"):
        checkpoint.point(out / link, f"checkpoints/{at.name}")
    replace_text(out / "config.yaml", yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True))


def export(model: Model, readers: Readers, recipe: Recipe, folder: Path) -> None:
    """Writes a run that acts as a folder that transformers opens, with a certificate. Raises UserError."""
    require_new(folder)
    beside = folder.with_name(f".{folder.name}.partial")
    remove(beside)
    try:
        shaped = recipe.task.shaped(recipe.model, readers)
        published.write(model, shaped, readers[STATES].size, beside, None)
        readers.save(beside)
        files = certificate.hashes(beside, (path for path in beside.rglob("*") if path.is_file()))
        certify(model, beside, beside, files)
        folder.rmdir() if folder.exists() else None
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def certify(model: Model, folder: Path, out: Path, files: dict[str, str], **more: Any) -> None:
    """Compares a model with transformers on a folder, and writes a certificate into `out`.

    Raises UserError where they differ.
    """
    steps = drawn(model)
    ours = Answers({"logits": predicted(model, steps)}, [], [])
    if certificate.has_transformers():
        against, theirs = "transformers", of_transformers(folder, steps, every=len(model.heads) > 0)
    else:
        against = "a second reading of the folder, since transformers is not installed"
        theirs = predicted(read_folder(folder).model, steps)
    findings = certificate.compare(ours, Answers({"logits": theirs}, [], []))
    certificate.require_equal(findings, "the run", against)
    parameters = sum(p.numel() for p in model.parameters())
    certificate.write(out, certificate.document(findings, against, parameters, files, **more))


def drawn(model: Model) -> Steps:
    """Returns random episodes, which begin at some step of the table of times."""
    embed: Any = model.towers()[0].embed
    generator, last = torch.Generator().manual_seed(0), len(embed.time) - 1

    def numbers(size: int) -> Tensor:
        return torch.randn(ROWS, STEPS, size, generator=generator)

    begins = torch.randint(0, max(1, last - STEPS), (ROWS, 1), generator=generator)
    times = (begins + torch.arange(STEPS)).clamp(max=last)
    return Steps(numbers(1), numbers(embed.states.in_features), numbers(embed.actions.in_features), times)


@torch.inference_mode()
def predicted(model: Model, steps: Steps) -> Tensor:
    """Returns the action of each step, and where there are such heads the state and the return that follow it."""
    model.eval()
    hidden = model.features(Batch(steps, dense(ROWS, SLOTS * STEPS), steps.times))
    assert model.head is not None
    out = [model.head(hidden[:, 1::SLOTS])]
    out += [model.heads[name](hidden[:, 2::SLOTS]) for name in (STATE, RETURN) if name in model.heads]
    return torch.cat(out, -1)


@torch.inference_mode()
def of_transformers(folder: Path, steps: Steps, *, every: bool) -> Tensor:
    """Returns the same of the class of transformers. every: states and returns, too."""
    import transformers

    some: Any = transformers
    theirs = some.DecisionTransformerModel.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    ).eval()  # fmt: skip
    given = theirs(
        states=steps.states, actions=steps.actions, rewards=None, returns_to_go=steps.returns, timesteps=steps.times
    )
    out: list[Tensor] = [given.action_preds, *([given.state_preds, given.return_preds] if every else [])]
    return torch.cat(out, -1)
