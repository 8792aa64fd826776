"""Text from ids that arrive one at a time."""

import re
from collections.abc import Callable, Sequence

# Where a tokeniser says so, these lose their spaces when text is decoded, one kind after the other.
TIDY = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
UNTIDY = re.compile("( [^ ]{0,3})+$")  # what may become one of them


class DecodeStream:
    """Gives only text that later ids cannot change: never half a character.

    `decode` turns a list of ids into text; ids in `silent` (padding, start, end) give nothing. A window of ids is
    decoded at each push: the ids that made the last text, which the next may depend on (a space between words), and
    those not yet given. Text that ends in U+FFFD may be a character cut short, and waits.

    runs: ids of single bytes, of a tokeniser that writes rare characters byte by byte. A run of them is decoded as a
    whole, and is U+FFFD throughout where one byte of it does not fit, so its text waits for the id that ends the run.
    tidy: whether spaces before marks are dropped, so that a space waits for what follows it.
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], silent: frozenset[int] = frozenset(),
        runs: frozenset[int] = frozenset(), tidy: bool = False,
    ) -> None:  # fmt: skip
        self._decode, self._silent, self._runs, self._tidy = decode, silent, runs, tidy
        self._window: list[int] = []
        self._context = 0  # ids at the head of the window that have been given
        self._given = 0  # characters of the window's text that have been given

    def push(self, id: int) -> str:
        """Takes one id; returns the text that is now final, often one token's, sometimes none."""
        if id in self._silent:
            return ""
        self._window.append(id)
        if id in self._runs:
            return ""
        text = self._decode(self._window)
        final = text.rstrip("\ufffd")
        if self._tidy:
            final = UNTIDY.sub("", final)
        new = final[self._given :]
        if len(final) == len(text):
            if self._decode(self._window[self._context :]).strip():  # spaces alone do not show where they stand
                self._window = self._window[self._context :]
            self._context = len(self._window)
            self._given = len(self._decode(self._window))
        else:
            self._given = max(self._given, len(final))
        return new

    def finish(self) -> str:
        """Returns the rest: what was waiting for ids that did not come."""
        rest = self._decode(self._window)[self._given :]
        self._window, self._context, self._given = [], 0, 0
        return rest
