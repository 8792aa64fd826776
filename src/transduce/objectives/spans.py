"""Span corruption: hidden spans of a text are written down, each behind the token that stands for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transduce.objectives.corruption import Corruption, Ids, Restoration, ids, parts, require_sentinels
from transduce.objectives.restoring import RestoringConfig, require_mean, require_share
from transduce.text.tokenizer import Tokenizer


def hidden_spans(size: int, fraction: float, mean: float, rng: np.random.Generator) -> Ids:
    """Returns (spans, 2): where each begins and ends. `fraction` of `size` tokens are in them, at least one; they have
    `mean` tokens in the mean, do not touch, and the last one ends the text.
    """
    if not size:
        return np.zeros((0, 2), dtype=np.int64)
    hidden = min(max(round(size * fraction), 1), max(size - 1, 1))
    count = min(max(round(hidden / mean), 1), max(size - hidden, 1))
    lengths, gaps = parts(hidden, count, rng), parts(size - hidden, count, rng)
    stops = (lengths + gaps).cumsum()
    return np.stack([stops - lengths, stops], 1)


def named(tokens: Ids, spans: Ids, names: Sequence[int]) -> Restoration:
    """Returns the text with a name in the place of each span, and each span behind its name, with a last name."""
    source, target, at = list[Ids](), list[Ids](), 0
    for name, (start, stop) in zip(names, spans.tolist(), strict=False):
        source += [tokens[at:start], ids([name])]
        target += [ids([name]), tokens[start:stop]]
        at = stop
    last = names[len(spans) : len(spans) + 1] if len(spans) else ()
    return Restoration(ids(*source, tokens[at:]), ids(*target, last))


def filled(source: Sequence[int], target: Sequence[int], names: Sequence[int]) -> list[int]:
    """Returns the text whose spans `named` has written; a name that the target does not have stands for nothing."""
    spans, current, known = dict[int, list[int]](), list[int](), frozenset(names)
    for token in target:
        if token in known:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return [token for part in source for token in (spans.get(part, []) if part in known else [part])]


@dataclass(frozen=True, kw_only=True)
class SpanCorruptionConfig(RestoringConfig):
    """-log p(<0> span 0 <1> span 1 ... <k> | the text with <i> in the place of span i).   Raffel et al. 2020.

    arXiv:1910.10683, sec. 3.1.4 and 3.3.4. The tokens <i> are the sentinels of the tokeniser.

    fraction: of the tokens of a text that are hidden.
    mean: tokens of a span in the mean.
    """

    kind: ClassVar[str] = "span-corruption"
    decoders: ClassVar[bool] = True
    fraction: float = 0.15
    mean: float = 3.0

    def __post_init__(self) -> None:
        require_share(fraction=self.fraction)
        require_mean(mean=self.mean)

    def corruption(self, tokenizer: Tokenizer) -> Corruption:
        sentinels = tokenizer.sentinels
        require_sentinels(2, sentinels, self.kind)

        def corrupt(tokens: Ids, rng: np.random.Generator) -> Restoration:
            spans = hidden_spans(len(tokens), self.fraction, self.mean, rng)
            require_sentinels(len(spans) + 1, sentinels, self.kind)
            return named(tokens, spans, sentinels)

        return corrupt
