"""The cost of every mixer by the length of the sequence: read at once, and token by token."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from matplotlib.figure import Figure

from transduce.config import kinds
from transduce.inspect.parts import build
from transduce.model.layout import dense
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.state import nbytes
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.tracing import untraced


@dataclass(frozen=True, kw_only=True)
class CostPerToken(Experiment):
    """Every kind of mixer that can stand in a decoder, one row, as wide as 4 heads of 32, without gradients."""

    kind: ClassVar[str] = "cost-per-token"
    claim = "Attention costs the square of the length; linear attention, and every state of constant size, the length."
    source = "Katharopoulos, Vyas, Pappas, Fleuret 2020, arXiv:2006.16236; Vaswani et al. 2017, table 1"
    paper = "images of 3,072 tokens written 4,460 times as fast as with softmax"
    marks = (
        Mark("exponent, attention", ">=", 1.7),
        Mark("exponent, linear", "<=", 1.3),
        Mark("step at 4096 / at 64, linear", "<=", 1.2),
        Mark("step at 4096 / at 64, attention", ">=", 1.5, proposed=True),
        Mark("step at 4096 / at 64, fastest growing state of constant size", "<=", 1.5, proposed=True),
    )
    history = (
        Change(
            first="the least of three readings of the clock, of thirty for a step, one length after the other",
            gave="on busy machines some mark was missed in one seed of three, another one each time: the exponent of "
            "linear 1.33, that of attention 1.697, the growth of a state of constant size 1.64 and 1.75; others met",
            then="CPU seconds of the process; five readings, a hundred for a step; the lengths take turns",
            why="a busy second of the machine fell on one length alone, and its ratio to the others was off",
        ),
    )
    minutes = 4
    explain = (
        "Exponent e: time grows as the length to the power e, from a quarter of the greatest length to the greatest. A "
        "mixer is timed at twice the length while that is expected to take less than two seconds. The last mark is on "
        "the mixer of constant state that grows most; there is none whose steps may grow."
    )
    width: int = 128
    shortest: int = 256
    longest: int = 8192
    prefixes: tuple[int, ...] = (64, 256, 1024, 4096)
    repeats: int = 5
    patience: float = 2.0

    @torch.no_grad()
    def run(self, seed: int) -> Measurements:
        torch.manual_seed(seed)
        values: Measurements = {"kinds": [], "kinds of constant state": []}
        for name, config in kinds(MixerConfig.folder).items():
            config = cast(type[MixerConfig], config)
            if config.absent or "forward" in (mixer := build(config(), self.width)).cannot:
                continue
            values["kinds"].append(name)
            values[f"tokens, {name}"], values[f"seconds, {name}"] = self.whole(mixer)
            values[f"microseconds per step, {name}"] = steps = self.steps(mixer)
            values[f"exponent, {name}"] = exponent(values[f"seconds, {name}"][-3:])
            values[f"step at 4096 / at 64, {name}"] = steps[-1] / steps[0]
            if len({nbytes(self.empty(mixer, n)) for n in self.prefixes}) == 1:
                values["kinds of constant state"].append(name)
        for name in values["kinds"]:
            both = zip(values[f"seconds, {name}"], values["seconds, attention"], strict=False)
            faster = [mine < attention for mine, attention in both]
            first = next((i for i in range(len(faster)) if all(faster[i:])), None)
            values[f"faster than attention from, {name}"] = None if first is None else self.shortest * 2**first
        values["step at 4096 / at 64, fastest growing state of constant size"] = max(
            values[f"step at 4096 / at 64, {name}"] for name in values["kinds of constant state"]
        )
        return values

    def whole(self, mixer: Mixer) -> tuple[list[int], list[float]]:
        """Returns lengths, and seconds for a sequence of each read at once."""
        calls, last, n = list[Callable[[], object]](), 0.0, self.shortest
        while n <= self.longest and 4 * last < self.patience:
            x, layout = torch.randn(1, n, self.width), dense(1, n)
            calls.append(lambda x=x, layout=layout: mixer(x, layout))
            last, n = best(calls[-1], 1), n * 2
        return [self.shortest * 2**i for i in range(len(calls))], in_turn(calls, self.repeats)

    def empty(self, mixer: Mixer, tokens: int) -> Any:
        return mixer.init_state(1, tokens, device=torch.device("cpu"), dtype=torch.float32)

    def steps(self, mixer: Mixer) -> list[float]:
        """Returns microseconds for one token more, behind each prefix."""
        calls = list[Callable[[], object]]()
        for n in self.prefixes:
            state = mixer.write(torch.randn(1, n, self.width), dense(1, n), self.empty(mixer, n + 1))
            x, layout = torch.randn(1, 1, self.width), dense(1, 1, start=n)
            calls.append(lambda x=x, layout=layout, state=state: mixer(x, layout, state))
        return [1e6 * seconds for seconds in in_turn(calls, 20 * self.repeats)]

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "A sequence at once", "xlabel": "tokens", "ylabel": "microseconds per token", "xscale": "log",
             "yscale": "log"},
            {"title": "One token more", "xlabel": "tokens before it", "ylabel": "microseconds", "xscale": "log",
             "yscale": "log"},
        )  # fmt: skip
        names, lengths = results[0]["kinds"], [self.shortest * 2**i for i in range(20)]
        scaled = [
            {name: [1e6 * s / n for s, n in zip(r[f"seconds, {name}"], lengths, strict=False)] for name in names}
            for r in results
        ]
        draw.lines(axes[0], scaled, lengths, {name: name for name in names}, band=False)
        draw.lines(
            axes[1], results, self.prefixes, {n: f"microseconds per step, {n}" for n in names}, band=False, legend=False
        )
        longest = max(len(r[f"seconds, {name}"]) for r in results for name in names)
        draw.ticks(axes[0], lengths[:longest])
        draw.ticks(axes[1], self.prefixes)
        draw.legend_beside(figure, axes[0])
        return figure


def best(call: Callable[[], object], repeats: int) -> float:
    """Returns the least CPU seconds of several calls, the first not counted."""
    return in_turn([call], repeats)[0]


def in_turn(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Returns the least CPU seconds of each call, the first not counted. They take turns, so that a busy second of the
    machine is one of all."""
    least = [math.inf] * len(calls)
    for call in calls:
        call()
    with untraced():
        for _ in range(repeats):
            for number, call in enumerate(calls):
                began = time.process_time()
                call()
                least[number] = min(least[number], time.process_time() - began)
    return least


def exponent(seconds: Sequence[float]) -> float:
    """Returns log2 of the growth per doubling."""
    return math.log2(seconds[-1] / seconds[0]) / (len(seconds) - 1)
