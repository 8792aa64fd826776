"""Training on a model's own answers: the batches, and the model at the start, which the run keeps.

Tested in tests/prefer/test_experience.py.
"""

import json
from copy import deepcopy
from functools import partial
from typing import cast

from transduce.data.columns import Columns
from transduce.data.examples import Examples
from transduce.data.loader import Loader
from transduce.data.readers.reader import Readers
from transduce.disk import read_json, replace_text
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.objectives.grpo import GrpoConfig
from transduce.prefer.experience import Experience
from transduce.runs.checkpoint import save_tensors, steps
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.weights import load_weights, weights
from transduce.tasks.explore import ExploreConfig, MinimumRiskConfig
from transduce.training.precision import autocast
from transduce.training.reference import FOLDER

MODEL, REWARD = "model.safetensors", "reward.json"


def loader(
    run: Run, recipe: Recipe, model: Model, readers: Readers, columns: Columns, examples: Examples
) -> Loader:  # fmt: skip
    """Returns the roll-outs of a model, which is at its start in a new run. Raises UserError."""
    task, objective = cast("ExploreConfig | MinimumRiskConfig", recipe.task), recipe.objective
    if not task.rewarded or not isinstance(objective, GrpoConfig):
        what = f"objective={objective.kind} learns from rewards of the model's own answers, which"
        way = "use task=explore, task=minimum-risk for pairs, or another objective"
        raise UserError(f"{what} task={task.kind} does not have; {way}")
    path, reference = run.path / FOLDER / MODEL, deepcopy(model)
    mark, record = task.reward.mark(), run.path / FOLDER / REWARD
    if steps(run.checkpoints):
        if not path.exists():
            raise UserError(f"{path} was removed, so {run.path} cannot go on; restore it, or choose another name=")
        load_weights(reference, path)
        if mark and (not record.exists() or read_json(record) != {"sha256": mark}):
            what = f"what rewards {run.path} is not what it was when the training began (its hash differs)"
            raise UserError(f"{what}; restore it, or choose another name=")
    else:
        path.parent.mkdir(exist_ok=True)
        save_tensors(weights(model), path)
        if mark:
            replace_text(record, json.dumps({"sha256": mark}) + "\n")
    return Experience(
        examples,
        columns,
        recipe.batch,
        task,
        objective,
        model,
        reference,
        readers,
        seed=recipe.train.seed,
        precise=partial(autocast, recipe.train, model.device),
    )
