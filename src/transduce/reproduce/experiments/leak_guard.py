"""A language model that can see what it is to predict learns nothing, and its loss says it is perfect."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, fit, late, tagger, tags
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements

KINDS = ("with mask", "without mask", "with a wrong shift")


@dataclass(frozen=True, kw_only=True)
class LeakGuard(Experiment):
    """Chains of symbols whose entropy is known: no honest model can do better, so what does has seen the answer."""

    kind: ClassVar[str] = "leak-guard"
    claim = "The loss of a language model that sees what it is to write goes to zero, and what it writes is junk."
    source = "Bloem 2019, Transformers from scratch"
    marks = (
        Mark("loss without mask", "<=", 0.1, proposed=True),
        Mark("loss with a wrong shift", "<=", 0.1, proposed=True),
        Mark("loss with mask - entropy", ">=", -0.02, proposed=True),
        Mark("cost of what it writes - entropy, without mask", ">=", 1, proposed=True),
        Mark("cost of what it writes - entropy, with a wrong shift", ">=", 1, proposed=True),
        Mark("cost of what it writes - entropy, with mask", "<=", 0.2, proposed=True),
    )
    minutes = 1.5
    explain = (
        "A loss below the entropy of the source is the sign of a leak. Cost: nats per symbol that the true chain needs "
        "for what the model writes by itself. With a wrong shift there is a mask, but the inputs are the targets: by "
        "itself it is given what has been written so far, as every decoder is, so its last symbol stands where in "
        "training stood the one to be written, and all it can do is copy it."
    )
    history = (
        Change(
            first="marks on models with and without a mask",
            gave="all of them were met",
            then="a model with a mask and a wrong shift, and its two marks; the claim names both leaks",
            why="a wrong shift is the commoner mistake",
            what="added",
        ),
    )
    symbols: int = 16
    tokens: int = 32
    width: int = 64
    steps: int = 500
    rate: float = 2e-3
    batch: int = 32

    def run(self, seed: int) -> Measurements:
        random = 2 * torch.randn(self.symbols, self.symbols, generator=torch.Generator().manual_seed(seed))
        chain = random.softmax(-1)
        entropy = entropy_of(chain)
        values: Measurements = {"entropy": entropy}
        for name in KINDS:
            values |= self.trained(name, chain, entropy, seed)
        return values

    def trained(self, name: str, chain: Tensor, entropy: float, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        model = tagger(
            self.symbols, self.symbols, seed, causal=name != "without mask", width=self.width, layers=2,
            positions="rotary",
        )  # fmt: skip

        def loss() -> Tensor:
            text = walk(chain, self.batch, self.tokens + 1, generator)
            return F.cross_entropy(tags(model, read(text, name)).flatten(0, 1), text[:, 1:].flatten())

        losses = fit(model, loss, self.steps, adam(model, self.rate))
        written = walk(chain, self.batch, 1, generator)
        with torch.no_grad():
            for _ in range(self.tokens):
                likely = tags(model, written)[:, -1].softmax(-1)
                written = torch.cat([written, torch.multinomial(likely, 1, generator=generator)], 1)
        cost = -chain[written[:, :-1], written[:, 1:]].log().mean()
        return {
            f"losses {name}": draw.means(losses),
            f"loss {name}": late(losses, 20),
            f"loss {name} - entropy": late(losses, 20) - entropy,
            f"cost of what it writes - entropy, {name}": float(cost) - entropy,
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Training on chains of symbols", "xlabel": "update", "ylabel": "loss (nats, mean of 10)"},
            {"title": "What it writes by itself", "xlabel": "cost above the entropy of the chain (nats per symbol)"},
        )
        draw.lines(axes[0], results, draw.UPDATES, {name: f"losses {name}" for name in KINDS})
        draw.level(axes[0], sum(result["entropy"] for result in results) / len(results), "entropy")
        draw.bars(axes[1], results, {name: f"cost of what it writes - entropy, {name}" for name in KINDS})
        return figure


def read(text: Tensor, name: str) -> Tensor:
    """Returns the inputs beside the targets text[:, 1:]."""
    return text[:, 1:] if name == "with a wrong shift" else text[:, :-1]


def walk(chain: Tensor, rows: int, length: int, generator: torch.Generator) -> Tensor:
    """Returns (rows, length) symbols of a Markov chain with transition probabilities `chain` (S, S)."""
    symbols = [torch.randint(len(chain), (rows,), generator=generator)]
    for _ in range(length - 1):
        symbols.append(torch.multinomial(chain[symbols[-1]], 1, generator=generator)[:, 0])
    return torch.stack(symbols, 1)


def entropy_of(chain: Tensor) -> float:
    """Returns nats per symbol, in the long run."""
    frequency = torch.full((len(chain),), 1 / len(chain))
    for _ in range(100):
        frequency = frequency @ chain
    return -float((frequency[:, None] * chain * chain.log()).sum())
