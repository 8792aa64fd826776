"""The table of the Transformer's paper: work, chains of steps, and paths of a layer, counted on the mixers here."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from transduce.inspect.counts import flops
from transduce.inspect.paths import depth, reach
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import Layout, dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.elman import ElmanConfig
from transduce.model.mixers.gru import GRUConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.mixers.recurrent import Recurrent
from transduce.model.positions.position import NoPositionsConfig
from transduce.model.state import over
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.mark import Mark, Measurements


class Size(NamedTuple):
    n: int  # tokens
    d: int  # width
    k: int  # taps of a kernel
    r: int  # tokens of a window


@dataclass(frozen=True)
class Row:
    """A row of the table: a mixer, the operations that the table names, and those of its maps besides, over n d^2."""

    mixer: Callable[[Size], MixerConfig]
    operations: Callable[[Size], int]
    maps: int = 0


TABLE = {
    "attention": Row(lambda s: AttentionConfig(), lambda s: 4 * s.n**2 * s.d, 8),
    "Elman": Row(lambda s: ElmanConfig(), lambda s: 4 * s.n * s.d**2),
    "GRU": Row(lambda s: GRUConfig(), lambda s: 12 * s.n * s.d**2),
    "LSTM": Row(lambda s: LSTMConfig(), lambda s: 16 * s.n * s.d**2),
    "convolution": Row(
        lambda s: ConvolutionConfig(kernel=s.k, gated=False, activation="tanh", project=False),
        lambda s: 2 * s.k * s.n * s.d**2,
    ),
    "gated convolution": Row(lambda s: ConvolutionConfig(kernel=s.k), lambda s: 4 * s.k * s.n * s.d**2, 2),
    "window": Row(lambda s: AttentionConfig(window=s.r), lambda s: 4 * s.n * 2 * s.r * s.d, 8),
}
RECURRENT = ("Elman", "GRU", "LSTM")
DEEP = (96, 192)  # tokens, between which the depth of graphs is compared
SHOWN = ("attention", "Elman", "convolution", "window")


@dataclass(frozen=True, kw_only=True)
class LayerCosts(Experiment):
    """Mixers with random weights, one row, without positions; what is counted and connected, not how fast it is."""

    kind: ClassVar[str] = "layer-costs"
    claim = (
        "A layer of attention connects all tokens in one step for n^2 d operations, a recurrent one in n - 1 steps for "
        "n d^2, dilated convolutions in log_k n layers of k n d^2, windows in n / r layers of r n d."
    )
    source = "Vaswani et al. 2017, arXiv:1706.03762, table 1"
    paper = "the same, as orders of growth"
    marks = (
        Mark("greatest error of the formulas", "<=", 0.01),
        Mark("path, attention", "=", 1),
        Mark("path, recurrent - (n - 1)", "=", 0),
        Mark("path, dilated convolution - formula", "=", 0),
        Mark("path, window - formula", "=", 0, proposed=True),
        Mark("graph depth per token, Elman", ">=", 1, proposed=True),
        Mark("graph depth per token, attention", "=", 0, proposed=True),
        Mark("graph depth per token, convolution", "=", 0, proposed=True),
        Mark("graph depth per token, window", "=", 0, proposed=True),
        Mark("exponent, window", "<=", 1.05, proposed=True),
    )
    minutes = 1
    explain = (
        "Matrix products alone are counted, a multiply-add as two. The formulas: attention 4 n^2 d besides its four "
        "projections, all of it though half is masked; Elman, GRU and LSTM 4, 12 and 16 n d^2; convolution 2 k n d^2, "
        "gated twice that; a window 8 r n d, since a block of r queries meets two blocks of keys. Path: the number of "
        "layers after which every token has a gradient to itself and all before it, and to none behind it; "
        "formulas ceil(log_k n) for kernels k of dilation 1, k, k^2, ..., ceil((n - 1) / (r - 1)) for windows. Of "
        "recurrent networks it is how often the state is handed on before that is so, when the step is done to all "
        "tokens at once again and again. Graph depth: the longest chain of operations from the last output to the "
        "inputs."
    )
    lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # multiples of the windows
    widths: tuple[int, ...] = (32, 128)
    kernels: tuple[int, ...] = (3, 5)
    windows: tuple[int, ...] = (16, 32)
    distances: tuple[int, ...] = (2, 3, 5, 9, 10, 16, 27, 28, 40, 64)  # lengths of which paths are sought
    path_width: int = 8

    def run(self, seed: int) -> Measurements:
        torch.manual_seed(seed)
        return {**self.work(seed), **self.paths(seed), **self.depths(seed)}

    @torch.no_grad()
    def work(self, seed: int) -> Measurements:
        """Measures operations against formulas.

        Lists are over lengths, of the widest, with the first kernel and window.
        """
        values: Measurements = {"error of the formula, by mixer": {}}
        first = [Size(n, self.widths[-1], self.kernels[0], self.windows[0]) for n in self.lengths]
        every = [Size(*s) for s in product(self.lengths, self.widths, self.kernels, self.windows)]
        for name, row in TABLE.items():
            different = {(s.n, s.d, row.mixer(s)): s for s in every}.values()
            counted = {s: operations(name, s, seed) for s in different}
            errors = [abs(count / row.operations(s) - 1) for s, count in counted.items()]
            values["error of the formula, by mixer"][name] = max(errors)
            values[f"operations, {name}"] = [operations(name, s, seed) for s in first]
        values["greatest error of the formulas"] = max(values["error of the formula, by mixer"].values())
        for name in TABLE:
            values[f"exponent, {name}"] = exponent(values[f"operations, {name}"], self.lengths)
        return values

    def paths(self, seed: int) -> Measurements:
        """Measures paths against formulas. Lists are over distances."""
        values: Measurements = {}

        def search(name: str, formula: Callable[[int], int], k: int = 2, r: int = 2, label: str = "") -> float:
            """Returns the greatest difference to the formula."""
            sizes = [Size(n, self.path_width, k, r) for n in self.distances]
            values[f"paths, {label or name}"] = paths = [path(name, s, seed) for s in sizes]
            return max(abs(steps - formula(n)) for n, steps in zip(self.distances, paths, strict=True))

        search("attention", lambda n: 1)
        values["path, attention"] = max(values["paths, attention"])
        values["path, recurrent - (n - 1)"] = max(search(name, lambda n: n - 1) for name in RECURRENT)
        values["path, dilated convolution - formula"] = max(
            search("gated convolution", lambda n, k=k: layers_of(k, n), k=k, label=f"kernel of {k}")
            for k in self.kernels
        )
        values["path, window - formula"] = max(
            search("window", lambda n, r=r: math.ceil((n - 1) / (r - 1)), r=r, label=f"window of {r}")
            for r in self.windows
        )
        return values

    def depths(self, seed: int) -> Measurements:
        """Measures the operations that the longest chain has more, per token more."""
        values: Measurements = {}
        for name in SHOWN:
            short, long = (
                depth_of(name, Size(n, self.path_width, self.kernels[0], self.windows[0]), seed) for n in DEEP
            )
            values[f"graph depth per token, {name}"] = (long - short) / (DEEP[1] - DEEP[0])
        return values

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"Work of a layer of width {self.widths[-1]}", "xlabel": "tokens", "xscale": "log",
             "ylabel": "floating-point operations", "yscale": "log"},
            {"title": "Longest path", "xlabel": "tokens", "xscale": "log", "yscale": "log",
             "ylabel": "layers (recurrent: steps)"},
        )  # fmt: skip
        k, r = self.kernels[0], self.windows[0]
        labels = {
            "attention": "attention", "Elman": "Elman", "convolution": f"convolution, kernel of {k}",
            "window": f"window of {r}",
        }  # fmt: skip
        draw.lines(axes[0], results, self.lengths, {labels[name]: f"operations, {name}" for name in SHOWN}, "o")
        for name in SHOWN:
            formula = [TABLE[name].operations(Size(n, self.widths[-1], k, r)) for n in self.lengths]
            axes[0].plot(self.lengths, formula, "k--", linewidth=0.8, label="formulas" if name == SHOWN[-1] else None)
        draw.ticks(axes[0], self.lengths)
        axes[0].legend(fontsize=8)
        curves = {
            "attention": "paths, attention", "Elman": "paths, Elman",
            f"dilated convolutions, kernel of {k}": f"paths, kernel of {k}", f"window of {r}": f"paths, window of {r}",
        }  # fmt: skip
        draw.lines(axes[1], results, self.distances, curves, "o")
        draw.ticks(axes[1], [2**i for i in range(1, max(self.distances).bit_length())])
        return figure


def built(name: str, s: Size, seed: int, dilation: int = 1) -> Mixer:
    """Returns the mixer with random weights."""
    config = TABLE[name].mixer(s)
    if isinstance(config, ConvolutionConfig):
        config = replace(config, dilation=dilation)
    mixer = config.build(s.d, NoPositionsConfig().build(s.d, None)).eval()
    XavierInit().apply(mixer, Sizes(s.d, 0, 1), seed)
    return mixer


def operations(name: str, s: Size, seed: int) -> int:
    """Returns what the table names: all that is counted but the maps that every token passes by itself."""
    mixer, x = built(name, s, seed), torch.randn(1, s.n, s.d)
    return flops(lambda: at_once(mixer, x)) - TABLE[name].maps * s.n * s.d**2


def at_once(mixer: Mixer, x: Tensor) -> Tensor:
    return mixer(x, dense(x.shape[0], x.shape[1]))[0]


def exponent(counted: Sequence[int], lengths: Sequence[int]) -> float:
    """Returns e where operations grow as the length to the power e."""
    return math.log(counted[-1] / counted[0]) / math.log(lengths[-1] / lengths[0])


def layers_of(kernel: int, n: int) -> int:
    """Returns ceil(log_k n), in whole numbers."""
    return next(layers for layers in range(n) if kernel**layers >= n)


def path(name: str, s: Size, seed: int) -> float:
    """Returns layers of a stack, or steps of a state, after which tokens are connected; infinity if n do not do it."""
    one = torch.randn(1, s.n, s.d, dtype=torch.float64)
    x = one.repeat(s.n, 1, 1).requires_grad_()  # a row for each output
    outputs, before = (steps(name, x, s, seed), 0) if name in RECURRENT else (stacked(name, x, s, seed), 1)
    seen = torch.ones(s.n, s.n, dtype=torch.bool).tril()  # itself and all before it
    return next((i for i, y in enumerate(outputs, before) if torch.equal(reach(x, y), seen)), math.inf)


def stacked(name: str, x: Tensor, s: Size, seed: int) -> Iterator[Tensor]:
    """Yields the outputs of 1, 2, 3, ... layers; convolutions with dilation 1, k, k^2, ..."""
    y = x
    for layer in range(s.n):
        dilation = s.k**layer if s.k**layer < s.n else 1
        y = at_once(built(name, s, 100 * seed + layer, dilation).double(), y)
        yield y


def steps(name: str, x: Tensor, s: Size, seed: int) -> Iterator[Tensor]:
    """Yields the outputs when states have been handed on 0, 1, 2, ... times, by all tokens at once."""
    mixer = built(name, s, 100 * seed).double()
    rows = x.flatten(0, 1)[:, None]
    layout = Layout(torch.arange(s.n).repeat(s.n)[:, None])
    state = mixer.init_state(len(rows), 1, device=x.device, dtype=x.dtype)
    for _ in range(s.n):
        y, state = mixer(rows, layout, state)
        yield y.view_as(x)
        state = over(state, lambda h: F.pad(h.view_as(x)[:, :-1], (0, 0, 1, 0)).flatten(0, 1))


def depth_of(name: str, s: Size, seed: int) -> float:
    """Returns the depth from the last output to the inputs. Recurrent networks run as loops."""
    mixer, x = built(name, s, seed), torch.randn(1, s.n, s.d, requires_grad=True)
    if isinstance(mixer, Recurrent):
        mixer.kernel = None
    return depth(at_once(mixer, x)[:, -1], x)
