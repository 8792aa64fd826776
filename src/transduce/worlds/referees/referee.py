"""The contract of referees: of worlds whose histories are words, which word may come next."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transduce.config import Part


@dataclass(frozen=True, kw_only=True)
class RefereeConfig(Part, ABC):
    """Who says which word may come next."""

    folder: ClassVar[str] = "transduce.worlds.referees"
    unit: ClassVar[str]  # what a word is to people, such as ply
    phases: ClassVar[tuple[int, ...]]  # words up to which the first parts of a history go, for measures

    @abstractmethod
    def missing(self) -> str | None:
        """Returns a sentence on what is not installed, and how to install it (None: nothing is missing)."""

    @abstractmethod
    def follows(self, words: Sequence[str]) -> frozenset[str]:
        """Returns the words that may follow these: none where it is over, or where these are not allowed themselves.

        Raises UserError where something is missing.
        """

    @abstractmethod
    def first_wrong(self, words: Sequence[str]) -> int | None:
        """Returns the number, from 0, of the first word that may not stand there (None: all may).

        Raises UserError where something is missing.
        """
