"""Text for people: a stream that lacks a character writes another one, and a stream that is gone ends nothing."""

import codecs
import os
from contextlib import suppress
from typing import TextIO, cast

STAND_IN = "transduce.screen"  # a way to handle errors of encoding, as `open` and `reconfigure` take it
SIGNS = {
    "✓": "+", "…": "...", "↵": "\\n", "█": "#", "━": "-", "─": "-", "│": "|", "├": "|", "└": "`", "·": "*", "•": "*",
    "−": "-", "–": "-", "—": "-", "→": "->", "←": "<-", "×": "x", "≥": ">=", "≤": "<=", "≈": "~", "±": "+/-",
    "“": '"', "”": '"', "‘": "'", "’": "'", "\u202f": " ", "\xa0": " ",
}  # fmt: skip


def stand_in(error: UnicodeError) -> tuple[str, int]:
    """Returns what stands for characters that an encoding lacks: a sign of ASCII that looks alike, or a ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SIGNS.get(c, "?") for c in error.object[error.start : error.end]), error.end


codecs.register_error(STAND_IN, stand_in)


class Screen:
    """A text stream for people. Where it cannot be written any more, it is silent from then on, and `lost` says why.

    A closed pipe, a terminal that is gone and a full disk behind standard output all end like this.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.lost: str | None = None
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        try:
            if self.stream is not None:
                self.stream.write(text.encode(self.encoding, STAND_IN).decode(self.encoding))
        except (OSError, ValueError) as error:
            self.hang_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError) as error:
            self.hang_up(error)

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self.stream is not None and self.stream.isatty()
        return False

    def hang_up(self, error: OSError | ValueError) -> None:
        """Goes silent. What the stream still holds goes nowhere: the interpreter would fail on it at exit."""
        self.lost = getattr(error, "strerror", None) or str(error)
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, cast(TextIO, self.stream).fileno())
            os.close(nowhere)
        self.stream = None

    def say(self, text: str) -> None:
        """Prints a line."""
        self.write(f"{text}\n")
        self.flush()
