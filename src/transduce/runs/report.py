"""The files a run writes: numbers that repeat (metrics), times that do not (timings), and messages (log)."""

import gc
import io
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from transduce.disk import open_own, replace_bytes
from transduce.errors import UserError

if TYPE_CHECKING:  # it imports torch, and runs are listed without
    from transduce.tasks.measures.measure import Grid

FLUSH_SECONDS = 2.0
PLOT_SECONDS = 60.0
MANY = 30  # kinds whose counts are written into a picture


class Report:
    """The open metrics.jsonl, timings.jsonl and log.txt of a run, and its plot.

    Lines are gathered and written every few seconds; a checkpoint forces them to the disk and keeps their length, so
    that a run which was killed after it goes on from there: a metrics file never tells a step twice.
    """

    def __init__(self, path: Path, *, tensorboard: bool = False) -> None:
        self.path = path
        self.board = _board(path) if tensorboard else None
        with ExitStack() as stack:  # if one cannot be opened, the others are closed
            self.metrics_file = stack.enter_context(open_own(path / "metrics.jsonl", "ab"))
            self.timings_file = stack.enter_context(open_own(path / "timings.jsonl", "ab"))
            self.log_file = stack.enter_context(open_own(path / "log.txt", "a"))
            self.files = stack.pop_all()
        self.flushed = self.plotted = time.monotonic()

    def metrics(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Writes a line of values that are the same whenever the same run is repeated."""
        self.metrics_file.write(_line({"step": step, **values}))
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(key, math.nan if value is None else value, step)

    def timings(self, step: int, seconds: float, speed: float) -> None:
        """Writes a line of what depends on the machine and the hour. seconds: since this process began to train."""
        values = {"seconds": round(seconds, 3), "tokens_per_second": round(speed, 1)}
        self.timings_file.write(_line({"step": step, **values}))
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def log(self, text: str) -> None:
        self.log_file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self.log_file.flush()

    def flush(self, force: bool = False) -> int:
        """Hands everything to the system, and with `force` to the disk. Returns the bytes of metrics.jsonl."""
        for file in (self.metrics_file, self.timings_file):
            file.flush()
            if force:
                os.fsync(file.fileno())
        self.flushed = time.monotonic()
        return self.metrics_file.tell()

    def rewind(self, step: int, length: int) -> None:
        """Removes what was written after `step`, at which metrics.jsonl had `length` bytes."""
        self.flush()
        self.metrics_file.truncate(min(length, self.metrics_file.seek(0, os.SEEK_END)))
        self.metrics_file.seek(0, os.SEEK_END)
        lines = [line for line in read_lines(self.path / "timings.jsonl") if line["step"] <= step]
        self.timings_file.truncate(0)
        self.timings_file.writelines(_line(line) for line in lines)
        for path in (self.path / "samples").glob("step-*.txt"):
            if path.stem[5:].isdecimal() and int(path.stem[5:]) > step:
                path.unlink()

    def plot(self, force: bool = False) -> None:
        """Draws plots/loss.png, at most once a minute unless forced."""
        if force or time.monotonic() - self.plotted > PLOT_SECONDS:
            self.flush()
            draw(read_metrics(self.path), self.path / "plots" / "loss.png", self.path.name)
            self.plotted = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.files.close()
        if self.board is not None:
            self.board.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl; a half-written last line, and what is not a step, is left out."""
    return read_lines(run / "metrics.jsonl")


def draw(metrics: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draws training loss (points, and smoothed) and validation loss against the step, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    key = "nll" if any("nll" in line for line in metrics) else "loss"
    train = [(line["step"], line[key]) for line in metrics if line.get(key) is not None]
    valid = [(line["step"], line["val_loss"]) for line in metrics if line.get("val_loss") is not None]
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if train:
        steps, losses = zip(*train, strict=True)
        axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=1)
        window = max(1.0, len(losses) / 50)
        axes.plot(steps, smooth(losses, 1 - 1 / window), color="tab:blue", label="training (smoothed)")
    if valid:
        steps, losses = zip(*valid, strict=True)
        axes.plot(steps, losses, color="tab:orange", marker="o", markersize=3, label="validation")
        best = min(range(len(losses)), key=losses.__getitem__)
        label = f"best: {losses[best]:.3g} at {steps[best]:,}"  # in the legend, which no curve crosses
        axes.plot(
            steps[best],
            losses[best],
            color="tab:red",
            marker="o",
            markersize=6,
            fillstyle="none",
            linestyle="",
            label=label,
        )
    axes.set(title=title, xlabel="update", ylabel="loss (nats per token)")
    points = [loss for _, loss in [*train, *valid] if loss > 0]
    if points and max(points) > 100 * min(points):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if train or valid:
        axes.legend()
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    replace_bytes(path, content.getvalue())
    del figure, axes
    gc.collect()  # a figure is full of cycles, and a process that trains makes too little garbage to notice a megabyte


def draw_grid(grid: "Grid", path: Path, title: str) -> None:
    """Draws the expected against the predicted label as a PNG: the share of each row, with its count."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, counts = grid.names, np.array(grid.counts, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(3.5 + 0.45 * len(names), 16)
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [name if len(name) < 20 else f"{name[:18]}…" for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), labels)
    axes.set(title=title, xlabel="predicted", ylabel="expected")
    for i, j in zip(*np.nonzero(counts), strict=True) if len(names) <= MANY else ():
        axes.text(
            j, i, f"{counts[i, j]:,.0f}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black"
        )
    figure.colorbar(image, label="share of what was expected")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    path.parent.mkdir(exist_ok=True)
    replace_bytes(path, content.getvalue())


def draw_range(
    rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], suggestion: float | None, own: float,
    path: Path, title: str,
) -> None:  # fmt: skip
    """Draws the losses of a range test against the learning rate, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(rates, losses, color="tab:blue", alpha=0.25, linewidth=1)
    axes.plot(rates, smooth, color="tab:blue", label="loss (smoothed)")
    if suggestion is not None:
        axes.axvline(suggestion, color="tab:red", linewidth=1, label=f"suggestion: {suggestion:.1g}")
    axes.axvline(own, color="grey", linewidth=1, linestyle="--", label=f"of the recipe: {own:g}")
    low, high = min(smooth), max(smooth[: max(1, len(smooth) // 4)])  # of what lies above that nothing is read
    axes.set(title=title, xlabel="learning rate", ylabel="loss (nats per target)", xscale="log")
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low) + 1e-9)
    axes.grid(alpha=0.3)
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png")
    replace_bytes(path, content.getvalue())


def draw_reliability(curves: Mapping[str, Sequence[tuple[float, float, int]]], path: Path, title: str) -> None:
    """Draws how often predictions are right against how probable they were said to be, as a PNG.

    curves: by name, (probability, share that is right, rows) of each part.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot((0, 1), (0, 1), color="grey", linewidth=1, linestyle="--", label="as it should be")
    for (name, points), colour in zip(curves.items(), ("tab:orange", "tab:blue"), strict=False):
        most = max(count for _, _, count in points)
        x, y = [one for one, _, _ in points], [share for _, share, _ in points]
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.5)
        axes.scatter(x, y, [12 + 120 * count / most for _, _, count in points], color=colour, alpha=0.7, label=name)
    axes.set(title=title, xlabel="probability of the predicted label", ylabel="share that is right")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="upper left", title="area: rows")
    content = io.BytesIO()
    figure.savefig(content, format="png")
    path.parent.mkdir(exist_ok=True)
    replace_bytes(path, content.getvalue())


def smooth(values: Iterable[float], weight: float) -> list[float]:
    """Returns the exponential average, corrected for its start from nothing."""
    out, average = list[float](), 0.0
    for count, value in enumerate(values, 1):
        average = weight * average + (1 - weight) * value
        out.append(average / (1 - weight**count))
    return out


def _line(values: Mapping[str, Any]) -> bytes:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return (json.dumps(finite) + "\n").encode()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a file that are objects with a step; a half-written last line is left out."""
    lines = list[dict[str, Any]]()
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            values: Any = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and isinstance(cast("dict[str, Any]", values).get("step"), int):
            lines.append(cast("dict[str, Any]", values))
    return lines


def _board(path: Path) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise UserError("train.tensorboard=true needs TensorBoard; run `pip install 'transduce[track]'`") from None
    return SummaryWriter(str(path / "tensorboard"))
