"""Language models that count: interpolated Kneser-Ney with modified discounts.

Kneser & Ney 1995, ICASSP; Chen & Goodman 1998, TR-10-98, sec. 4.1.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor


class Level(NamedTuple):
    """All n-grams of one length, sorted. The number of an n-gram is its place here; -1 is one that was not seen.

    keys: (number of its first n - 1 words) * V + its last word. share: (N + 1,) what is left of its probability after
    discounting; left: (N' + 1,) for each history, what discounting freed. The last of both stands for -1: 0 and 1.
    """

    keys: Tensor
    share: Tensor
    left: Tensor

    def find(self, history: Tensor, words: Tensor, symbols: int) -> Tensor:
        """Returns the numbers of n-grams, given those of their first n - 1 words."""
        keys = history * symbols + words
        at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return torch.where((history >= 0) & (self.keys[at] == keys), at, -1)


class KneserNey:
    """p(w | h) = max(c(h w) - D(c), 0) / c(h .) + g(h) p(w | h without its first word), g so that all p sum to 1.

    c counts occurrences in the longest n-grams, and in those that begin with <s>; in others it counts the different
    words that stand before them. Below single words all symbols but <s>, which is never predicted, are alike. D is
    estimated for each length from how many n-grams have a count of 1, 2, 3 and 4. Float64.

    sentences: ids below `symbols`, without <s> and </s>, which `bos` and `eos` are.
    """

    def __init__(
        self, sentences: Sequence[Sequence[int]], symbols: int, order: int, bos: int = 0, eos: int = 1
    ) -> None:
        if order < 1 or not sentences:
            raise ValueError(f"order={order} of {len(sentences)} sentences: both must be at least 1")
        self.symbols, self.order, self.bos, self.eos = symbols, order, bos, eos
        words, places = self.flat(sentences)
        numbers, keys, counts = [torch.zeros_like(words)], list[Tensor](), list[Tensor]()
        for n in range(1, order + 1):  # numbers[n][t]: of the n words that end at t, or -1
            there = places >= n - 1
            key = before(numbers[-1], n)[there] * symbols + words[there]
            kinds, which = cast("tuple[Tensor, Tensor]", torch.unique(key, return_inverse=True))
            keys.append(kinds)
            numbers.append(torch.full_like(words, -1).masked_scatter(there, which))
            counts.append(which.bincount())
        for n in range(1, order):
            first = last_place(numbers[n + 1], len(counts[n]))  # of each longer n-gram, any occurrence
            different = numbers[n][first].bincount(minlength=len(counts[n - 1]))
            counts[n - 1] = torch.where(different > 0, different, counts[n - 1])
        counts[0] = torch.where(keys[0] == bos, 0, counts[0])
        sizes = [1, *map(len, keys)]
        self.levels = [level(k, c, size, symbols) for k, c, size in zip(keys, counts, sizes, strict=False)]

    def flat(self, sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Returns all words behind each other, with <s> and </s>, and the index of each in its sentence."""
        whole = [[self.bos, *sentence, self.eos] for sentence in sentences]
        words = torch.tensor([word for sentence in whole for word in sentence])
        return words, torch.cat([torch.arange(len(sentence)) for sentence in whole])

    def p(self, words: Tensor, histories: Sequence[Tensor]) -> Tensor:
        """Returns p of words (...), given for every length from 0 the number of the history of that length, or -1."""
        p = (words != self.bos).double() / (self.symbols - 1)
        for grams, history in zip(self.levels, histories, strict=True):
            p = grams.share[grams.find(history, words, self.symbols)] + grams.left[history] * p
        return p

    def log_p(self, sentences: Sequence[Sequence[int]]) -> list[float]:
        """Returns the nats of each sentence, with its </s>."""
        words, places = self.flat(sentences)
        numbers = [torch.zeros_like(words)]
        for n, grams in enumerate(self.levels[:-1], 1):
            index = grams.find(before(numbers[-1], n), words, self.symbols)
            numbers.append(torch.where(places >= n - 1, index, -1))
        p = self.p(words, [numbers[0], *(before(each, 2) for each in numbers[1:])])
        of = (places == 0).cumsum(0) - 1
        logs = torch.where(places > 0, p.log(), 0.0)  # <s> is given
        return cast("list[float]", logs.new_zeros(len(sentences)).index_add(0, of, logs).tolist())

    def next(self, history: Sequence[int]) -> Tensor:
        """Returns p of every symbol after a history, which may begin with <s>: (V,)."""
        words = torch.arange(self.symbols)
        return self.p(words, [torch.full_like(words, self.number(history, n)) for n in range(self.order)])

    def number(self, history: Sequence[int], n: int) -> int:
        """Returns the number of the last n words as an n-gram (-1: it was never seen)."""
        if n > len(history):
            return -1
        number = torch.tensor(0)
        for grams, word in zip(self.levels, history[len(history) - n :], strict=False):
            number = grams.find(number, torch.tensor(word), self.symbols)
        return int(number)


def before(numbers: Tensor, n: int) -> Tensor:
    """Returns the numbers of the n-grams one word earlier; for n = 1 always the same."""
    return numbers if n == 1 else torch.cat([numbers.new_full((1,), -1), numbers[:-1]])


def last_place(numbers: Tensor, size: int) -> Tensor:
    """Returns (size,) an index at which each number stands."""
    places = torch.full((size + 1,), -1)
    places[numbers] = torch.arange(len(numbers))  # -1 is the last
    return places[:-1]


def level(keys: Tensor, counts: Tensor, histories: int, symbols: int) -> Level:
    """Counts (N,) of n-grams as shares; a history after which nothing was seen leaves everything to shorter ones."""
    of = keys // symbols
    discount = discounts(counts)[counts.clamp(max=3)]
    total, freed = (torch.zeros(histories, dtype=torch.float64) for _ in range(2))
    total.index_add_(0, of, counts.double())
    freed.index_add_(0, of, discount)
    share = (counts - discount) / total[of].clamp(min=1)
    left = torch.where(total > 0, freed / total.clamp(min=1), 1.0)
    return Level(keys, torch.cat([share, share.new_zeros(1)]), torch.cat([left, left.new_ones(1)]))


def discounts(counts: Tensor) -> Tensor:
    """Returns what is taken from a count of 0, 1, 2, and of 3 or more: D_k = k - (k + 1) Y n_(k+1) / n_k.

    n_k: how many n-grams have the count k. Y = n_1 / (n_1 + 2 n_2). Where n_k are too few to give 0 < D_k <= k: Y for
    all, and 1/2 where that is 0, too.
    """
    n = [float(x) for x in counts.clamp(max=5).bincount(minlength=6)]
    y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
    some = [k - (k + 1) * y * b / a if a else 0.0 for k, (a, b) in enumerate(pairwise(n[1:5]), 1)]
    fits = all(0 < d <= k for k, d in enumerate(some, 1))
    return torch.tensor([0.0, *(some if fits else [y] * 3)], dtype=torch.float64)
