"""A unigram language model over byte-level pieces.   Kudo 2018, arXiv:1804.10959."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from tokenizers import models, trainers

from transduce.text.bpe import byte_level, require_bytes
from transduce.text.normalise import Normalise
from transduce.text.tokenizer import SPECIALS, Tokenizer, TokenizerConfig, byte_alphabet


@dataclass(frozen=True, kw_only=True)
class Unigram(TokenizerConfig):
    """The most likely cut into pieces, each with its probability; like BPE it works on bytes.

    vocab_size: most tokens.
    lowercase: texts are read in lower case.
    normalise: nfc, nfkc or none: the way of writing a character, where Unicode has several.
    """

    kind: ClassVar[str] = "unigram"
    vocab_size: int = 8000
    lowercase: bool = False
    normalise: Normalise = "nfc"

    def __post_init__(self) -> None:
        require_bytes(self.vocab_size)

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Returns the pieces learnt from `texts`."""
        tokenizer = byte_level(models.Unigram(), self.normalise, self.lowercase)
        trainer = trainers.UnigramTrainer(
            vocab_size=self.vocab_size,
            special_tokens=SPECIALS,
            initial_alphabet=list(byte_alphabet().values()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(chain(texts, [" "]), trainer)  # of no text at all the library makes scores NaN
        pieces: list[tuple[str, float]] = json.loads(tokenizer.to_str())["model"]["vocab"]
        tokenizer.model = models.Unigram([*((name, 0.0) for name in SPECIALS), *settled(pieces[len(SPECIALS) :])])
        return self.finished(tokenizer)


def settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Returns pieces with their log-probabilities, the same for the same text, the most likely first.

    The library adds up in the order threads finish, so the last digits vary: they are rounded off. And it gives the
    bytes it never chose the lowest score there is plus a growing 0.0001 in the order of a hash table: they get the
    lowest.
    """
    lowest = round(min(score for _, score in pieces), 6)
    unchosen = lowest + 0.0001 * 257
    learnt = [(p, lowest if len(p) == 1 and score < unchosen else round(score, 6)) for p, score in pieces]
    return sorted(learnt, key=lambda item: (-item[1], item[0]))
