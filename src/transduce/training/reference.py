"""The log p of all answers under the weights that a training starts from: computed once, and kept with the run.

They stand beside hashes of the answers, of the weights and of the tokeniser, so that no training and no evaluation
reads those of others, and no second model has to be in memory.

Tested in tests/tasks/test_prefer.py.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transduce.data.answers import Answers
from transduce.data.examples import Examples
from transduce.data.loader import Loader
from transduce.data.mixed import loader_of
from transduce.disk import digest, read_json, replace_text
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.runs.checkpoint import read_tensors, save_tensors, steps
from transduce.runs.prepare import folder_digest
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.start import SCRATCH
from transduce.runs.weights import weights
from transduce.tasks.task import Split
from transduce.training.precision import autocast

FOLDER, INDEX, LOG_P = "reference", "reference.json", "log_p.safetensors"


def prepare(
    run: Run, model: Model, every: Sequence[Examples], recipe: Recipe, say: Callable[[str], None]
) -> list[str]:  # fmt: skip
    """Computes the log p of all answers under a model that was not trained yet, unless the run has them.

    Returns lines to say. Raises UserError where a run that has begun has lost them.
    """
    folder = run.path / FOLDER
    if steps(run.checkpoints):
        if not (folder / INDEX).exists():
            raise UserError(f"{folder} was removed, so {run.path} cannot go on; restore it, or choose another name=")
        return []
    now = {"weights": weights_digest(model), "tokenizer": folder_digest(run.path / "tokenizer")}
    if (folder / INDEX).exists() and {key: read_json(folder / INDEX).get(key) for key in now} == now:
        return []
    say("computing the log p of the reference model, once")
    log_p = dict[str, np.ndarray[Any, Any]]()
    for examples in every:
        log_p |= computed(model, of_answers(examples), recipe)
    folder.mkdir(exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    flat = np.concatenate(list(log_p.values()))
    save_tensors({"log_p": torch.from_numpy(flat)}, folder / LOG_P)
    lengths = {key: len(values) for key, values in log_p.items()}
    index = {**now, "sha256": digest(folder / LOG_P), "answers": lengths}
    replace_text(folder / INDEX, json.dumps(index) + "\n")
    if recipe.start == SCRATCH:
        say("the reference has random weights, so a preference teaches nothing; add start=RUN, a model that answers")
    return [f"the reference is what it starts from; log p of {len(log_p):,} answers are kept in {folder}"]


@torch.inference_mode()
def computed(model: Model, answers: Answers, recipe: Recipe) -> dict[str, np.ndarray[Any, Any]]:
    """Returns log p of the ids of each answer, 0 for those of its prompt, by its key."""
    model.eval()
    flat = np.zeros(len(answers.texts.flat), dtype=np.float32)
    loader = Loader(answers, replace(recipe.batch, packing=False, workers=0), seed=0)
    for batch in loader.once():
        batch = batch.to(model.device)
        with autocast(recipe.train, model.device):
            hidden = model.features(batch).flatten(0, 1)
            targets = batch.targets.flatten()
            at = (targets >= 0).nonzero()[:, 0]
            values = model.token_head.log_p(hidden[at], targets[at])
        flat[batch.extra.place.flatten()[at].cpu().numpy()] = values.float().cpu().numpy()
    offsets = answers.texts.offsets
    return {key: flat[offsets[i] : offsets[i + 1]] for i, key in enumerate(answers.keys())}


def attached(path: Path | None, examples: Examples) -> Answers:
    """Returns examples with the log p that a run keeps of them. Raises UserError where it has none of some of them."""
    if path is None or not (path / FOLDER / INDEX).exists():
        raise UserError("this model has no run beside it that keeps the log p of its reference; open the run itself")
    answers, folder = of_answers(examples), path / FOLDER
    index = read_json(folder / INDEX)
    if index.get("tokenizer") != folder_digest(path / "tokenizer"):
        raise UserError(f"{folder} was computed with another tokeniser than that of {path}; restore it from a copy")
    if not (folder / LOG_P).exists() or index.get("sha256") != digest(folder / LOG_P):
        raise UserError(f"{folder / LOG_P} is not what was written there (its hash differs); restore it from a copy")
    flat, places, at = read_tensors(folder / LOG_P)["log_p"].numpy(), dict[str, tuple[int, int]](), 0
    for key, length in index["answers"].items():
        places[key], at = (at, at + length), at + length
    parts = list[np.ndarray[Any, Any]]()
    for number, key in enumerate(answers.keys()):
        if key not in places:
            row = number // len(answers.names) + 1
            what = f"{folder} has no log p of the answers to prompt {row}, since the data are others than in training"
            raise UserError(f"{what}; restore them, or start another run with name=")
        start, stop = places[key]
        parts.append(flat[start:stop])
    return answers.referenced(np.concatenate(parts) if parts else flat[:0])


def attached_to_split(path: Path | None, split: Split) -> Split:
    """Returns a split whose examples have their log p."""
    examples = attached(path, split.examples)
    return replace(
        split,
        examples=examples,
        loader=loader_of(examples, split.loader.config, seed=split.loader.seed, columns=split.columns),
    )


def of_answers(examples: Examples) -> Answers:
    """Returns examples that are answers. Raises UserError for others."""
    if not isinstance(examples, Answers):
        raise UserError(
            "this objective compares answers with those of a reference; use task=prefer, or objective=next-token"
        )
    return examples


def weights_digest(model: Model) -> str:
    """Returns one sha256 of all weights, by name."""
    sha = hashlib.sha256()
    for name, tensor in sorted(weights(model).items()):
        sha.update(name.encode() + b"\0")
        sha.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return sha.hexdigest()
