"""Prefix language models: the rest of a text from its beginning, which is read both ways."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transduce.objectives.corruption import Corruption, Ids, Restoration
from transduce.objectives.restoring import RestoringConfig
from transduce.text.tokenizer import Tokenizer


def parted(tokens: Ids, rng: np.random.Generator, longest: float = 1.0) -> Restoration:
    """Returns the beginning of a text and the rest of it, each of at least one token where there are two.

    longest: share of the tokens that the rest has at most; its length is drawn evenly from 1 on.
    """
    if not len(tokens):
        return Restoration(tokens, tokens)
    most = min(max(int(len(tokens) * longest), 1), max(len(tokens) - 1, 1))
    size = int(rng.integers(1, most + 1))
    return Restoration(tokens[: len(tokens) - size], tokens[len(tokens) - size :])


@dataclass(frozen=True, kw_only=True)
class PrefixConfig(RestoringConfig):
    """-log p(the rest of a text | its beginning, whose tokens all see each other).   Raffel et al. 2020.

    arXiv:1910.10683, sec. 3.2.1 and 3.3.1. A decoder reads the beginning both ways, then goes on; of an encoder-decoder
    the encoder reads it. The text is parted at random, evenly.
    """

    kind: ClassVar[str] = "prefix-lm"
    decoders: ClassVar[bool] = True

    def corruption(self, tokenizer: Tokenizer) -> Corruption:
        return parted
