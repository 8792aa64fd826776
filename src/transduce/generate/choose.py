"""The next token of every row: the likeliest, the best of a beam, or drawn."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from transduce.generate.config import GenerateConfig
from transduce.generate.hypothesis import Floats, Ints
from transduce.generate.rules import Rules
from transduce.generate.sample import candidates, draw, share, uniforms
from transduce.generate.search import Search
from transduce.generate.top_k import top_k

Choice = tuple[Ints | None, Ints, Floats]  # parents, ids, scores for `Search.advance`
Choose = Callable[[Tensor, Search], Choice]


def chooser(
    config: GenerateConfig, streams: Sequence[Sequence[int]], length: int, rules: Rules | None = None,
    barred: Sequence[int] = (),
) -> Choose:  # fmt: skip
    """Returns the function that chooses tokens as a config says.

    streams: the names of the random streams of each input. length: the most draws of one. barred: ids that are never
    chosen, and whose share of the probability goes to the others.
    """
    if config.temperature > 0:
        return Sampling(config, uniforms(streams, length), rules, barred)
    if rules is None and not barred:
        return beam if config.beam_size > 1 else greedy
    return Ruled(config.beam_size > 1, rules, barred)


def greedy(logits: Tensor, search: Search) -> Choice:
    """Chooses the likeliest token of each row. logits: (S, V)."""
    return best_of_each(logits.log_softmax(-1), search)


def beam(logits: Tensor, search: Search) -> Choice:
    """Chooses the best continuations of the hypotheses of each input together. logits: (S * K, V)."""
    return best_of_all(logits.log_softmax(-1), search)


class Ruled:
    """`beam` or `greedy` where something is forbidden, forced or favoured."""

    def __init__(self, searches: bool, rules: Rules | None, barred: Sequence[int]) -> None:
        self.searches, self.rules, self.barred = searches, rules, list(barred)

    def __call__(self, logits: Tensor, search: Search) -> Choice:
        """Chooses after the rules. logits: (S * K, V)."""
        if self.searches or self.rules is None:
            scores = logits.log_softmax(-1)
            scores = scores if self.rules is None else self.rules(scores, search)
        else:
            scores = self.rules(logits, search).log_softmax(-1)
        scores[:, self.barred] = -torch.inf
        return best_of_all(scores, search) if self.searches else best_of_each(scores, search)


def best_of_each(scores: Tensor, search: Search) -> Choice:
    """Returns the best token of each row. scores: (S, V)."""
    values, ids = to_host(*top_k(scores, 1))
    return None, ids.astype(np.int64, copy=False), search.scores + values


def best_of_all(scores: Tensor, search: Search) -> Choice:
    """Returns the best continuations of the hypotheses of each input together. scores: (S * K, V).

    The best of all K * V are among the best few of each row, so only those leave the device.
    """
    sources, places = search.scores.shape
    values, ids = to_host(*top_k(scores, min(search.choices, scores.shape[-1])))  # (S * K, C)
    few = values.shape[1]
    sums = (search.scores[:, :, None] + values.reshape(sources, places, few)).reshape(sources, -1)
    best = np.argsort(-sums, 1, kind="stable")[:, : search.choices]  # (S, K')
    sums = np.take_along_axis(sums, best, 1)
    sums[np.arange(best.shape[1]) >= search.room[:, None]] = -np.inf
    return best // few, np.take_along_axis(ids.reshape(sources, -1).astype(np.int64, copy=False), best, 1), sums


class Sampling:
    """A token of each row, drawn. numbers: (S, K, length) uniform in [0, 1), for K samples of each input."""

    def __init__(
        self, config: GenerateConfig, numbers: Floats, rules: Rules | None = None, barred: Sequence[int] = ()
    ) -> None:  # fmt: skip
        self.config, self.numbers, self.rules, self.barred = config, numbers, rules, list(barred)

    def __call__(self, logits: Tensor, search: Search) -> Choice:
        """Draws tokens. logits: (S * K, V), or (S, V) at the first step.

        The scores are those of the model, whatever was cut off.
        """
        sources, places, width = *search.scores.shape, search.width
        changed = logits if self.rules is None else self.rules(logits, search)
        parents = None if places == width else np.zeros((sources, width), np.int64)
        if parents is not None:
            logits, changed = (x.repeat_interleave(width, 0) for x in (logits, changed))
        uniform = torch.as_tensor(self.numbers[search.sources, :, search.length].reshape(-1, 1), device=logits.device)
        drawn = self.draw(changed, uniform)
        values = logits.log_softmax(-1).gather(1, drawn)
        if self.rules is not None:  # where every token is forbidden, nothing was drawn
            values = values.where(changed.gather(1, drawn) > -torch.inf, -torch.inf)
        values, ids = to_host(values, drawn)
        shape = (sources, width)
        return parents, ids.reshape(shape).astype(np.int64, copy=False), search.scores + values.reshape(shape)

    def draw(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns (R, 1) the ids that numbers (R, 1) stand for.

        A number that stands for a barred id is used once more, for a draw from the others: where it stands inside the
        share of that id is uniform again. So rows that need no second draw write what they would have written.
        """
        p, order = candidates(logits, self.config)
        index = draw(p, uniform)
        drawn = index if order is None else order.gather(1, index)
        again = torch.isin(drawn, torch.tensor(self.barred, device=drawn.device))[:, 0] if self.barred else None
        if again is not None and bool(again.any()):
            rest = logits[again].index_fill(1, torch.tensor(self.barred, device=drawn.device), -torch.inf)
            uniform = share(p[again], index[again], uniform[again])
            p, order = candidates(rest, self.config)
            index = draw(p, uniform)
            drawn[again] = index if order is None else order.gather(1, index)
        return drawn


def to_host(values: Tensor, ids: Tensor) -> tuple[Floats, Ints | Floats]:
    """Returns float64 values and whole ids as arrays, in one transfer: a step waits for its device once."""
    if values.device.type == "cpu":
        return values.double().numpy(), ids.numpy()
    both = torch.stack([values.double(), ids.double()]).cpu().numpy()
    return both[0], both[1]
