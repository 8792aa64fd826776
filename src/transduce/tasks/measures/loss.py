"""The loss and what is computed of it alone."""

import math
from dataclasses import dataclass
from typing import ClassVar

from transduce.data.examples import Index
from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


def mean_of(outcome: Outcome, rows: Index | slice = slice(None)) -> float:
    """Returns the loss per target of some batches."""
    total, count = outcome.parts[rows].sum(0)
    return float(total / max(count, 1))


@dataclass(frozen=True, kw_only=True)
class LossMeasure(Measure):
    """-log p per target in nats. Its interval draws whole batches, since neighbouring targets depend on each other."""

    kind: ClassVar[str] = "loss"
    label: ClassVar[str] = "loss"
    sign: ClassVar[int] = -1

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        ends = interval(lambda rows: self.value(outcome, mean_of(outcome, rows)), len(outcome.parts), draws)
        return Measured(self.value(outcome, outcome.loss), *ends)

    def value(self, outcome: Outcome, loss: float) -> float:
        return loss


@dataclass(frozen=True, kw_only=True)
class Perplexity(LossMeasure):
    """exp(loss): among how many equally likely tokens the model wavers."""

    kind: ClassVar[str] = "perplexity"
    label: ClassVar[str] = "perplexity"

    def value(self, outcome: Outcome, loss: float) -> float:
        return math.exp(min(loss, 700))

    def text(self, value: float) -> str:
        return f"{value:.3f}"


@dataclass(frozen=True, kw_only=True)
class BitsPerByte(LossMeasure):
    """loss count / (bytes ln 2): comparable between tokenisers."""

    kind: ClassVar[str] = "bits-per-byte"
    label: ClassVar[str] = "bits per byte"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        return super().of(outcome, draws)._replace(means=outcome.bytes > 0)

    def value(self, outcome: Outcome, loss: float) -> float:
        return loss * outcome.count / (max(outcome.bytes, 1) * math.log(2))
