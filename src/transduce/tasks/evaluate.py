"""The quality of a model on a split: its loss, and what its task measures, with samples to read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from transduce.data.loader import Loader
from transduce.data.readers.reader import Readers
from transduce.generate.config import GenerateConfig
from transduce.model.models import Model
from transduce.objectives.carry import Carried
from transduce.objectives.objective import Objective
from transduce.tasks.measures.measure import Grid, Measure, Measured, Outcome, Sample
from transduce.tasks.task import Split, TaskConfig


@dataclass(frozen=True)
class Evaluation:
    """Measured on a split.

    loss: nats per target, without smoothing.
    count: targets.
    values: what was measured, by the kind of measure.
    measures: how, in the order in which they are told.
    split: its name.
    grid: what was expected against what was predicted, where both are of a few kinds.
    means: of metrics of the objective, and of the loss of each source of a mixture, over targets.
    """

    loss: float
    count: int
    values: dict[str, Measured] = field(default_factory=dict[str, Measured])
    measures: tuple[Measure, ...] = ()
    samples: tuple[Sample, ...] = ()
    split: str | None = None
    grid: Grid | None = None
    means: dict[str, float] = field(default_factory=dict[str, float])

    def score(self, measure: Measure) -> tuple[float, float]:
        """Returns the value of a measure, then the loss for ties; larger is better."""
        measured = self.values.get(measure.kind)
        return -self.loss if measured is None else measure.sign * measured.value, -self.loss

    def sentences(self, *, signed: bool = False) -> list[str]:
        """Returns what was measured, for people. signed: with how it was computed."""
        loss = self.values.get("loss")
        lines = [f"loss {self.loss:.4f}"] if loss is None else []
        lines += [f"{name} {value:.4f}" for name, value in self.means.items()]
        for measure in self.measures:
            if (measured := self.values[measure.kind]).means:
                lines.append(measure.sentence(measured) + (f" ({measured.note})" if signed and measured.note else ""))
        return lines

    def line(self, *, signed: bool = False) -> str:
        """Returns the same in one line."""
        return "  ".join(self.sentences(signed=signed))

    def as_data(self, samples: int | None = None) -> dict[str, Any]:
        """Returns plain data: each value, the ends of its interval, how it was computed, some samples."""
        intervals = {kind: [one.low, one.high] for kind, one in self.values.items() if one.low is not None}
        notes = {kind: one.note for kind, one in self.values.items() if one.note}
        values = {"loss": self.loss, **self.means, **{kind: one.value for kind, one in self.values.items()}}
        part = [sample._asdict() for sample in self.samples[:samples]] if samples else []
        rows = [{name: row[name] for name in ("source", "expected", "output")} for row in part]
        grid = {} if self.grid is None else {"confusion": self.grid._asdict()}
        data = {**values, "count": self.count, "intervals": intervals, "notes": notes, **grid}
        return data if samples is None else {"split": self.split, **data, "samples": rows}

    @property
    def verdict(self) -> str | None:
        """Returns a sentence where a model is no better than what needs none (None: it is better)."""
        if all(sample.output == sample.expected for sample in self.samples):
            return None  # as of rows that all have one label
        for measure in self.measures:
            measured = self.values[measure.kind]
            if measured.baseline is None or measure.sign * measured.value > measure.sign * measured.baseline[1]:
                continue
            worth = f"{measure.label} {measure.text(measured.value)}"
            how = f"{measured.baseline[0]}, which has {measure.text(measured.baseline[1])}"
            return f"{worth} is no better than {how}: train longer, or check that the inputs tell what is asked of them"
        return None

    def numbers(self) -> dict[str, float]:
        """Returns what goes into metrics.jsonl."""
        means = {f"val_{name}": value for name, value in self.means.items()}
        return {"val_loss": self.loss, **means, **{kind: measured.value for kind, measured in self.values.items()}}


def evaluate(
    task: TaskConfig,
    model: Model,
    objective: Objective,
    split: Split,
    readers: Readers,
    options: GenerateConfig,
    *,
    limit: int | None = None,
    measures: Iterable[Measure] | None = None,
    draws: int = 0,
    shows: Sequence[str] = (),
) -> Evaluation:
    """Returns the loss on all of a split, and predictions for `limit` of its rows, evenly spread (None: all).

    measures: None for those of the task.
    draws: of the bootstrap of each measure (0: no intervals).
    shows: metrics of the objective that are told, too.

    Draws nothing from a generator that training uses.
    """
    device, training = model.device, model.training
    chosen_measures = tuple(task.measures() if measures is None else measures)
    options = replace(options, draft=None)  # whose texts are the same, written one at a time
    model.eval()
    try:
        with torch.inference_mode():
            parts, sums = losses(model, objective, split.loader, device, shows)
            samples = task.samples(model, readers, split, options, limit)
    finally:
        model.train(training)
    total, count = (float(sum(column)) for column in parts.T.tolist())  # in the order of the batches
    outcome = Outcome(
        total / max(count, 1), int(count), parts, samples, split.columns[split.columns.names[-1]],
        "NFKC" if readers.tokenizer is not None and readers.tokenizer.folds else "NFC",
        task.bytes(split.columns) if any(not m.of_what for m in chosen_measures) else 0,
    )  # fmt: skip
    able = [m for m in chosen_measures if samples or not m.of_what]
    values = {m.kind: m.of(outcome, draws) for m in able}
    grid = task.grid(samples) if samples else None
    means = {name: value / max(count, 1) for name, value in zip(shows, sums.tolist(), strict=True)}
    for name, at in split.loader.parts().items():
        means[f"loss_{name}"] = float(parts[at, 0].sum() / max(parts[at, 1].sum(), 1))
    return Evaluation(outcome.loss, outcome.count, values, tuple(able), tuple(samples), split.name, grid, means)


def losses(
    model: Model, objective: Objective, loader: Loader, device: torch.device, shows: Sequence[str] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns (batches, 2), the sum of -log p of the targets of each batch and their number, and sums of metrics."""
    rows, reader = list[torch.Tensor](), Carried(model)
    for batch in loader.once():
        loss = objective(reader, batch.to(device))
        more = [loss.metrics[name].double() for name in shows]
        rows.append(torch.stack([loss.metrics["nll"].double(), loss.count.to(device).double(), *more]))
    table = torch.stack(rows).cpu().numpy() if rows else np.zeros((0, 2 + len(shows)))
    return table[:, :2], table[:, 2:].sum(0)


def samples_text(samples: Sequence[Sample]) -> str:
    """Returns samples as people read them in a file."""
    return "\n".join(f"> {s.source}\n= {s.expected}\n< {s.output}\n" for s in samples)
