"""Measures of answers by the official rules of SQuAD.

Rajpurkar et al. 2016, arXiv:1606.05250, sec. 6.1, and evaluate-v2.0.py of https://rajpurkar.github.io/SQuAD-explorer.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

ARTICLES = re.compile(r"\b(a|an|the)\b")
SIGNS = set(string.punctuation)


class Right(NamedTuple):
    """Right answers, none where there is none, and the answer of what needs no model."""

    texts: tuple[str, ...]
    simple: str


def plain(text: str) -> str:
    """Returns a text in lower case, without signs and articles, with single blanks."""
    text = "".join(c for c in text.lower() if c not in SIGNS)
    return " ".join(ARTICLES.sub(" ", text).split())


def same(answer: str, right: str) -> float:
    """Returns 1 where both are the same plain text, else 0."""
    return float(plain(answer) == plain(right))


def overlap(answer: str, right: str) -> float:
    """Returns F1 of the words of both; of no words 1 where both have none, else 0."""
    ours, theirs = plain(answer).split(), plain(right).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


@dataclass(frozen=True, kw_only=True)
class AnswerMeasure(Measure):
    """The mean over questions of the best value over their right answers."""

    of_what: ClassVar[str] = "answer"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        rights: Sequence[Right] = [sample.beside for sample in outcome.samples]
        values = np.array([self.best(s.output, r) for s, r in zip(outcome.samples, rights, strict=True)])
        simple = float(np.mean([self.best(right.simple, right) for right in rights])) if rights else 0.0
        ends = interval(lambda rows: float(values[rows].mean()), len(values), draws)
        baseline = ("the sentence with most words of the question", simple)
        return Measured(float(values.mean()) if len(values) else 0.0, *ends, baseline=baseline)

    def best(self, answer: str, right: Right) -> float:
        return max(self.value(answer, text) for text in right.texts or ("",))

    def value(self, answer: str, right: str) -> float:
        raise AssertionError("a kind of AnswerMeasure defines value")

    def text(self, value: float) -> str:
        return f"{value:.2%}"


@dataclass(frozen=True, kw_only=True)
class AnswerF1(AnswerMeasure):
    """F1 of the words of an answer, without signs and articles, 0 to 1, by the rules of SQuAD."""

    kind: ClassVar[str] = "answer-f1"
    label: ClassVar[str] = "F1"

    def value(self, answer: str, right: str) -> float:
        return overlap(answer, right)


@dataclass(frozen=True, kw_only=True)
class AnswerExact(AnswerMeasure):
    """The share of answers that are a right one, signs and articles left out, by the rules of SQuAD."""

    kind: ClassVar[str] = "answer-exact"
    label: ClassVar[str] = "exact match"

    def value(self, answer: str, right: str) -> float:
        return same(answer, right)
