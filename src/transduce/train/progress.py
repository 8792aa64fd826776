"""What is seen while training: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from transduce.train.evaluate import Sample

LINE_SECONDS = 10.0  # between two plain lines
DRAW_SECONDS = 0.2


class Display:
    """step/total, loss, learning rate, gradient norm, tokens/s and the time to the end; messages stand above it."""

    def __init__(self, name: str, steps: int, *, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet)
        self.live = self.console.is_terminal and not quiet
        self.steps = steps
        self.speed = Speed()
        what, numbers = TextColumn("[bold]{task.description}"), TextColumn("{task.fields[numbers]}")
        columns = (what, BarColumn(None), MofNCompleteColumn(), numbers, TimeElapsedColumn())
        self.progress = Progress(*columns, console=self.console, auto_refresh=False)
        self.task: TaskID = self.progress.add_task(name, total=steps, numbers="")
        self.drawn = 0.0

    def __enter__(self) -> "Display":
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.progress.stop()

    def step(self, step: int, tokens: int, loss: float, rate: float, norm: float) -> None:
        """After every update; draws a few times a second, and at the end."""
        now = time.monotonic()
        self.speed.add(now, tokens)
        if step < self.steps and now - self.drawn < (DRAW_SECONDS if self.live else LINE_SECONDS):
            return
        self.drawn = now
        numbers = f"loss {loss:.3f}  lr {rate:.2e}  norm {norm:.2f}"
        if self.speed.tokens:
            left = clock((self.steps - step) * self.speed.seconds)
            numbers += f"  {self.speed.tokens:,.0f} tokens/s  {left} left"
        if self.live:
            self.progress.update(self.task, completed=step, numbers=numbers, refresh=True)
        elif not self.console.quiet:
            print(f"step {step}/{self.steps}  {numbers}", flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.live:
            self.console.print(Text(text))
        elif not self.console.quiet:
            print(text, flush=True)

    def samples(self, samples: Sequence[Sample], pairs: bool) -> None:
        """A few examples: pairs as a table with what was expected, prompts with how the model goes on."""
        if self.console.quiet or not samples:
            return
        if not pairs:
            for sample in samples:
                self.console.print(Text(sample.source, style="dim"), Text(sample.output), sep="", end="\n\n")
            return
        table = Table(expand=self.live)
        for column in ("input", "expected", "output"):
            table.add_column(column, overflow="fold", ratio=1)
        table.add_column("")
        for sample in samples:
            right = sample.output == sample.expected
            output = Text(sample.output, style="green" if right else "")
            table.add_row(Text(sample.source), Text(sample.expected), output, "✓" if right else "")
        self.console.print(table)


class Speed:
    """Tokens per second and seconds per update, averaged over about the last fifty."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.weight = self.seconds_sum = self.tokens_sum = 0.0

    def add(self, now: float, tokens: int) -> None:
        """An update of so many tokens has ended."""
        if self.last is not None:
            self.weight = 0.98 * self.weight + 1
            self.seconds_sum = 0.98 * self.seconds_sum + now - self.last
            self.tokens_sum = 0.98 * self.tokens_sum + tokens
        self.last = now

    def pause(self) -> None:
        """What comes now is no update and is not counted."""
        self.last = None

    @property
    def seconds(self) -> float:
        return self.seconds_sum / max(self.weight, 1.0)

    @property
    def tokens(self) -> float:
        return self.tokens_sum / max(self.seconds_sum, 1e-9)


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
