"""Models that act, of Hugging Face as runs, and runs as their folders: episodes in the place of text.

A certificate compares what both sides predict of the same random episodes. How states, actions and returns are read is
no part of such folders; where they come from here, it lies in their `readers`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transduce.data.imported import Imported
from transduce.data.loader import BatchConfig
from transduce.data.readers import reader
from transduce.data.readers.actions import Actions
from transduce.data.readers.reader import Readers
from transduce.data.readers.returns import Returns
from transduce.data.readers.vectors import Vectors
from transduce.data.tracks import ACTIONS, REWARDS, STATES
from transduce.errors import UserError
from transduce.exchange import certificate
from transduce.exchange import checkpoint as published
from transduce.exchange.answers import Answers
from transduce.exchange.contents import Folder, is_of, save, whole
from transduce.exchange.families.decision_transformer import RETURN, STATE
from transduce.model.batch import SLOTS, Batch, Steps
from transduce.model.embed.trajectory import TrajectoryConfig
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.act import ActObjectiveConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import Constant
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.tasks.act import ActConfig

ROWS, STEPS = 4, 7  # of the episodes that are compared


def acts(folder: Path) -> bool:
    """Says whether the model of a folder reads episodes."""
    return is_of(folder, "acts")


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
    certificate.require_intact(folder)
    with whole(out) as beside:
        save(read_folder(folder), folder, beside, ("config.json",))
        model = open_run(Run(beside)).model
        seal(beside)
        files = (path for path in beside.rglob("*") if path.is_file() and not path.parent.is_symlink())
        hashed = certificate.hashes(beside, (p for p in files if not ({"best", "last"} & set(p.parts))))
        sources = certificate.hashes(folder, (path for path in folder.rglob("*") if path.is_file()))
        certify(model, folder, beside, hashed, read=sources)
    return Run(out)


def export(model: Model, readers: Readers, recipe: Recipe, folder: Path) -> None:
    """Writes a run that acts as a folder that transformers opens, with a certificate. Raises UserError."""
    shaped = recipe.task.shaped(recipe.model, readers)
    if not isinstance(shaped.embedding, TrajectoryConfig):
        raise UserError("this model reads episodes as ids, for which transformers has no class; use the run itself")
    with whole(folder) as beside:
        published.write(model, shaped, readers[STATES].size, beside, None)
        readers.save(beside)
        files = certificate.hashes(beside, (path for path in beside.rglob("*") if path.is_file()))
        certify(model, beside, beside, files)


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
