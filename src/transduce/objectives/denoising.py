"""Denoising: a whole text is written from one in which tokens are hidden or missing, and sentences moved."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.errors import UserError
from transduce.objectives.corruption import Corruption, Ids, Restoration, ids
from transduce.objectives.restoring import RestoringConfig
from transduce.objectives.sentences import endings, sentences
from transduce.text.tokenizer import Tokenizer


def lengths_of(size: int, fraction: float, mean: float, rng: np.random.Generator) -> list[int]:
    """Returns lengths of spans, drawn from Poisson(mean) until they hold `fraction` of `size` tokens: exactly so many,
    since the last is cut. A length may be 0.
    """
    wanted, out = round(size * fraction), list[int]()
    while (rest := wanted - sum(out)) > 0:
        out.append(min(int(rng.poisson(mean)), rest))
    return out


def scattered(size: int, lengths: list[int], rng: np.random.Generator) -> Ids:
    """Returns (spans, 2): where spans of these lengths begin and end, put anywhere between `size` - sum others.

    They are in the order of the text, do not overlap, and may touch.
    """
    order = rng.permutation(np.array(lengths, dtype=np.int64))
    places = np.sort(rng.choice(size - sum(lengths) + len(lengths), len(lengths), replace=False))
    starts = places - np.arange(len(lengths)) + order.cumsum() - order
    return np.stack([starts, starts + order], 1)


def infilled(tokens: Ids, mask: int, fraction: float, mean: float, rng: np.random.Generator) -> Ids:
    """Returns the text with one mask in the place of each span; of a span of no token it is added."""
    spans = scattered(len(tokens), lengths_of(len(tokens), fraction, mean, rng), rng)
    shown, at = list[Ids](), 0
    for start, stop in spans.tolist():
        shown += [tokens[at:start], ids([mask])]
        at = stop
    return ids(*shown, tokens[at:])


def deleted(tokens: Ids, fraction: float, rng: np.random.Generator) -> Ids:
    """Returns the text without `fraction` of its tokens; one stays."""
    gone = rng.choice(len(tokens), min(round(len(tokens) * fraction), len(tokens) - 1), replace=False)
    return np.delete(tokens, gone)


def masked(tokens: Ids, mask: int, fraction: float, rng: np.random.Generator) -> Ids:
    """Returns the text with `fraction` of its tokens replaced by the mask, one for one."""
    out = tokens.copy()
    out[rng.choice(len(tokens), round(len(tokens) * fraction), replace=False)] = mask
    return out


def permuted(tokens: Ids, ends: NDArray[np.bool_], rng: np.random.Generator) -> Ids:
    """Returns the sentences of the text in random order."""
    whole = sentences(tokens, ends)
    order: list[int] = rng.permutation(len(whole)).tolist()
    return ids(*(whole[i] for i in order))


@dataclass(frozen=True, kw_only=True)
class DenoisingConfig(RestoringConfig):
    """-log p(text | the text with spans infilled, sentences permuted, ...).   Lewis et al. 2019, arXiv:1910.13461.

    Sec. 2.2 and 2.3: the text infilling and sentence permutation of BART by default. Sentences are permuted first, then
    the text is rotated, tokens are deleted, spans infilled, and single tokens masked.

    infill: of the tokens of a text that are in spans, for each of which one mask stands.
    mean: of the Poisson distribution of the lengths of spans; a span may have no token, and a mask is added.
    permute: the probability that the sentences of a text are put in random order.
    rotate: the probability that a text begins at a random token, and what was before it comes last.
    delete: of the tokens of a text that are taken away.
    mask: of the tokens of a text that are replaced by a mask each.
    """

    kind: ClassVar[str] = "denoising"
    infill: float = 0.3
    mean: float = 3.0
    permute: float = 1.0
    rotate: float = 0.0
    delete: float = 0.0
    mask: float = 0.0

    def __post_init__(self) -> None:
        for name in ("infill", "permute", "rotate", "delete", "mask"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"{name}={getattr(self, name)} must be from 0 to 1: a part of each text, or of texts")
        if not self.mean > 0.0:
            raise UserError(f"mean={self.mean} must be above 0: tokens of a span in the mean")

    def corruption(self, tokenizer: Tokenizer) -> Corruption:
        mask, ends = tokenizer.mask, endings(tokenizer)

        def corrupt(tokens: Ids, rng: np.random.Generator) -> Restoration:
            source = tokens
            if len(source) and rng.random() < self.permute:
                source = permuted(source, ends, rng)
            if len(source) and rng.random() < self.rotate:
                source = np.roll(source, -int(rng.integers(len(source))))
            if len(source) and self.delete:
                source = deleted(source, self.delete, rng)
            if len(source) and self.infill:
                source = infilled(source, mask, self.infill, self.mean, rng)
            if len(source) and self.mask:
                source = masked(source, mask, self.mask, rng)
            return Restoration(source, tokens)

        return corrupt
