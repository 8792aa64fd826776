"""One token per byte of UTF-8: 256 tokens write every text there is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from transduce.text.tokenizer import SPECIALS, Tokenizer, TokenizerConfig, byte_alphabet


@dataclass(frozen=True, kw_only=True)
class Byte(TokenizerConfig):
    """One token per byte of UTF-8; byte b has id 4 + b."""

    kind: ClassVar[str] = "byte"

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Returns the tokeniser; `texts` are not looked at."""
        vocabulary = {token: i for i, token in enumerate([*SPECIALS, *byte_alphabet().values()])}
        tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        return self.finished(tokenizer)
