"""Long texts in windows that overlap, so that every token is seen with what stands on both sides of it."""

from itertools import pairwise
from typing import NamedTuple


class Window(NamedTuple):
    """A window on a text: tokens start .. stop - 1. Of those it answers for first .. last - 1, in which windows part
    the text between them, in the middle of what two of them share."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, room: int, overlap: int) -> list[Window]:
    """Returns windows of at most `room` tokens on a text of so many, the last one as long as the others.

    overlap: tokens that neighbours share; of a small room at most half of it. A text of no tokens has one window.
    """
    if length <= room:
        return [Window(0, length, 0, length)]
    step = room - min(overlap, room // 2)
    starts = [*range(0, length - room, step), length - room]
    borders = [0, *((a + room + b) // 2 for a, b in pairwise(starts)), length]
    return [
        Window(start, start + room, first, last)
        for start, first, last in zip(starts, borders[:-1], borders[1:], strict=True)
    ]
