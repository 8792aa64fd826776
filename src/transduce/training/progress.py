"""The display of a training: a live bar on a terminal, plain lines elsewhere."""

import sys
import textwrap
import time
import unicodedata
from collections.abc import Sequence
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from transduce.screen import Screen
from transduce.tasks.measures.measure import Grid, Sample

LINE_SECONDS = 10.0  # between two plain lines
DRAW_SECONDS = 0.2
WIDE = 110  # columns that a bar needs beside its numbers
GRID = 12  # kinds of which a table is shown
CELL, LINES = 60, 6  # of a sample: characters in a table, lines of a continuation


class Display:
    """step/total, loss, learning rate, gradient norm, tokens/s and the time to the end; messages stand above it.

    A narrow terminal goes without the bar and the time so far, then without the norm and the rate. The bar goes away
    when the training ends.
    """

    def __init__(self, name: str, steps: int, *, quiet: bool = False) -> None:
        self.screen = Screen(sys.stdout)
        self.console = Console(file=cast("TextIO", self.screen), quiet=quiet)
        self.live = self.console.is_terminal and not quiet
        self.steps = steps
        self.speed = Speed()
        what, numbers = TextColumn("[bold]{task.description}"), TextColumn("{task.fields[numbers]}")
        self.narrow: tuple[ProgressColumn, ...] = what, numbers
        self.wide: tuple[ProgressColumn, ...] = what, BarColumn(None), numbers, TimeElapsedColumn()
        self.progress = Progress(*self.narrow, console=self.console, auto_refresh=False, transient=True)
        self.task: TaskID = self.progress.add_task(name, total=steps, numbers="")
        self.drawn = 0.0

    def until(self, steps: int) -> None:
        """Learns how many steps there will be."""
        self.steps = steps
        self.progress.update(self.task, total=steps)

    def __enter__(self) -> "Display":
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.progress.stop()

    def step(self, step: int, tokens: int, loss: float, rate: float, norm: float) -> None:
        """Shows an update; draws a few times a second, and at the end."""
        now = time.monotonic()
        self.speed.add(now, tokens)
        if step < self.steps and now - self.drawn < (DRAW_SECONDS if self.live else LINE_SECONDS):
            return
        self.drawn = now
        remaining = clock((self.steps - step) * self.speed.seconds)
        speed = [f"{self.speed.tokens:,.0f} tokens/s", f"{remaining} left"] if self.speed.tokens else []
        rest = [f"lr {rate:.2e}", f"norm {norm:.2f}"]
        if self.live:
            width = self.console.width
            self.progress.columns = self.wide if width >= WIDE else self.narrow
            room = width - len(self.progress.tasks[0].description) - 1
            always = [f"{step}/{self.steps}", f"loss {loss:.3f}"]
            texts = ["  ".join([*always, *rest[:n], *speed]) for n in (2, 1, 0)]
            numbers = next((text for text in texts if len(text) <= room), texts[-1])
            self.progress.update(self.task, completed=step, numbers=numbers, refresh=True)
        elif not self.console.quiet:
            numbers = "  ".join([f"loss {loss:.3f}", *rest, *speed])
            self.screen.say(f"step {step}/{self.steps}  {numbers}")

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self.live:
            self.console.print(Text(text))
        elif not self.console.quiet:
            self.screen.say(text)

    def samples(self, samples: Sequence[Sample], tabular: bool) -> None:
        """Prints a few examples: pairs as a table with the expected output, prompts (>) with their continuation (|)."""
        if self.console.quiet or not samples:
            return
        if not tabular:
            for sample in samples:
                for mark, text, style in ((">", sample.source, "dim"), ("|", sample.output, "")):
                    for line in few(text, self.console.width - 2, last=mark == ">"):
                        self.console.print(Text(f"{mark} {line}", style=style))
                self.console.print()
            return
        rows = [tuple(map(short, sample[:3])) for sample in samples]
        width = self.console.width - min(slack(rows), self.console.width // 4)
        table = Table(width=width if self.live else None, show_lines=True)
        table.add_column("", width=1, no_wrap=True)  # the first column is in its place, however wide a script is drawn
        for column in ("input", "expected", "output"):
            table.add_column(column, overflow="fold", ratio=1)
        for sample, (source, expected, output) in zip(samples, rows, strict=True):
            right = sample.output == sample.expected
            table.add_row("✓" if right else "", Text(source), Text(expected), Text(output, "green" if right else ""))
        self.console.print(table)

    def grid(self, grid: Grid) -> None:
        """Prints a table of expected against predicted labels; of many labels, the most frequent confusions."""
        if self.console.quiet:
            return
        if len(grid.names) > GRID:
            for sentence in grid.confusions():
                self.say(sentence)
            return
        self.console.print(Text("rows: expected, columns: predicted", "dim"))
        table = Table()
        table.add_column("", overflow="fold")
        for name in grid.names:
            table.add_column(Text(name), justify="right", overflow="fold")
        for i, (name, row) in enumerate(zip(grid.names, grid.counts, strict=True)):
            cells = [Text(f"{n:,}", "green" if i == j else "" if n else "dim") for j, n in enumerate(row)]
            table.add_row(Text(name), *cells)
        self.console.print(table)


def short(text: str) -> str:
    """Returns a text as one line of a cell, cut off with "…" where it is long."""
    line = text.replace("\n", "↵")
    return line if len(line) <= CELL else line[: CELL - 1].rstrip() + "…"


def slack(rows: Sequence[Sequence[str]]) -> int:
    """Returns how many columns a terminal may need beyond those that are counted here.

    Marks that combine with a letter but take room of their own, as in Tamil or Burmese, are a column in some terminals
    and none in others.
    """
    return max(sum(unicodedata.category(c) == "Mc" for text in row for c in text) for row in rows)


def few(text: str, width: int, *, last: bool = False) -> list[str]:
    """Returns a text in a few lines of at most `width` characters, the first or the last; "…" stands for the others."""
    wrap = textwrap.TextWrapper(max(width, 1), drop_whitespace=False, replace_whitespace=False)
    lines = [part.rstrip() for line in text.split("\n") for part in wrap.wrap(line) or [""]]
    if len(lines) <= LINES:
        return lines
    return ["…", *lines[1 - LINES :]] if last else [*lines[: LINES - 1], "…"]


class Speed:
    """Tokens per second and seconds per update, averaged over about the last fifty."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.weight = self.seconds_sum = self.tokens_sum = 0.0

    def add(self, now: float, tokens: int) -> None:
        """Counts an update of so many tokens, which has just ended."""
        if self.last is not None:
            self.weight = 0.98 * self.weight + 1
            self.seconds_sum = 0.98 * self.seconds_sum + now - self.last
            self.tokens_sum = 0.98 * self.tokens_sum + tokens
        self.last = now

    def pause(self) -> None:
        """Leaves out what comes now, which is not an update."""
        self.last = None

    @property
    def seconds(self) -> float:
        return self.seconds_sum / max(self.weight, 1.0)

    @property
    def tokens(self) -> float:
        return self.tokens_sum / max(self.seconds_sum, 1e-9)


def clock(seconds: float) -> str:
    """Returns seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
