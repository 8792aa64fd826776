"""The contract of measures: predictions and what was expected to a number, with an interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.config import Part
from transduce.data.examples import Index

DRAWS = 1000  # of a bootstrap


class Sample(NamedTuple):
    """One example as text. For a language model `source` is the prompt and `expected` how the text goes on.

    prediction: what a task's `predict` gave; None: nothing but the text.
    beside: what the measures of a task need besides, such as other right answers.
    """

    source: str
    expected: str
    output: str
    prediction: Any = None
    beside: Any = None


class Measured(NamedTuple):
    """A number that was measured.

    low, high: the ends of an interval that holds it in 95 of 100 draws of other data (None: none was asked for).
    note: how it was computed, such as the signature of BLEU.
    baseline: what needs no model, and its value.
    means: it means something; BLEU does not where no text has four words.
    """

    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    baseline: tuple[str, float] | None = None
    means: bool = True


class Grid(NamedTuple):
    """A table of counts.

    names: of its rows, what was expected, and of its columns, what was predicted.
    counts: (rows, columns).
    """

    names: list[str]
    counts: list[list[int]]

    def confusions(self, most: int = 5) -> list[str]:
        """Returns a sentence for each pair that was taken for another most often."""
        wrong = [(n, i, j) for i, row in enumerate(self.counts) for j, n in enumerate(row) if i != j and n]
        ranked = sorted(wrong, key=lambda cell: -cell[0])[:most]
        return [f"{self.names[i]} taken for {self.names[j]}: {n:,} of {sum(self.counts[i]):,}" for n, i, j in ranked]


@dataclass(frozen=True)
class Outcome:
    """The results of a model on a split.

    loss: in nats per target.
    count: targets.
    parts: (batches, 2) float64, the sum of losses and the number of targets of each batch.
    samples: its predictions, of all rows or some.
    references: the last column of the whole split.
    form: the Unicode form in which texts are compared.
    bytes: of the text whose tokens are the targets, in UTF-8; 0: not known.
    """

    loss: float
    count: int
    parts: NDArray[np.float64]
    samples: Sequence[Sample] = ()
    references: Sequence[Any] = field(default_factory=tuple[Any, ...])
    form: Literal["NFC", "NFKC"] = "NFC"
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Measure(Part):
    """One measure."""

    folder: ClassVar[str] = "transduce.tasks.measures"
    label: ClassVar[str]  # its name for people
    sign: ClassVar[int] = 1  # 1 where more is better, else -1
    of_what: ClassVar[str] = ""  # the kind of predictions that it looks at, such as text; "": at the loss alone

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        """Measures an outcome. draws: of the bootstrap that gives the interval; 0: none is made."""
        raise AssertionError("a kind of Measure defines of")

    def text(self, value: float) -> str:
        """Returns a value as people read it."""
        return f"{value:.4f}"

    def sentence(self, measured: Measured) -> str:
        """Returns a measured value with its name and, where there is one, its interval."""
        ends = (
            ""
            if measured.low is None or measured.high is None
            else f" ({self.text(measured.low)} to {self.text(measured.high)})"
        )
        return f"{self.label} {self.text(measured.value)}{ends}"


def interval(
    statistic: Callable[[Index], float], count: int, draws: int
) -> tuple[float, float] | tuple[None, None]:  # fmt: skip
    """Returns the middle 95 % of a statistic of rows drawn with replacement.   Efron 1979.

    statistic: of the rows' numbers.
    """
    if not draws or not count:
        return None, None
    rng = np.random.default_rng(0)
    values = [statistic(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
