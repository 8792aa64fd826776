"""Attention without the softmax is a network that programs the weights of another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.ops.delta import delta_rule, delta_rule_loop
from transduce.model.ops.features import elu, sum_normalised
from transduce.model.ops.linear import sum_rule
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.mark import Mark, Measurements


def fast_weight_programmer(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """W_t = W_{t-1} + v_t (x) k_t, y_t = W_t q_t: FROM is the key, TO the value.   Schmidhuber 1992, sec. 2."""
    w, y = q.new_zeros(v.shape[-1], k.shape[-1]), list[Tensor]()
    for t in range(len(q)):
        w = w + torch.outer(v[t], k[t])
        y.append(w @ q[t])
    return torch.stack(y)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Y = (Q K^T, causal) V: attention of Vaswani et al. 2017 without softmax and scale."""
    return (q @ k.T).tril() @ v


def normalised_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same with rows that add up to 1.   Katharopoulos et al. 2020, eq. 9."""
    weights = (q @ k.T).tril()
    return weights / weights.sum(-1, keepdim=True) @ v


@dataclass(frozen=True, kw_only=True)
class LinearIsFastWeights(Experiment):
    """The same random queries, keys and values through every form, in float64; the largest relative difference."""

    kind: ClassVar[str] = "linear-is-fast-weights"
    claim = (
        "Linear attention is the fast-weight programmer of 1992, step for step, and a recurrent network at inference."
    )
    source = "Schmidhuber 1992, Neural Computation 4; Schlag, Irie, Schmidhuber 2021, arXiv:2102.11174, sec. 3"
    paper = "an identity"
    marks = (
        Mark("attention - programmer", "<=", 1e-6),
        Mark("chunks - programmer", "<=", 1e-6),
        Mark("normalised attention - a programmer with one more value", "<=", 1e-6),
        Mark("delta rule: chunks - step by step", "<=", 1e-6),
        Mark("chunks - programmer, float32 at the greatest length", "<=", 1e-5, proposed=True),
    )
    minutes = 0.2
    explain = (
        "Keys and queries are the features elu(x) + 1. The normaliser is the value 1 written beside every value. The "
        "identity needs the squashing function of the 1992 controller to be the identity. With softmax there is none: "
        "its kernel has no finite number of features."
    )
    tokens: tuple[int, ...] = (16, 64, 256, 1024)
    size: int = 32

    def run(self, seed: int) -> Measurements:
        generator, by_length, single = torch.Generator().manual_seed(seed), list[dict[str, float]](), list[float]()
        for tokens in self.tokens:
            q, k, v = torch.randn(3, tokens, self.size, generator=generator, dtype=torch.float64)
            beta = torch.rand(1, 1, tokens, generator=generator, dtype=torch.float64)
            q, k = elu(q), elu(k)
            programmer = fast_weight_programmer(q, k, v)
            both = fast_weight_programmer(q, k, torch.cat([v, torch.ones_like(v[:, :1])], 1))
            S = torch.zeros(1, 1, self.size, self.size, dtype=torch.float64)
            heads = sum_normalised(q)[None, None], sum_normalised(k)[None, None], v[None, None], beta, S
            by_length.append({
                "attention - programmer": apart(linear_attention(q, k, v), programmer),
                "chunks - programmer": apart(chunks(q, k, v), programmer),
                "normalised attention - a programmer with one more value":
                    apart(normalised_attention(q, k, v), both[:, :-1] / both[:, -1:]),
                "delta rule: chunks - step by step": apart(delta_rule(*heads)[0], delta_rule_loop(*heads)[0]),
            })  # fmt: skip
            single.append(apart(chunks(q.float(), k.float(), v.float()).double(), programmer))
        values: Measurements = {name: max(lengths[name] for lengths in by_length) for name in by_length[0]}
        values["chunks - programmer, float32 at the greatest length"] = single[-1]
        values |= {f"by length, {name}": [lengths[name] for lengths in by_length] for name in by_length[0]}
        return values | {"by length, chunks - programmer, float32": single}

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Two forms of one function", "xlabel": "tokens", "ylabel": "largest relative difference",
             "xscale": "log", "yscale": "log"}
        )  # fmt: skip
        names = [name for name in results[0] if name.startswith("by length, ")]
        draw.lines(axes[0], results, self.tokens, {name.removeprefix("by length, "): name for name in names}, "o")
        return figure


def chunks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Returns the fast form that the mixer `linear` uses."""
    S = q.new_zeros(1, 1, k.shape[-1], v.shape[-1])
    return sum_rule(q[None, None], k[None, None], v[None, None], S)[0][0, 0]


def apart(x: Tensor, y: Tensor) -> float:
    """Returns the largest difference, relative to the largest value."""
    return float((x - y).abs().max() / y.abs().max())
