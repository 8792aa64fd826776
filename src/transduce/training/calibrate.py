"""Temperature scaling: one number makes probabilities mean what they say.   Guo et al. 2017, sec. 4.2.

Tested in tests/tasks/test_windows.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index
from transduce.errors import UserError
from transduce.runs.report import draw_reliability
from transduce.tasks.classifying import ClassifyingConfig
from transduce.tasks.measures.calibration import expected_error, reliability
from transduce.tasks.measures.measure import Sample
from transduce.tasks.reading import log_softmax
from transduce.tasks.task import Split, TaskConfig
from transduce.training.session import Session

LOWEST, HIGHEST = 0.01, 100.0  # temperatures
HALVINGS = 60  # of what is between them, on a scale of logarithms: to the last bits of a float64


class Scores(NamedTuple):
    """log p of every class of every row, (rows, classes), and the class that was right, (rows,)."""

    log_p: NDArray[np.float64]
    classes: Index

    def at(self, temperature: float) -> "Scores":
        """Returns log softmax(logits / temperature); log p differs from the logits by a constant for each row."""
        return Scores(log_softmax(self.log_p / temperature), self.classes)

    @property
    def nll(self) -> float:
        """Returns the mean of -log p of what was right."""
        return float(-self.log_p[np.arange(len(self.classes)), self.classes].mean())

    @property
    def certainty(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the probability of the likeliest class of each row, and 1 where it was right, else 0."""
        return np.exp(self.log_p.max(-1)), (self.log_p.argmax(-1) == self.classes).astype(np.float64)


def require_valid(task: TaskConfig, splits: Iterable[str]) -> None:
    """Raises UserError where a temperature is to be fitted, and there is nothing to fit it to."""
    if not isinstance(task, ClassifyingConfig) or not task.calibrate:
        return
    if task.temperature != 1.0:
        raise UserError(f"task.calibrate=true fits the temperature; leave task.temperature={task.temperature:g} out")
    if "valid" not in splits:
        what = "task.calibrate=true fits a temperature to a validation split, and there is none"
        raise UserError(f"{what}; give a file valid.*, or set data.valid_fraction=0.1")


def calibrate(session: Session) -> dict[str, Any]:
    """Fits the temperature of the best model where it is asked for, and sets it in the job.

    Returns what result.json keeps of it; {}: it was not asked for, or nothing fits.
    """
    job, task = session.job, session.job.recipe.task
    if not isinstance(task, ClassifyingConfig) or not task.calibrate or job.valid is None:
        return {}
    rows = {split.name: scores(predicted(session, split)) for split in (job.valid, job.test) if split is not None}
    temperature = fitted(rows[job.valid.name])
    if temperature is None:
        session.say(
            "no temperature fits: the larger the logits, the better the model is on valid; they stay as they are"
        )
        return {}
    session.job = replace(job, recipe=replace(job.recipe, task=replace(task, temperature=temperature)))
    out: dict[str, Any] = {"temperature": temperature}
    for name, one in rows.items():
        pair = one, one.at(temperature)
        errors, losses = [expected_error(*each.certainty) for each in pair], [each.nll for each in pair]
        out[name] = {"calibration-error": errors, "nll": losses}
        session.say(
            f"calibration on {name}, temperature {temperature:.3f}: calibration error {errors[0]:.4f} before, "
            f"{errors[1]:.4f} after; -log p {losses[0]:.4f} before, {losses[1]:.4f} after"
        )
        curves = {which: reliability(*each.certainty) for which, each in zip(("before", "after"), pair, strict=True)}
        path: Path = session.run.path / "plots" / f"calibration-{name}.png"
        draw_reliability(curves, path, f"{session.run.path.name}: {name}")
    return {"calibration": out}


def predicted(session: Session, split: Split) -> Sequence[Sample]:
    """Returns the predictions for all rows of a split."""
    job, model = session.job, session.job.model
    training = model.training
    model.eval()
    try:
        return job.recipe.task.samples(model, job.readers, split, job.recipe.generate, None)
    finally:
        model.train(training)


def scores(samples: Sequence[Sample]) -> Scores:
    """Returns the scores of predictions that have a probability for each class."""
    names = sorted(samples[0].prediction.probabilities)
    shares = np.array([[sample.prediction.probabilities[name] for name in names] for sample in samples])
    classes = np.array([names.index(sample.expected) for sample in samples], dtype=np.int64)
    return Scores(np.log(np.maximum(shares, 1e-300)), classes)


def fitted(rows: Scores) -> float | None:
    """Returns the temperature with the smallest mean of -log p; None: the smaller the temperature, the better.

    The mean is convex in 1 / T, and its slope there is that of what a model expects of its logits above what was right,
    E[z_c] - z_y, whose sign is halved to.
    """
    right = rows.log_p[np.arange(len(rows.classes)), rows.classes]

    def slope(temperature: float) -> float:
        share = np.exp(rows.at(temperature).log_p)
        return float(((share * rows.log_p).sum(-1) - right).mean())

    if slope(LOWEST) <= 0:
        return None
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(np.exp(middle))) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))
