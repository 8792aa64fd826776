"""Columns of text that fit the terminal, and numbers as people read them in a column. Imports no torch."""

import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

NAME = 24  # columns that a name may have before others are left out for it

Rows = Sequence[Sequence[str]]


def width_of(stream: TextIO) -> int | None:
    """Returns the columns of a terminal; None: the stream is no terminal, so that lines may have any length."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def aligned(rows: Rows, width: int | None = None, spare: Sequence[int] = ()) -> list[str]:
    """Returns rows as lines: the first column to the left, the others to the right.

    width: of the terminal; the first column is cut short to fit, and others are left out where that is not enough.
    spare: the columns that may be left out, the first one first.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    columns = list(range(len(widths)))
    for column in spare:
        if width is not None and min(widths[0], NAME) + sum(widths[c] + 2 for c in columns[1:]) > width:
            columns.remove(column)
    rest = sum(widths[c] + 2 for c in columns[1:])
    first = widths[0] if width is None else max(4, min(widths[0], width - rest))
    lines: list[str] = []
    for row in rows:
        cells = [f"{clipped(row[0], first):{first}}", *(f"{row[c]:>{widths[c]}}" for c in columns[1:])]
        lines.append("  ".join(cells).rstrip())
    return lines


def side_by_side(rows: Rows, width: int | None = None) -> list[str]:
    """Returns rows as lines, whose first column stays and whose others follow below where they do not fit beside."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    limit = None if width is None else max(16, (width - widths[0]) // 2 - 2)
    widths = [w if limit is None or not c else min(w, limit) for c, w in enumerate(widths)]
    lines, column = list[str](), 1
    while column < len(widths):
        columns = [column]
        while (column := columns[-1] + 1) < len(widths) and (
            width is None or widths[0] + sum(widths[c] + 2 for c in [*columns, column]) <= width
        ):
            columns.append(column)
        lines += [""] if lines else []
        for row in (row for row in rows if any(row[c] for c in columns)):
            cells = [f"{row[0]:{widths[0]}}", *(f"{clipped(row[c], widths[c]):>{widths[c]}}" for c in columns)]
            lines.append("  ".join(cells).rstrip())
    return lines


def clipped(text: str, width: int) -> str:
    """Returns a text in so many columns, cut short with "…" where it is longer."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short(count: int | None) -> str:
    """Returns a count in three digits and a letter."""
    value = float(count or 0)
    for letter in ("", "K", "M", "G"):
        if value < 999.5:
            return "" if count is None else f"{value:.3g}{letter}"
        value /= 1000
    return f"{value:.3g}T"


def size(count: float) -> str:
    """Returns bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def ago(stamp: str) -> str:
    """Returns how long ago an hour of the clock was."""
    seconds = max(0.0, time.time() - datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S").timestamp())
    for unit, length, most in (("min", 60, 60), ("h", 3600, 36), ("days", 86400, 60)):
        if seconds < length * most:
            return f"{seconds / length:.0f} {unit} ago"
    return stamp[:10]


def minutes(value: float | None) -> str:
    """Returns minutes as a number that is short, whether there are a few or thousands."""
    return "" if value is None else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
