"""Pictures of measurements: one look for all experiments."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from transduce.reproduce.mark import Measurements

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf", "#7f7f7f", "#bcbd22")
STYLES = ("-", "--", ":")
TEN = 10
UPDATES = range(TEN, 1 << 30, TEN)  # where the means of ten updates stand


def figure(*panels: Mapping[str, Any]) -> tuple[Figure, list[Axes]]:
    """Returns a row of panels, each given as what `Axes.set` takes: title, xlabel, ylabel, xscale, ylim, ..."""
    picture = Figure(figsize=(6.2 * len(panels), 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(picture)
    axes = [picture.add_subplot(1, len(panels), i + 1) for i in range(len(panels))]
    for panel, how in zip(axes, panels, strict=True):
        panel.set(**how)
        panel.grid(alpha=0.3)
    return picture, axes


def lines(
    axes: Axes,
    results: Sequence[Measurements],
    x: Sequence[float] | None,
    curves: Mapping[str, str],
    marker: str = "",
    band: bool = True,
    legend: bool = True,
) -> None:
    """Draws one line per curve, the mean over seeds, and a band from the least to the greatest seed.

    curves: label -> measurement, a list. x: None: the number of the value, from 1. Curves that ended early (they had
    learnt) end where the first seed ended.
    """
    for number, (label, name) in enumerate(curves.items()):
        color, style = COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]
        rows = list(zip(*(result[name] for result in results), strict=False))
        at = list((range(1, len(rows) + 1) if x is None else x)[: len(rows)])
        pairs = [(a, row) for a, row in zip(at, rows, strict=True) if all(map(shown, row))]
        if not pairs:
            continue
        places, values = zip(*pairs, strict=True)
        axes.plot(places, [sum(v) / len(v) for v in values], color=color, linestyle=style, label=label,
                  marker=marker, markersize=4)  # fmt: skip
        if len(results) > 1 and band:
            low, high = [min(v) for v in values], [max(v) for v in values]
            axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    if axes.get_xscale() == "linear" and (x is None or all(isinstance(a, int) for a in x[:10])):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def shown(value: Any) -> bool:
    """Says whether a measurement can be drawn: what was never reached, or is not a number, cannot."""
    return isinstance(value, int | float) and math.isfinite(value)


def legend_beside(figure: Figure, axes: Axes) -> None:
    """Puts the legend of one panel to the right of all, for many curves."""
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)


def ticks(axes: Axes, places: Sequence[int]) -> None:
    """Puts these ticks alone on a logarithmic x axis, as numbers."""
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())


def from_zero(axes: Axes) -> None:
    """Lets the y axis begin at 0; after everything is drawn, so that its upper end is found first."""
    axes.set_ylim(bottom=0)


def bars(axes: Axes, results: Sequence[Measurements], values: Mapping[str, str], form: str = ".2f") -> None:
    """Draws one horizontal bar per measurement, the mean over seeds, every seed a dot. values: label -> measurement."""
    labels = list(values)
    for place, name in enumerate(values.values()):
        points = [result[name] for result in results if shown(result[name])]
        if not points:
            axes.text(0, place, " never", va="center", fontsize=9, transform=axes.get_yaxis_transform())
            continue
        mean = sum(points) / len(points)
        axes.barh(place, mean, color=COLORS[place % len(COLORS)], alpha=0.6)
        axes.plot(points, [place] * len(points), "k.", markersize=5)
        axes.annotate(
            f" {mean:{form}}", (max(*points, mean), place), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.margins(x=0.18)


def level(axes: Axes, height: float, text: str) -> None:
    """Draws a dashed horizontal line with its meaning, such as chance or a mark."""
    axes.axhline(height, color="black", linestyle="--", linewidth=0.8)
    axes.annotate(
        text, (0.01, height), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.7},
    )  # fmt: skip


def means(values: Sequence[float]) -> list[float]:
    """Returns the mean of every ten values, for a curve that is drawn over `UPDATES`."""
    return [sum(values[i : i + TEN]) / TEN for i in range(0, len(values) - TEN + 1, TEN)]
