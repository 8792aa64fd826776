"""A small decoder of characters, beside what their frequencies give."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.experiments.warm_up import rising
from transduce.reproduce.fit import adam, decoder, fit, score, size
from transduce.reproduce.mark import Mark, Measurements


@dataclass(frozen=True, kw_only=True)
class BitsPerCharacter(TextExperiment):
    """Bloem's blocks, width, heads, context and start values; fewer layers and updates, and a higher rate for them.

    Loss and entropies are those of the first `most` characters of the validation text. Order-0 entropy: of how often
    each character stands in that same stretch, -sum p log p, so no guess that looks at no context can have a smaller
    loss there. The decoder reads rows of `tokens`, and at the start of each knows nothing of what stood before.
    """

    kind: ClassVar[str] = "bits-per-character"
    claim = "A small decoder learns far more of a text than how often it has each character."
    source = "Bloem 2019, Transformers from scratch"
    paper = "enwik8, 12 layers of 256 features, 170,000 updates: 1.343 bits per byte"
    marks = (Mark("validation loss below the order-0 entropy", ">=", 0.25),)
    minutes = 8
    explain = (
        "Below: as a share of the entropy. It is meant for a text of 5 MB or more, of which the decoder sees a part, "
        "2 million characters. Counts of what follows two characters (Witten & Bell 1991) stand beside it without a "
        "mark; they see all of it, and may well be better: so few updates hardly teach more than the last characters."
    )
    width: int = 128
    layers: int = 3
    heads: int = 8
    tokens: int = 256
    steps: int = 1000
    rate: float = 1e-3
    warm_up: int = 200
    batch: int = 8
    most: int = 200_000

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        mixer = {"kind": "attention", "heads": self.heads, "bias": False, "out_bias": True}
        model = decoder(
            corpus.symbols, seed, width=self.width, layers=self.layers, mixer=mixer, init="torch",
            residual={"kind": "post-norm", "dropout": 0.0}, positions={"kind": "learned", "limit": self.tokens},
            scale_embedding=False, tie_embeddings=False, head={"kind": "linear", "bias": True},
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)

        def loss() -> Tensor:
            return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

        optimizer = adam(model, self.rate)
        losses = fit(
            model, loss, self.steps, optimizer, clip=1.0, schedule=lambda step: rising(step, self.rate, self.warm_up)
        )
        nats, sample = corpus.loss(model, self.tokens, most=self.most), corpus.valid[: self.most]
        alone, counted = entropy(sample), counts(corpus.train, sample, corpus.symbols, 2)
        return {
            "losses": draw.means(losses),
            "validation loss": nats,
            "order-0 entropy": alone,
            "validation loss below the order-0 entropy": 1 - nats / alone,
            "bits per character": nats / math.log(2),
            "bits per character, order-0 entropy": alone / math.log(2),
            "bits per character, counts of order 2": counted / math.log(2),
            "symbols": corpus.symbols,
            "parameters": size(model),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Training", "xlabel": "update", "ylabel": "loss (nats per character, mean of 10)"},
            {"title": "Validation", "xlabel": "bits per character"},
        )
        draw.lines(axes[0], results, draw.UPDATES, {"decoder": "losses"})
        draw.level(axes[0], sum(result["order-0 entropy"] for result in results) / len(results), "order-0 entropy")
        names = {
            "decoder": "bits per character", "order-0 entropy": "bits per character, order-0 entropy",
            "counts of order 2": "bits per character, counts of order 2",
        }  # fmt: skip
        draw.bars(axes[1], results, names)
        return figure


def entropy(ids: Tensor) -> float:
    """Returns nats per character by their own frequencies."""
    often = ids.bincount().double()
    shares = often[often > 0] / len(ids)
    return -float((shares * shares.log()).sum())


def counts(train: Tensor, valid: Tensor, symbols: int, order: int) -> float:
    """Returns nats per character of `valid` by what followed the last `order` characters in `train`; characters that
    have so many before them count.

    p_n(c | h) = (N(hc) + T(h) p_{n-1}(c | h')) / (N(h) + T(h)): N counts, T how many different characters followed h,
    h' is h without its first character, p_{-1} = 1 / symbols.   Witten & Bell 1991.
    """
    likely = torch.full((len(valid) - order,), 1 / symbols, dtype=torch.float64)
    for n in range(order + 1):
        grams, _, often = distinct(grams_of(train, n, symbols))
        before, place, kinds = distinct(grams // symbols)
        total = torch.zeros_like(before).index_add(0, place, often)
        history = grams_of(valid, n, symbols)[order - n :]
        own, kinds = looked_up(history, grams, often), looked_up(history // symbols, before, kinds)
        mixed = (own + kinds * likely) / (looked_up(history // symbols, before, total) + kinds).clamp(min=1)
        likely = torch.where(kinds > 0, mixed, likely)
    return -float(likely.log().mean())


def grams_of(ids: Tensor, before: int, symbols: int) -> Tensor:
    """Returns each character and the `before` ones that precede it, as one number. (T,) -> (T - before,)."""
    end = len(ids) - before
    return sum((ids[i : i + end] * symbols ** (before - i) for i in range(before + 1)), torch.zeros_like(ids[:end]))


def distinct(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each key once, in order; which of them every key is; how often each stands there."""
    return cast("tuple[Tensor, Tensor, Tensor]", torch.unique(keys, return_inverse=True, return_counts=True))


def looked_up(keys: Tensor, grams: Tensor, values: Tensor) -> Tensor:
    """Returns the value of each key, 0 where it is unknown. grams: in order."""
    place = torch.searchsorted(grams, keys).clamp(max=len(grams) - 1)
    return torch.where(grams[place] == keys, values[place], 0)
