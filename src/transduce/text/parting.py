"""A rendered chat template, parted at the special tokens of its own, and which of it the assistant says."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from transduce.errors import UserError
from transduce.text.sandbox import CLOSES, OPENS
from transduce.text.tokenizer import Tokenizer

Spans = list[tuple[int, int]]


class Part(NamedTuple):
    """A stretch of a rendered template: a special token (id), or text. own: (start, end) of what the assistant says."""

    text: str
    id: int | None = None
    own: tuple[tuple[int, int], ...] = ()
    typed: tuple[tuple[int, int], ...] = ()  # what comes from contents


@dataclass(frozen=True)
class Specials:
    """The added tokens of a tokeniser. ids: of those that are special. strips: of these, the sides without space.

    typed: the texts of the others that stand in the template, which a content must not write either.
    """

    ids: dict[str, int]
    strips: dict[str, tuple[bool, bool]]
    typed: tuple[str, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, template: str) -> "Specials":
        added = tokenizer.tokenizer.get_added_tokens_decoder()
        ids = {one.content: i for i, one in added.items() if one.special and one.content and i < tokenizer.vocab_size}
        strips = {one.content: (one.lstrip, one.rstrip) for one in added.values() if one.special}
        others = tuple(one.content for one in added.values() if not one.special and one.content in template)
        return cls(ids, strips, others)

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.ids, key=len, reverse=True))) or r"(?!)")

    def pieces(self, part: Part) -> list[tuple[int, int]]:
        """Returns the (start, end) of pieces that are encoded apart: a token of the template that is typed is cut."""
        cuts = {0, len(part.text)}
        for low, high in part.typed if self.typed else ():
            for name in self.typed:
                start = part.text.find(name, low, high)
                while start >= 0:
                    cuts.add(start + 1)
                    start = part.text.find(name, start + 1, high)
        ends = sorted(cuts)
        return list(pairwise(ends))


def filled(literals: Sequence[str], contents: Sequence[str], assistant: Sequence[bool]) -> tuple[str, Spans, Spans]:
    """Returns a rendered template with its contents, where these stand, and where what the assistant says stands.

    The latter is what {% generation %} holds, where the template has it, else the contents of the assistant.
    """
    out, at, typed, own, opened = list[str](), 0, Spans(), Spans(), 0
    marked = any(OPENS in literal for literal in literals)
    for number, literal in enumerate(literals):
        for piece in re.split(f"({OPENS}|{CLOSES})", literal):
            if piece == OPENS:
                opened = at
            elif piece == CLOSES:
                own.append((opened, at))
            else:
                out.append(piece)
                at += len(piece)
        if number < len(contents):
            typed.append((at, at + len(contents[number])))
            out.append(contents[number])
            at = typed[-1][1]
            if assistant[number] and not marked:
                own.append(typed[-1])
    return "".join(out), typed, own


def parted(text: str, typed: Spans, own: Spans, specials: Specials) -> list[Part]:
    """Returns a text, parted at the special tokens that are not typed."""
    parts, at = list[Part](), 0
    blank = list(text)
    for low, high in typed:
        blank[low:high] = "\ue000" * (high - low)  # so that nothing typed is taken for a token, or a part of one
    for match in specials.pattern.finditer("".join(blank)):
        add(parts, text, at, match.start(), typed, own)
        inside = any(low <= match.start() and match.end() <= high for low, high in own)
        parts.append(Part(match[0], specials.ids[match[0]], ((0, len(match[0])),) if inside else ()))
        at = match.end()
    add(parts, text, at, len(text), typed, own)
    return [stripped(part, i, parts, specials) for i, part in enumerate(parts)]


def add(parts: list[Part], text: str, start: int, end: int, typed: Spans, own: Spans) -> None:
    """Adds a stretch of text that is not empty, or in which the assistant says nothing, which has a place too."""

    def within(spans: Spans) -> tuple[tuple[int, int], ...]:
        return tuple((max(low, start) - start, min(high, end) - start) for low, high in spans if meets(low, high))

    def meets(low: int, high: int) -> bool:
        return (low < end and high > start) or start <= low == high <= end

    if end > start or any(low == high == start for low, high in own):
        parts.append(Part(text[start:end], None, within(own), within(typed)))


def stripped(part: Part, place: int, parts: Sequence[Part], specials: Specials) -> Part:
    """Returns a stretch of text without the white space that the special tokens beside it take."""
    if part.id is not None:
        return part
    before = place > 0 and specials.strips[parts[place - 1].text][1]
    after = place + 1 < len(parts) and specials.strips[parts[place + 1].text][0]
    text = part.text.rstrip() if after else part.text
    cut = len(text) - len(text.lstrip()) if before else 0

    def moved(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((max(low - cut, 0), min(max(high - cut, 0), len(text) - cut)) for low, high in spans)

    return Part(text[cut:], None, moved(part.own), moved(part.typed))


def with_ends(parts: list[Part]) -> list[Part]:
    """Returns the same where the assistant also writes what stands behind its text, up to the end of its turn.

    Raises UserError where no special token ends it, since a model would not learn to stop.
    """
    out, waits = list[Part](), False
    for part in parts:
        if part.id is not None and waits:
            part, waits = part._replace(own=((0, len(part.text)),)), False
        elif part.own:
            last = part.own[-1][0]
            if len(part.own) > 1 or any(low > last for low, _ in part.typed):
                raise unended()
            part, waits = part._replace(own=((last, len(part.text)),)), True
        elif waits and part.typed:
            raise unended()
        out.append(part)
    if waits:
        raise unended()
    return out


def unended() -> UserError:
    what = "the chat template puts no special token behind what the assistant says, so a model would not learn to stop"
    return UserError(f"{what}; give another with task.chat, such as chatml")
