"""One token per character (Unicode code point) seen in training."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import tokenizers
from tokenizers import decoders, models

from transduce.text.normalise import Normalise, normalizer
from transduce.text.tokenizer import SPECIALS, Tokenizer, TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class Char(TokenizerConfig):
    """One token per character; a rarer one is <unk>.

    min_count: how often a character is seen in training at least.
    normalise: nfc, nfkc or none: the way of writing a character, where Unicode has several.
    """

    kind: ClassVar[str] = "char"
    min_count: int = 1
    normalise: Normalise = "nfc"

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ValueError(f"min_count={self.min_count} must be at least 1, which keeps every character")

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Returns the tokeniser for the characters of `texts`, in code point order."""
        before = normalizer(self.normalise)
        counts = Counter(chain.from_iterable(texts if before is None else map(before.normalize_str, texts)))
        characters = sorted(c for c, n in counts.items() if n >= self.min_count)
        vocabulary = {token: i for i, token in enumerate([*SPECIALS, *characters])}
        tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=SPECIALS[3]))
        tokenizer.decoder = decoders.Fuse()
        if before is not None:
            tokenizer.normalizer = before
        return self.finished(tokenizer)
