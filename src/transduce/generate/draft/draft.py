"""The contract of drafts: cheap guesses at the next tokens, which the model reads all at once and accepts or not.

A guess that is not what the model would have written is thrown away, so a draft decides how fast a text is written and
not which.   Leviathan et al. 2023, arXiv:2211.17192; Stern et al. 2018, arXiv:1811.03115.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from transduce.config import Part
from transduce.errors import UserError

MOST = 14  # guesses; queries of a memory are answered each alone up to one more, see `ops/rows.py`


class Drafter(Protocol):
    """Guesses for one text."""

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        """Returns at most `most` ids that may follow a text: the prompt and what has been written."""
        ...


@dataclass(frozen=True, kw_only=True)
class DraftConfig(Part):
    """A way to guess.

    tokens: at most so many guesses at a time.
    """

    folder: ClassVar[str] = "transduce.generate.draft"
    tokens: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= MOST:
            raise UserError(f"draft.tokens={self.tokens} must be from 1 to {MOST}; use 8, or draft=null for no guesses")

    def begin(self, source: Sequence[int] | None, prompt: Sequence[int], most: int) -> Drafter:
        """Returns the drafter of one text. source: what the model reads beside the prompt. most: new tokens."""
        raise AssertionError("a kind of DraftConfig defines begin")
