"""The texts that a tokeniser is made of: all of a small corpus, evenly spread parts of a large one."""

import math
from collections.abc import Iterable, Iterator

from transduce.text.words import pieces

SAMPLE = 1 << 25  # characters that a tokeniser is made of
PART = 1 << 16  # characters of a text that are taken or left together


def every(characters: int) -> int:
    """Returns which part of a corpus is taken: each of so many; 1: all of it."""
    return max(1, math.ceil(characters / SAMPLE))


def sampled(texts: Iterable[str], step: int) -> Iterator[str]:
    """Yields every `step`-th part of texts: a short text is one part, a long one is cut into several.

    step: 1 for all of them, cut where no word is, so that the tokeniser is that of the whole texts; the library keeps
        100 bytes for each character of a text that it looks at.
    """
    number = 0
    for text in texts:
        if step == 1:
            yield from pieces(text)
            continue
        for start in range(0, max(len(text), 1), PART):
            if number % step == 0:
                yield text[start : start + PART]
            number += 1


def remark(characters: int) -> str | None:
    """Returns what is to be said of the tokeniser of a corpus of so many characters; None: nothing."""
    if (step := every(characters)) == 1:
        return None
    share = f"{characters / step / 1e6:,.0f} of {characters / 1e6:,.0f} million characters"
    return f"the tokeniser is made of a sample: {share}, evenly spread"
