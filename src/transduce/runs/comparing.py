"""Runs side by side: their numbers, the keys of their recipes that differ, and their losses in one plot.

Tested in tests/cli/test_runs.py.
"""

import gc
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transduce.config import to_data
from transduce.disk import digest, replace_bytes
from transduce.errors import UserError
from transduce.runs.claim import flat
from transduce.runs.detail import sizes
from transduce.runs.figures import number, readable_result
from transduce.runs.listing import Summary, summary
from transduce.runs.report import read_metrics, smooth
from transduce.runs.run import read_recipe

FORMATS = ("png", "svg", "pdf")
OWN = ("name",)  # keys that differ between any two runs


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    tokens: that each has learned from (None: not known).
    results: what was measured at the end, as `split measure`, by run; a run without it has None.
    differences: dotted keys of the recipes that differ, and their values by run (None too: no such key).
    remarks: sentences on what cannot be compared.
    """

    runs: tuple[Summary, ...]
    tokens: tuple[int | None, ...]
    results: dict[str, tuple[float | None, ...]]
    differences: dict[str, tuple[Any, ...]]
    remarks: tuple[str, ...]


def compare(paths: Sequence[Path]) -> Comparison:
    """Returns runs side by side. Raises UserError where a recipe cannot be read."""
    recipes = [flat(to_data(read_recipe(path))) for path in paths]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    sections = list(dict.fromkeys(key.split(".")[0] for key in keys))
    keys.sort(key=lambda key: sections.index(key.split(".")[0]))
    rows = {key: tuple(recipe.get(key) for recipe in recipes) for key in keys if key not in OWN}
    differences = {key: row for key, row in rows.items() if any(value != row[0] for value in row)}
    results = [measures(path) for path in paths]
    names = list(dict.fromkeys(name for one in results for name in one))
    return Comparison(
        runs=tuple(summary(path) for path in paths),
        tokens=tuple(map(tokens, paths)),
        results={name: tuple(one.get(name) for one in results) for name in names},
        differences=differences,
        remarks=tuple(remarks(paths)),
    )  # fmt: skip


def measures(path: Path) -> dict[str, float]:
    """Returns what a run measured at its end, as `split measure`."""
    pairs = flat(readable_result(path)[0] or {}).items()
    numbers = {key.replace(".", " "): number(value) for key, value in pairs if key.startswith(("valid.", "test."))}
    return {name: value for name, value in numbers.items() if value is not None}


def tokens(path: Path) -> int | None:
    """Returns how many targets a run has learned from; None: it has no line of metrics yet."""
    return next((line["tokens"] for line in reversed(read_metrics(path)) if "tokens" in line), None)


def remarks(paths: Sequence[Path]) -> list[str]:
    """Returns sentences on what cannot be compared: tokenisers and validation data that are not the same."""
    tokenizers = {digest(file) if (file := path / "tokenizer" / "tokenizer.json").is_file() else "" for path in paths}
    splits = [sizes(path).get("valid") for path in paths]
    if len(tokenizers) > 1:
        return ["the tokenisers differ, so losses per token cannot be compared"]
    if any(split != splits[0] for split in splits):
        return ["the validation data differ, so losses and scores may not be comparable"]
    return []


def draw(paths: Sequence[Path], file: Path) -> bool:
    """Draws the validation and training losses of runs into a file; returns False where no run has any.

    Raises UserError for a file that is not a picture.
    """
    form = file.suffix[1:].lower()
    if form not in FORMATS:
        raise UserError(f"--plot {file} is not a picture; give a name that ends in .png, .svg or .pdf")
    curves = [losses(path) for path in paths]
    if not any(train or valid for train, valid in curves):
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (name, (train, valid)) in enumerate(zip(labels(paths), curves, strict=True)):
        color, style = f"C{index % 10}", ("-", "--", ":", "-.")[index // 10 % 4]
        if train:
            steps, values = zip(*train, strict=True)
            average = smooth(values, 1 - 1 / max(1.0, len(values) / 50))
            axes.plot(steps, average, color=color, alpha=0.4, linewidth=1, linestyle=style)
        if valid:
            axes.plot(*zip(*valid, strict=True), color=color, linestyle=style, marker="o", markersize=3)
        axes.plot([], [], color=color, linestyle=style, marker="o", markersize=3, label=name)
    points = [loss for train, valid in curves for _, loss in (*train, *valid) if loss > 0]
    if points and max(points) > 20 * min(points):
        axes.set_yscale("log")
    axes.set(title="validation (points), training (pale)", xlabel="update", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=1 + len(paths) // 16)
    content = io.BytesIO()
    figure.savefig(content, format=form)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(file, content.getvalue())
    del figure, axes
    gc.collect()
    return True


def labels(paths: Sequence[Path]) -> list[str]:
    """Returns what to call runs: their names, or their paths where two names are the same."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def losses(path: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Returns (step, loss) in training, without label smoothing where that is known, and on the validation split."""
    metrics = read_metrics(path)
    key = "nll" if any("nll" in line for line in metrics) else "loss"
    train, valid = (
        [(line["step"], value) for line in metrics if (value := number(line.get(name))) is not None]
        for name in (key, "val_loss")
    )
    return train, valid
