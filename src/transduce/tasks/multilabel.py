"""Several labels for each text: none, one or more of a few."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data.columns import LABELS, TEXT, Columns
from transduce.data.readers.label_sets import LabelSets
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import Notice, UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.models import Model
from transduce.tasks.measures.label_sets import MacroLabelF1, MicroF1
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.reading import require_one_stack
from transduce.tasks.task import Split
from transduce.tasks.valued import Valued, ValuedConfig


class Multilabelled(NamedTuple):
    """The labels of a text, the likeliest first.

    probabilities: of all labels, each by itself, the likeliest first; {} for a text of blanks.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class MultilabelConfig(ValuedConfig):
    """A text, and any number of a few labels.

    mark: what parts labels in a cell that is text; a list needs none.
    threshold: the least probability of a label that is given.
    """

    kind: ClassVar[str] = "multilabel"
    reads: ClassVar[tuple[str, ...]] = (TEXT, LABELS)
    verb: ClassVar[str] = "classify"
    gives: ClassVar[str] = "labels"
    mark: Literal["comma", "semicolon", "bar", "space"] = "comma"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold < 1.0:
            raise UserError(f"threshold={self.threshold} is not between 0 and 1; use 0.5")

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "multilabel"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {LABELS: LabelSets(mark=self.mark).fit(train[LABELS], LABELS)}

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a head that has a logit of each label."""
        count = readers[LABELS].size
        require_one_stack(model, self.kind)
        if not isinstance(model.head, ClassesHeadConfig):
            pool = ("last",) if isinstance(model, DecoderConfig) else ("mean",)
            return replace(model, head=ClassesHeadConfig(classes=count, pool=pool))
        if model.head.classes not in (None, count):
            raise UserError(f"model.head.classes={model.head.classes}, but the data have {count} labels; leave it out")
        return replace(model, head=replace(model.head, classes=count))

    def check(self, model: Model, readers: Readers) -> None:
        if model.pooled_head.size != readers[LABELS].size:
            raise UserError(f"the head has {model.pooled_head.size} outputs for {readers[LABELS].size} labels")

    def examples(self, columns: Columns, readers: Readers) -> Valued:
        return self.valued(columns, readers, readers[LABELS].encode(columns[LABELS], LABELS))

    def measures(self) -> tuple[Measure, ...]:
        return MicroF1(), MacroLabelF1()

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[Multilabelled]:  # fmt: skip
        """Returns the labels of each text whose probability is `threshold` or more."""
        names = cast(LabelSets, readers[LABELS]).names
        full = [i for i, text in enumerate(inputs) if text.strip()]
        logits = dict(zip(full, self.outputs(model, readers, [inputs[i] for i in full]), strict=True))
        empty = Multilabelled((), {})
        return [self.labelled(names, logits[i]) if i in logits else empty for i in range(len(inputs))]

    def labelled(self, names: Sequence[str], logits: NDArray[Any]) -> Multilabelled:
        shares = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700)))
        ranked = {names[i]: float(shares[i]) for i in cast("list[int]", np.argsort(-shares, kind="stable").tolist())}
        return Multilabelled(tuple(name for name, share in ranked.items() if share >= self.threshold), ranked)

    def line(self, prediction: Multilabelled) -> str:
        return ", ".join(prediction.labels)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns those of all rows, since they cost no more than the loss; none where limit is 0."""
        if limit == 0:
            return []
        inputs, reader = self.inputs(split.columns), cast(LabelSets, readers[LABELS])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)  # what is cut off is said before the training
            answers = self.predict(model, readers, inputs, options)
        out = list[Sample]()
        for text, value, answer in zip(inputs, split.columns[LABELS], answers, strict=True):
            wanted = tuple(sorted(reader.labels(value), key=reader.names.index))
            got = tuple(sorted(answer.labels, key=reader.names.index))
            out.append(Sample(text, ", ".join(wanted), ", ".join(got), answer, (wanted, got)))
        return out
