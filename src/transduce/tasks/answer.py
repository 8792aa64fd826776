"""Answers: texts that a model writes, with their scores.

Tested in tests/tasks/test_laws.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

from transduce.generate.config import GenerateConfig
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.stop import cut
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer


class Answer(NamedTuple):
    """A text that a model wrote, and how likely it is under the model.

    log_p: in nats; the token that ends the text counts.
    tokens: how many were written; the token that ends the text counts.
    """

    text: str
    log_p: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Returns log p per token, by which answers of any length can be compared; 0 where there is no token."""
        return self.log_p / max(self.tokens, 1)


def answer(tokenizer: Tokenizer, hypothesis: Hypothesis, config: GenerateConfig) -> Answer:
    """Returns a hypothesis as text, up to the first stop text."""
    return Answer(cut(tokenizer.decode(hypothesis.ids), config.stop), hypothesis.score, hypothesis.length)


def distinct(answers: Sequence[Answer]) -> list[Answer]:
    """Returns the first of all answers with the same text."""
    first: dict[str, Answer] = {}
    for one in answers:
        first.setdefault(one.text, one)
    return list(first.values())


def room(model: Model, config: GenerateConfig, taken: Sequence[int]) -> list[int]:
    """Returns how many new tokens a model has positions for, at most `config.max_new_tokens`.

    taken: of each input, the positions that its prompt takes. The last new token is not read and needs none.
    """
    most = config.max_new_tokens
    return [most if model.limit is None else min(most, model.limit - n + 1) for n in taken]
