"""Byte-level byte-pair encoding: frequent strings are one token, every text can be written.   Sennrich et al. 2016."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from transduce.errors import require_at_least, require_at_most
from transduce.text.normalise import Normalise, normalizer
from transduce.text.tokenizer import MOST, SPECIALS, Tokenizer, TokenizerConfig, byte_alphabet

SMALLEST = len(SPECIALS) + 256


def require_bytes(vocab_size: int) -> None:
    """Raises ValueError where a vocabulary cannot even hold the bytes, or is larger than any."""
    require_at_most(MOST, vocab_size=vocab_size)
    if vocab_size < SMALLEST:
        raise ValueError(
            f"vocab_size={vocab_size} is less than the {SMALLEST} of 256 bytes and {len(SPECIALS)} special tokens; "
            f"use {SMALLEST} or more, or tokenizer.kind=byte"
        )


def byte_level(model: models.Model, normalise: Normalise, lowercase: bool) -> tokenizers.Tokenizer:
    """Returns a tokeniser over bytes, cut before each word, number and run of punctuation as GPT-2 does.

    It loses nothing but what `normalise` and `lowercase` make alike.
    """
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    before = normalizer(normalise, lowercase)
    if before is not None:
        tokenizer.normalizer = before
    return tokenizer


@dataclass(frozen=True, kw_only=True)
class Bpe(TokenizerConfig):
    """Byte-level BPE.

    vocab_size: most tokens.
    min_count: only pairs seen so often are merged.
    lowercase: texts are read in lower case.
    normalise: nfc, nfkc or none: the way of writing a character, where Unicode has several.
    """

    kind: ClassVar[str] = "bpe"
    vocab_size: int = 8000
    min_count: int = 2
    lowercase: bool = False
    normalise: Normalise = "nfc"

    def __post_init__(self) -> None:
        require_bytes(self.vocab_size)
        require_at_least(0, min_count=self.min_count)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Returns the merges learnt from `texts`."""
        tokenizer = byte_level(models.BPE(), self.normalise, self.lowercase)
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_count,
            special_tokens=SPECIALS,
            initial_alphabet=list(byte_alphabet().values()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return self.finished(tokenizer)
