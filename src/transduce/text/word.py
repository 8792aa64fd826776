"""One token per word. White space other than line ends is not kept: decoding puts one space between tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import tokenizers
from tokenizers import Regex, models, pre_tokenizers, trainers

from transduce.errors import require_at_least, require_at_most
from transduce.text.normalise import Normalise, normalizer
from transduce.text.tokenizer import MOST, SPECIALS, Tokenizer, TokenizerConfig

GUARD = r"<(?=pad>|/?s>)"  # the "<" of a special token that stands in the text: cut behind it, and it stays text


@dataclass(frozen=True, kw_only=True)
class Word(TokenizerConfig):
    """One token per word, a line end counting as a word; the rest is <unk>.

    vocab_size: most tokens.
    min_count: how often a word is seen in training at least.
    split: "punctuation" cuts at white space and parts punctuation marks; "whitespace" cuts at white space alone, for
        text that is tokenised already, in which <unk> may stand as a word.
    lowercase: texts are read in lower case.
    normalise: nfc, nfkc or none: the way of writing a character, where Unicode has several.
    """

    kind: ClassVar[str] = "word"
    vocab_size: int = 50_000
    min_count: int = 1
    split: Literal["punctuation", "whitespace"] = "punctuation"
    lowercase: bool = False
    normalise: Normalise = "nfc"

    def __post_init__(self) -> None:
        require_at_most(MOST, vocab_size=self.vocab_size)
        require_at_least(0, min_count=self.min_count)
        if self.vocab_size <= len(SPECIALS):
            raise ValueError(f"vocab_size={self.vocab_size} leaves no room for words; try vocab_size=50000")

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Returns the tokeniser for the `vocab_size` most frequent words of `texts`."""
        tokenizer = self._cutting({})
        trainer = trainers.WordLevelTrainer(
            vocab_size=self.vocab_size, min_frequency=self.min_count, special_tokens=SPECIALS, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        vocabulary = tokenizer.get_vocab()
        words = sorted(vocabulary.keys() - set(SPECIALS), key=vocabulary.__getitem__)
        # where <unk> is also a word of the texts, the trainer numbers it twice, and id 3 is lost: so count again
        return self.finished(self._cutting({token: i for i, token in enumerate([*SPECIALS, *words])}))

    def _cutting(self, vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
        """Returns a tokeniser that cuts as the config says."""
        tokenizer = tokenizers.Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=SPECIALS[3]))
        marks = pre_tokenizers.Punctuation("isolated")
        guard = pre_tokenizers.Split(Regex(GUARD), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
                pre_tokenizers.Split(Regex(r"\n"), "isolated"),
                marks if self.split == "punctuation" else guard,
            ]
        )
        before = normalizer(self.normalise, self.lowercase)
        if before is not None:
            tokenizer.normalizer = before
        return tokenizer
