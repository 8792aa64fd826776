"""The part that tasks share which tell one of a few labels: labels, the head, measures, and how an answer reads.

Tested in tests/tasks/test_classify.py and tests/tasks/test_see.py.
"""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, cast

import numpy as np

from transduce.config import kinds
from transduce.data.columns import Columns
from transduce.data.readers.labels import SHOWN, Labels
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.models import Model
from transduce.tasks.measures.calibration import CalibrationError
from transduce.tasks.measures.classes import Accuracy, MacroF1, Matthews, confusion
from transduce.tasks.measures.measure import Grid, Measure, Sample
from transduce.tasks.task import TaskConfig

LABEL = "label"


class Classified(NamedTuple):
    """The label of an input: "" for a text of blanks, which says nothing.

    probability: of that label.
    probabilities: of all labels, the likeliest first.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ClassifyingConfig(TaskConfig, ABC):
    """The keys that tasks share which tell a label.

    label_end: a label ends before the first of these marks, such as ":" in DESC:manner (None: it is taken as it is).
    many_numbers: labels that are numbers are classes, even where nearly every row has a number of its own.
    calibrate: after the training, fit a temperature to the validation split, by which a run that is opened divides the
        logits of its best checkpoint.   Guo et al. 2017.
    temperature: divides the logits.
    """

    verb: ClassVar[str] = "classify"
    shape: ClassVar[str] = "encoder"
    gives: ClassVar[str] = "class"
    label_end: str | None = None
    many_numbers: bool = False
    calibrate: bool = False
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature} must be more than 0; 1 leaves the logits as they are")

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "classification"

    def labels(self, train: Columns) -> Labels:
        """Returns the reader of labels. Raises UserError where they are rather measurements."""
        labels = Labels(end=self.label_end).fit(train[LABEL], LABEL)
        if labels.scattered(len(train)) and not self.many_numbers:
            what = f"the column `{LABEL}` of train holds {labels.size:,} different numbers in {len(train):,} rows"
            raise UserError(f"{what}, too many for classes; {numbers()}; task.many_numbers=true makes a class of each")
        return labels

    def remarks(self, readers: Readers) -> list[str]:
        labels = cast(Labels, readers[LABEL])
        shown = ", ".join(labels.names[:SHOWN]) + (", ..." if labels.size > SHOWN else "")
        remark = (
            f"the labels ({shown}) are numbers and are taken for {labels.size:,} classes, without order; {numbers()}"
        )
        return [remark] if labels.numeric else []

    def with_head(self, model: ModelConfig, readers: Readers, pool: tuple[str, ...]) -> ModelConfig:
        """Returns a model whose head tells so many classes, in the place of one that predicts tokens."""
        count = readers[LABEL].size
        if isinstance(model, EncoderDecoderConfig):
            what = f"task={self.kind} reads a {self.unit} with one stack"
            raise UserError(f"{what}; choose model.kind=encoder, or decoder")
        if not isinstance(model.head, ClassesHeadConfig):
            return replace(model, head=ClassesHeadConfig(classes=count, pool=pool))
        if model.head.classes not in (None, count):
            raise UserError(f"model.head.classes={model.head.classes}, but the data have {count} labels; leave it out")
        return replace(model, head=replace(model.head, classes=count))

    def check(self, model: Model, readers: Readers) -> None:
        head = model.pooled_head
        if head.size != readers[LABEL].size:
            raise UserError(f"the head has {head.size} outputs, but there are {readers[LABEL].size} labels")

    def measures(self) -> tuple[Measure, ...]:
        return MacroF1(), Accuracy()

    def reported(self) -> tuple[Measure, ...]:
        return (Matthews(), CalibrationError()) if self.calibrate else (Matthews(),)

    def labelled(self, readers: Readers, logits: Sequence[float]) -> Classified:
        """Returns the likeliest label of an input, and how likely each is."""
        return classified(cast(Labels, readers[LABEL]).names, logits, self.temperature)

    def grid(self, samples: Sequence[Sample]) -> Grid:
        """Returns how many inputs of each label were given which one."""
        return confusion(samples)

    def line(self, prediction: Classified) -> str:
        return prediction.label


def numbers() -> str:
    """Returns what to do where labels are meant as numbers, as part of a sentence."""
    tasks = (kind for kind in kinds(TaskConfig.folder).values() if issubclass(kind, TaskConfig))
    other = next((task.kind for task in tasks if task.gives == "number"), None)
    if other is None:
        return "to predict numbers takes a task that does, and none is installed"
    return f"task={other} predicts numbers"


def classified(names: tuple[str, ...], logits: Sequence[float], temperature: float = 1.0) -> Classified:
    """Returns the likeliest label, and how likely each is: softmax(logits / temperature)."""
    exact = np.array(logits, dtype=np.float64) / temperature
    shares = np.exp(exact - exact.max())
    shares /= shares.sum()
    order: list[int] = np.argsort(-shares, kind="stable").tolist()
    ranked = {names[i]: float(shares[i]) for i in order}
    return Classified(names[order[0]], ranked[names[order[0]]], ranked)
