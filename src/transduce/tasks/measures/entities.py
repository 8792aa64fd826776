"""Measures of tags: entities as conlleval counts them, and words.

Tjong Kim Sang & De Meulder 2003, CoNLL-2003; https://www.clips.uantwerpen.be/conll2003/ner/bin/conlleval.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transduce.data.examples import Index
from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

PREFIXES = {"B": "B", "I": "I", "O": "O", "E": "E", "S": "S", "L": "E", "U": "S"}  # BIO, IOBES and BILOU


class Span(NamedTuple):
    """Words start .. stop - 1 are of a kind."""

    kind: str
    start: int
    stop: int


def parted(tag: str) -> tuple[str, str]:
    """Returns the prefix of a tag and its kind: "B" and "person"; of one without a prefix "O" and ""."""
    prefix, dash, kind = tag.partition("-")
    return (PREFIXES[prefix], kind) if dash and prefix in PREFIXES else ("O", "")


def prefixed(tags: Sequence[str]) -> bool:
    """Says whether tags mark entities: one of them is B-, I- or the like."""
    return any(parted(tag)[1] for tag in tags)


def spans(tags: Sequence[str]) -> list[Span]:
    """Returns the entities of tags as conlleval has them: one begins at B, S, and where I or E follow another kind."""
    out, start, last = list[Span](), -1, ("O", "")
    for i, now in enumerate([*map(parted, tags), ("O", "")]):
        inside = now[0] in "IE" and last[0] in "BI" and now[1] == last[1]
        if last[0] != "O" and not inside:
            out.append(Span(last[1], start, i))
        if now[0] != "O" and not inside:
            start = i
        last = now
    return out


@dataclass(frozen=True, kw_only=True)
class EntityF1(Measure):
    """F1 = 2 TP / (2 TP + FP + FN) of entities, right where kind, beginning and end are, over all kinds together."""

    kind: ClassVar[str] = "entity-f1"
    label: ClassVar[str] = "entity F1"
    of_what: ClassVar[str] = "tags"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        counts = np.zeros((len(outcome.samples), 3), dtype=np.int64)  # right, predicted, expected
        means = False
        for row, sample in zip(counts, outcome.samples, strict=True):
            expected, predicted = sample.expected.split(), sample.output.split()
            means = means or prefixed(expected)
            there, here = set(spans(expected)), set(spans(predicted))
            row[:] = len(there & here), len(here), len(there)

        def value(rows: Index) -> float:
            right, predicted, expected = counts[rows].sum(0).tolist()
            return 2 * right / max(predicted + expected, 1)

        right, predicted, expected = counts.sum(0).tolist()
        note = f"precision {right / max(predicted, 1):.4f}, recall {right / max(expected, 1):.4f}, as conlleval counts"
        ends = interval(value, len(counts), draws)
        baseline = ("marking nothing", 0.0)
        return Measured(value(np.arange(len(counts))), *ends, note=note, baseline=baseline, means=means)


@dataclass(frozen=True, kw_only=True)
class TagAccuracy(Measure):
    """The share of words whose tag was predicted, 0 to 1."""

    kind: ClassVar[str] = "tag-accuracy"
    label: ClassVar[str] = "accuracy of tags"
    of_what: ClassVar[str] = "tags"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        counts, tags = np.zeros((len(outcome.samples), 2), dtype=np.int64), Counter[str]()
        for row, sample in zip(counts, outcome.samples, strict=True):
            expected, predicted = sample.expected.split(), sample.output.split()
            row[:] = sum(map(str.__eq__, expected, predicted)), len(expected)
            tags.update(expected)

        def value(rows: Index) -> float:
            right, words = counts[rows].sum(0).tolist()
            return right / max(words, 1)

        ends = interval(value, len(counts), draws)
        most = tags.most_common(1)
        baseline = (f"always answering {most[0][0]!r}", most[0][1] / tags.total()) if most else None
        return Measured(value(np.arange(len(counts))), *ends, baseline=baseline)

    def text(self, value: float) -> str:
        return f"{value:.2%}"
