"""Text from ids that arrive one at a time."""

from collections.abc import Callable, Sequence


class DecodeStream:
    """Gives only text that later ids cannot change: never half a character.

    `decode` turns a list of ids into text; ids in `silent` (padding, start, end) give nothing. A window of ids is
    decoded at each push: the ids that made the last text, which the next may depend on (a space between words), and
    those not yet given. Text that ends in U+FFFD may be a character cut short, and waits.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], silent: frozenset[int] = frozenset()) -> None:
        self._decode, self._silent = decode, silent
        self._window: list[int] = []
        self._context = 0  # ids at the head of the window that have been given
        self._given = 0  # characters of the window's text that have been given

    def push(self, id: int) -> str:
        """Take one id; return the text that is now final, often one token's, sometimes none."""
        if id in self._silent:
            return ""
        self._window.append(id)
        text = self._decode(self._window)
        final = text.rstrip("\ufffd")
        new = final[self._given :]
        if len(final) == len(text):
            self._window = self._window[self._context :]
            self._context = len(self._window)
            self._given = len(self._decode(self._window))
        else:
            self._given = max(self._given, len(final))
        return new

    def finish(self) -> str:
        """The rest: what was waiting for ids that did not come."""
        rest = self._decode(self._window)[self._given :]
        self._window, self._context, self._given = [], 0, 0
        return rest
