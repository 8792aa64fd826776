"""The teacher of a run that learns from another one: looked at before the first step, and the same to the last one.

Tested in tests/objectives/test_distillation.py.
"""

import json

from transduce.disk import read_json, replace_text
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.objectives.distillation import Distilled
from transduce.objectives.objective import Objective
from transduce.runs.run import Run

NAME = "teacher.json"


def begin(run: Run, objective: Objective, model: Model) -> list[str]:
    """Records the teacher of a run, with a hash, and returns a line to say of it; nothing where it has none.

    Raises UserError where it is another one than the run was begun with, or one that the model cannot learn from.
    """
    if not isinstance(objective, Distilled):
        return []
    teacher, path = objective.taught(model), objective.config.teacher
    if run.readers.columns != teacher.readers.columns:
        raise UserError(f"objective.teacher={path} reads other labels than the data have; train both on the same ones")
    now, file = {"run": path, "sha256": teacher.mark}, run.path / NAME
    if file.exists() and read_json(file).get("sha256") != teacher.mark:
        what = f"{run.path} learns from {path}, whose weights have changed since it began"
        raise UserError(f"{what}; put them back, or choose another name=")
    replace_text(file, json.dumps(now, indent=1) + "\n")
    own, other = (sum(p.numel() for p in one.parameters()) for one in (model, teacher.model))
    return [f"learns from {path}, of {other:,} parameters, with {own:,} of its own"]
