"""Regression: a number for each text, or for each pair of texts."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np

from transduce.data.columns import OTHER, TEXT, Columns
from transduce.data.readers.numbers import Numbers, plain
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import Notice, UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.heads.numbers import NumbersHeadConfig
from transduce.model.models import Model
from transduce.tasks.measures.correlation import Pearson, Spearman
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.numbers import MeanAbsoluteError
from transduce.tasks.reading import require_one_stack
from transduce.tasks.task import Split
from transduce.tasks.valued import Valued, ValuedConfig

NUMBER = "number"


@dataclass(frozen=True, kw_only=True)
class RegressConfig(ValuedConfig):
    """A text, and a number that belongs to it, which is learnt at mean 0 and deviation 1."""

    kind: ClassVar[str] = "regress"
    reads: ClassVar[tuple[str, ...]] = (TEXT, NUMBER)
    verb: ClassVar[str] = "regress"
    gives: ClassVar[str] = "number"

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "regression"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {NUMBER: Numbers().fit(train[NUMBER], NUMBER)}

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a head that gives a number, in the place of one that predicts something else."""
        require_one_stack(model, self.kind)
        if isinstance(model.head, NumbersHeadConfig):
            return model
        return replace(model, head=NumbersHeadConfig(pool=("last",) if isinstance(model, DecoderConfig) else ("mean",)))

    def check(self, model: Model, readers: Readers) -> None:
        if model.pooled_head.size != 1:
            raise UserError(f"the head gives {model.pooled_head.size} numbers, but task={self.kind} needs one")

    def examples(self, columns: Columns, readers: Readers) -> Valued:
        return self.valued(columns, readers, readers[NUMBER].encode(columns[NUMBER], NUMBER))

    def measures(self) -> tuple[Measure, ...]:
        return Spearman(), Pearson(), MeanAbsoluteError()

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[float]:  # fmt: skip
        """Returns the number of each text, or of each pair of texts, in the unit of the data."""
        if not inputs:
            return []
        results = np.array(self.outputs(model, readers, inputs), dtype=np.float32).reshape(len(inputs), 1)
        return cast(Numbers, readers[NUMBER]).decode(results)

    def line(self, prediction: float) -> str:
        return f"{prediction:.6g}"

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns those of all rows, since they cost no more than the loss; none where limit is 0."""
        if limit == 0:
            return []
        inputs, expected = self.inputs(split.columns), plain(split.columns[NUMBER], NUMBER).tolist()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)  # what is cut off is said before the training
            answers = self.predict(model, readers, inputs, options)
        texts = [text if isinstance(text, str) else " | ".join(text) for text in inputs]
        rows = zip(texts, expected, answers, strict=True)
        return [Sample(text, f"{wanted:.9g}", f"{answer:.9g}", answer) for text, wanted, answer in rows]


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig(RegressConfig):
    """Two texts, and a number that says how alike they are. Both are read in one row, as a cross-encoder does.

    Devlin et al. 2018, sec. 4.1, STS-B. task=embed makes a vector of each text by itself instead.
    """

    kind: ClassVar[str] = "similarity"
    reads: ClassVar[tuple[str, ...]] = (TEXT, OTHER, NUMBER)
    two: ClassVar[bool] = True
