"""Texts that end a hypothesis, however they are cut into tokens."""

from collections.abc import Callable
from typing import Protocol


class StopTexts:
    """A test of whether ids end in a text that holds a stop text.

    decode: ids to text. Looks only at the last few ids.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: tuple[str, ...]) -> None:
        self.decode, self.stop = decode, stop
        self.window = max(len(text.encode()) for text in stop) + 8  # a token is a byte or more, but for a few

    def __call__(self, ids: list[int]) -> bool:
        """Says whether the last id completes a stop text; an earlier one was met before."""
        tail = ids[-self.window :]
        text, before = self.decode(tail), len(self.decode(tail[:-1]).rstrip("\N{REPLACEMENT CHARACTER}"))
        return any(text.find(stop, max(0, before - len(stop))) >= 0 for stop in self.stop)


def cut(text: str, stop: tuple[str, ...]) -> str:
    """Returns the text before the first stop text."""
    return text[: min((i for i in map(text.find, stop) if i >= 0), default=len(text))]


class Pieces(Protocol):
    """A tokenizer's stream: ids to text that is final."""

    def push(self, id: int, /) -> str: ...
    def finish(self) -> str: ...


class TextStream:
    """Text as its ids come, holding back what may be the beginning of a stop text. `done`: a stop text was reached."""

    def __init__(self, pieces: Pieces, stop: tuple[str, ...] = ()) -> None:
        self.pieces, self.stop, self.held, self.done = pieces, stop, "", False

    def push(self, id: int) -> str:
        """Returns the text that this id makes final."""
        return self._give(self.pieces.push(id), final=False)

    def finish(self) -> str:
        """Returns the rest."""
        return self._give(self.pieces.finish(), final=True)

    def _give(self, text: str, final: bool) -> str:
        if self.done:
            return ""
        whole = self.held + text
        before = cut(whole, self.stop)
        self.done = len(before) < len(whole)
        starts = (i for i in range(len(before)) if any(stop.startswith(before[i:]) for stop in self.stop))
        split = len(before) if final or self.done else next(starts, len(before))
        self.held = before[split:]
        return before[:split]
