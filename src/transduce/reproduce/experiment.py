"""The contract of experiments: a claim, what must be measured for it to hold, and the measuring."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from transduce.config import Part, kinds, nearest, to_data
from transduce.errors import UserError
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["held at once", "held after a change", "failed", "incomplete", "not run"]
AT_ONCE: Verdict = "held at once"
AFTER: Verdict = "held after a change"


@dataclass(frozen=True, kw_only=True)
class Experiment(Part):
    """One claim. Its fields are the settings of the experiment, so that a test can make it small.

    claim: one sentence. source: the paper. paper: the paper's own figure, where there is one. marks: what must be
    measured, the one that matters most first. seeds, and minutes that all of them take on two cores. explain: what
    the result means; where a claim does not hold, why, as far as it is known. history: marks and settings that were
    changed after a result, the first change first.
    """

    folder: ClassVar[str] = "transduce.reproduce.experiments"
    claim: ClassVar[str]
    source: ClassVar[str]
    paper: ClassVar[str] = ""
    marks: ClassVar[tuple[Mark, ...]]
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2)
    minutes: ClassVar[float]
    explain: ClassVar[str] = ""
    history: ClassVar[tuple[Change, ...]] = ()

    def run(self, seed: int) -> Measurements:
        """Measures once. Everything random comes from the seed."""
        raise AssertionError("a kind of Experiment defines run")

    def plot(self, results: Sequence[Measurements]) -> "Figure":
        """Draws the measurements of all seeds."""
        raise AssertionError("a kind of Experiment defines plot")

    def measure(self, seed: int, data: Path | None) -> Measurements:
        """Does `run`, for an experiment that reads no files."""
        return self.run(seed)

    @property
    def hash(self) -> str:
        """Returns the hash of settings and marks: a result with other ones is not a result of this experiment."""
        text = json.dumps([to_data(self), [vars(mark) for mark in self.marks]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def verdict(self, results: Sequence[Measurements]) -> Verdict:
        """Returns what the measurements of every seed say of the claim; "incomplete" with some, "not run" with none."""
        if len(results) < len(self.seeds):
            return "incomplete" if results else "not run"
        if not all(mark.holds(results) for mark in self.marks):
            return "failed"
        return AFTER if any(change.what == "changed" for change in self.history) else AT_ONCE


@dataclass(frozen=True, kw_only=True)
class TextExperiment(Experiment):
    """A claim about language models of characters; it reads the text of `--data`."""

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        """Measures once on this text."""
        raise AssertionError("a kind of TextExperiment defines run_on")

    def measure(self, seed: int, data: Path | None) -> Measurements:
        return self.run_on(Corpus.read(data), seed)


def names() -> list[str]:
    """Returns every experiment in the folder."""
    return list(kinds(Experiment.folder))


def named(name: str) -> type[Experiment]:
    """Returns the experiment of this name. Raises UserError, with the nearest name, for an unknown one."""
    experiments = kinds(Experiment.folder)
    if name not in experiments:
        guess = nearest(name, list(experiments))
        raise UserError(
            f"there is no experiment {name}; " + (f"did you mean {guess}?" if guess else "see `transduce reproduce ls`")
        )
    return cast("type[Experiment]", experiments[name])
