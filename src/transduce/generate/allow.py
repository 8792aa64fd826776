"""The rule of a referee: of the words of a vocabulary, those may come next that it allows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.inputs import Vocabulary
from transduce.text.tokenizer import Tokenizer
from transduce.worlds.referees.referee import RefereeConfig


class Allowed:
    """The rule that forbids what a referee does not allow.

    Prompt and output are one history, which may end at any time.
    """

    def __init__(self, referee: RefereeConfig, vocabulary: Vocabulary, ends: Sequence[int]) -> None:
        if not isinstance(vocabulary, Tokenizer) or not vocabulary.of_words:
            raise UserError(
                "a referee judges words, and the tokeniser of this model writes parts of them; leave it out"
            )
        if missing := referee.missing():
            raise UserError(missing)
        self.referee, self.vocabulary, self.ends = referee, vocabulary, [end for end in ends if end >= 0]
        self.names = {i: word for word, i in vocabulary.tokenizer.get_vocab().items() if i not in vocabulary.silent}
        self.ids = {word: i for i, word in self.names.items()}
        self.known = dict[tuple[int, ...], list[int]]()

    def __call__(self, x: Tensor, written: Any) -> Tensor:
        """Forbids tokens in the scores (R, V)."""
        rows, mask = (
            [tuple(i for i in row if i in self.names) for row in written.ids.tolist()],
            torch.ones_like(x).bool(),
        )
        self.known = {
            row: self.known[row] if row in self.known else self.after(row, written.new) for row in dict.fromkeys(rows)
        }
        for number, row in enumerate(rows):
            mask[number, self.known[row]] = False
        return x.masked_fill(mask, -torch.inf)

    def after(self, row: tuple[int, ...], new: int) -> list[int]:
        """Returns the ids that may follow these. Raises UserError for a prompt that is not allowed itself."""
        words = [self.names[i] for i in row]
        follows = self.referee.follows(words)
        if not follows and new == 0 and (wrong := self.referee.first_wrong(words)) is not None:
            word = "a word the model does not know" if row[wrong] == self.vocabulary.unk else words[wrong]
            what = f"{self.referee.unit} {wrong + 1}, {word}, is not legal"
            raise UserError(f"{what}, so nothing legal can follow; correct the prompt")
        return [*self.ends, *sorted(self.ids[word] for word in follows if word in self.ids)]
