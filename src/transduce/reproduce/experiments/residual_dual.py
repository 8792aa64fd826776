"""Two residual streams at two learning rates: they train without warm-up where Post-LN does not, behind Pre-LN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiments.warm_up import Training, drawn
from transduce.reproduce.mark import Mark, Measurements

PRE = "Pre-LN, half the updates,"
SLOW, FAST = "ResiDual at 0.001", "ResiDual at 0.003"


@dataclass(frozen=True, kw_only=True)
class ResidualDual(Training):
    """Six layers, no warm-up, rates of 0.001 and 0.003: ResiDual for 600 updates, Pre-LN for 300."""

    kind: ClassVar[str] = "residual-dual"
    claim = "With two residual streams six layers train without warm-up at high rates, too, but behind Pre-LN."
    source = "Xie et al. 2023, arXiv:2304.14802 (ResiDual)"
    paper = "IWSLT14 without warm-up: ResiDual 35.76 BLEU, Pre-LN 32.28, Post-LN fails"
    marks = (
        Mark(SLOW, "<=", 2.25),
        Mark(f"{FAST}, half the updates", "<=", 2.8, proposed=True),
        Mark(FAST, "<=", 2.6, proposed=True),
        Mark("ResiDual - Pre-LN at 0.003", ">=", 0.1, proposed=True),
        Mark(f"{PRE} at 0.001", "<=", 2.45, proposed=True),
    )
    minutes = 6
    explain = (
        "Losses on the validation text, nats per character; 3.3 is what the frequencies of the characters alone give. "
        "The paper has ResiDual ahead of Pre-LN without warm-up, at a rate of 0.0005 and after a whole training; in "
        "the first few hundred updates at high rates it is behind."
    )
    layers: int = 6
    steps: int = 300

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        values: Measurements = {}
        for name, rate in ((SLOW, 1e-3), (FAST, 3e-3)):
            values[f"losses, {name}"], [values[f"{name}, half the updates"], values[name]] = self.train(
                corpus, seed, "residual-dual", self.layers, rate, self.steps, 2 * self.steps
            )
        for name, rate in ((f"{PRE} at 0.001", 1e-3), (f"{PRE} at 0.003", 3e-3)):
            values[f"losses, {name}"], [values[name]] = self.train(
                corpus, seed, "pre-norm", self.layers, rate, self.steps
            )
        values["ResiDual - Pre-LN at 0.003"] = values[f"{FAST}, half the updates"] - values[f"{PRE} at 0.003"]
        return values

    def plot(self, results: Sequence[Measurements]) -> Figure:
        halves = (f"{SLOW}, half the updates", f"{FAST}, half the updates", f"{PRE} at 0.001", f"{PRE} at 0.003")
        return drawn(results, f"{self.layers} layers, no warm-up", (SLOW, FAST, *halves))
