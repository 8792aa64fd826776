"""Exact match."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from unicodedata import normalize

import numpy as np

from transduce.tasks.measures.measure import Measure, Measured, Outcome, Sample, interval


@dataclass(frozen=True, kw_only=True)
class ExactMatch(Measure):
    """The share of outputs that are what was expected, character by character."""

    kind: ClassVar[str] = "exact"
    label: ClassVar[str] = "exact match"
    of_what: ClassVar[str] = "text"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        pairs = ((normalize(outcome.form, s.output), normalize(outcome.form, s.expected)) for s in outcome.samples)
        right = np.array([output == expected for output, expected in pairs])
        share = int(right.sum()) / max(len(right), 1)
        ends = interval(lambda rows: float(right[rows].mean()), len(right), draws)
        return Measured(share, *ends, baseline=baseline(outcome.samples))

    def text(self, value: float) -> str:
        return f"{value:.2%}"


def baseline(samples: Sequence[Sample]) -> tuple[str, float] | None:
    """Returns what needs no model, and its exact match: the most frequent answer, or the source as it is.

    For targets of one word each, where exact match may be high by chance; None for others.
    """
    targets = [sample.expected for sample in samples]
    if not targets or any(len(target.split()) > 1 for target in targets):
        return None
    (word, count), *_ = Counter(targets).most_common(1)
    copied = sum(sample.source == sample.expected for sample in samples)
    how, most = ("copying the source", copied) if copied > count else (f"always answering {word!r}", count)
    return how, most / len(targets)
