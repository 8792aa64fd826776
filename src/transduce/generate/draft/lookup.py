"""Guesses from the text itself: what followed the last few tokens where they stood before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from transduce.errors import UserError
from transduce.generate.draft.draft import DraftConfig

Grams = dict[tuple[int, ...], int]


@dataclass(frozen=True, kw_only=True)
class LookupConfig(DraftConfig):
    """The tokens that followed the last few of the text, where these stood before: in it, or else in the source.

    Saxena 2023, "prompt lookup decoding"; Yang et al. 2023, arXiv:2304.04487. It costs next to nothing, and pays where
    an answer repeats what it was given: corrections, extracts, code that is edited.

    tokens: at most so many guesses at a time.
    longest: tokens in a row that are looked for first.
    shortest: tokens in a row that are looked for last.
    """

    kind: ClassVar[str] = "lookup"
    longest: int = 3
    shortest: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.shortest <= self.longest <= 16:
            raise UserError(
                f"draft.shortest={self.shortest} and draft.longest={self.longest} must be from 1 to 16, in this order; "
                f"use 1 and 3"
            )

    def begin(self, source: Sequence[int] | None, prompt: Sequence[int], most: int) -> "Lookup":
        return Lookup(self, source)


@dataclass
class Places:
    """Where rows of tokens were last followed by another one.   grams: the place of what follows, by the row."""

    ids: list[int] = field(default_factory=list[int])
    grams: Grams = field(default_factory=Grams)

    def extend(self, ids: Sequence[int], config: LookupConfig) -> None:
        for token in ids:
            end = len(self.ids)
            for n in range(config.shortest, min(config.longest, end) + 1):
                self.grams[tuple(self.ids[end - n :])] = end
            self.ids.append(token)


class Lookup:
    """`Drafter` by look-up. Of several places the last one counts, of several lengths the longest."""

    def __init__(self, config: LookupConfig, source: Sequence[int] | None) -> None:
        self.config, self.text, self.source = config, Places(), Places()
        self.source.extend(source or (), config)

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        self.text.extend(text[len(self.text.ids) :], self.config)
        for n in range(min(self.config.longest, len(text)), self.config.shortest - 1, -1):
            last = tuple(text[len(text) - n :])
            for places in (self.text, self.source):
                if (start := places.grams.get(last)) is not None:
                    return self.follow(places.ids, start, most)
        return []

    def follow(self, ids: list[int], start: int, most: int) -> list[int]:
        """Returns ids from a place on. Behind the last comes what was guessed, so that a period goes on."""
        out = ids[start : start + most]
        if ids is self.text.ids:
            for i in range(most - len(out)):
                out.append(out[i])
        return out
