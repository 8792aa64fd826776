"""The next token of every row: the likeliest, the best of a beam, or drawn."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from transduce.generate.config import GenerateConfig
from transduce.generate.sample import candidates, draw, uniforms
from transduce.generate.search import Floats, Ints, Search
from transduce.generate.top import top

Choice = tuple[Ints | None, Ints, Floats]  # parents, ids, scores for `Search.advance`
Choose = Callable[[Tensor, Search], Choice]


def chooser(config: GenerateConfig, streams: Sequence[Sequence[int]], length: int) -> Choose:
    """What a config asks for. streams: the names of the random streams of each input; length: the most draws of one."""
    if config.temperature > 0:
        return Sampling(config, uniforms(streams, length))
    return beam if config.beam_size > 1 else greedy


def greedy(logits: Tensor, search: Search) -> Choice:
    """The likeliest token of each row. logits: (S, V)."""
    values, ids = to_host(*top(logits.log_softmax(-1), 1))
    return None, ids.astype(np.int64, copy=False), search.scores + values


def beam(logits: Tensor, search: Search) -> Choice:
    """The best continuations of the hypotheses of each input together. logits: (S * K, V).

    The best of all K * V are among the best few of each row, so only those leave the device.
    """
    sources, places = search.scores.shape
    values, ids = to_host(*top(logits.log_softmax(-1), min(search.width, logits.shape[-1])))  # (S * K, C)
    few = values.shape[1]
    scores = (search.scores[:, :, None] + values.reshape(sources, places, few)).reshape(sources, -1)
    best = np.argsort(-scores, 1, kind="stable")[:, : search.width]  # (S, K')
    scores = np.take_along_axis(scores, best, 1)
    scores[np.arange(best.shape[1]) >= search.room[:, None]] = -np.inf
    return best // few, np.take_along_axis(ids.reshape(sources, -1).astype(np.int64, copy=False), best, 1), scores


class Sampling:
    """A token of each row, drawn. numbers: (S, K, length) uniform in [0, 1), for K samples of each input."""

    def __init__(self, config: GenerateConfig, numbers: Floats) -> None:
        self.config, self.numbers = config, numbers

    def __call__(self, logits: Tensor, search: Search) -> Choice:
        """logits: (S * K, V), or (S, V) at the first step. The scores are those of the model, whatever was cut off."""
        sources, places, width = *search.scores.shape, search.width
        parents = None if places == width else np.zeros((sources, width), np.int64)
        if parents is not None:
            logits = logits.repeat_interleave(width, 0)
        p, order = candidates(logits, self.config)
        uniform = torch.as_tensor(self.numbers[search.sources, :, search.length].reshape(-1, 1), device=p.device)
        drawn = draw(p, uniform)
        drawn = drawn if order is None else order.gather(1, drawn)
        values, ids = to_host(logits.log_softmax(-1).gather(1, drawn), drawn)
        shape = (sources, width)
        return parents, ids.reshape(shape).astype(np.int64, copy=False), search.scores + values.reshape(shape)


def to_host(values: Tensor, ids: Tensor) -> tuple[Floats, Ints | Floats]:
    """float64 values and whole ids as arrays, in one transfer: a step waits for its device once."""
    if values.device.type == "cpu":
        return values.double().numpy(), ids.numpy()
    both = torch.stack([values.double(), ids.double()]).cpu().numpy()
    return both[0], both[1]
