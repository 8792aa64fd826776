"""`transduce inspect`: where each layer and head of a model looks, on a text of one's own."""

import html
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from transduce.cli.documents import document, option
from transduce.cli.opening import opened
from transduce.cli.options import Checkpoint, Device, Run
from transduce.cli.words import fold
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.inspect.looking import Map

KEYS = "name, kind, rows and columns (tokens), weights (of each head: rows by columns)"
SHADES = " ░▒▓█"
MEANING = {
    "weights": "the weights of attention, as they were used",
    "derivative": "the exact derivative of what is read by what was written",
    "gradient": "the norm of the gradient of the output by the input",
}


def inspect_(
    run: Run,
    text: Annotated[str, typer.Argument(help="What the model reads.")],
    target: Annotated[str | None, typer.Option(help="What answers it; default: what the model answers.")] = None,
    layer: Annotated[int | None, typer.Option(min=1, help="Of this layer alone.")] = None,
    head: Annotated[int | None, typer.Option(min=1, help="Of this head alone; default: the mean of all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write map.png or map.html; default: print here.")] = None,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    json: Annotated[bool, option(f"a list of maps: {KEYS}")] = False,
) -> None:
    """Show how much each token takes of each other one, for every layer and mixer.

    transduce inspect runs/dates "3 de mayo de 2021" --out map.png
    """
    if out is not None and out.suffix not in (".png", ".html"):
        raise UserError(f"--out {out} cannot be written: the name must end in .png or .html")
    every = opened(run, checkpoint, device, None).attention(text, target)
    shown = [one for one in every if layer is None or f"layer {layer} " in one.name]
    if not shown:
        raise UserError(f"there is no map of layer {layer}; the model has {', '.join(one.name for one in every)}")
    most = min(one.weights.shape[0] for one in shown)
    if head is not None and head > most:
        raise UserError(f"there is no head {head}: of the maps shown one has {most}; choose --layer, or a lower number")
    if json:
        return document([facts(one, head) for one in shown])
    if out is None:
        print(fold("\n\n".join(printed(one, head) for one in shown), sys.stdout))
    elif out.suffix == ".html":
        out.write_text(page(shown, head), "utf-8")
    else:
        draw(shown, head, out)


def facts(one: "Map", head: int | None) -> dict[str, object]:
    """Returns a map as plain data, of one head or of all."""
    weights = one.weights if head is None else one.weights[head - 1 : head]
    numbers = cast("list[list[list[float]]]", weights.tolist())
    return {"name": one.name, "kind": one.kind, "rows": one.rows, "columns": one.columns, "weights": numbers}


def of_head(one: "Map", head: int | None) -> list[list[float]]:
    """Returns the (T, N) numbers of a head, or of the mean of all, as shares of the greatest."""
    weights = (one.weights.mean(0) if head is None else one.weights[head - 1]).abs()
    return cast("list[list[float]]", (weights / weights.max().clamp(min=1e-30)).tolist())


def printed(one: "Map", head: int | None) -> str:
    """Returns a map in shades, with the tokens of its rows and, below, of its columns."""
    which = f"mean of {one.weights.shape[0]} heads" if head is None else f"head {head}"
    names = [visible(name) for name in one.rows]
    width = max(map(len, names))
    lines = [f"{one.name}, {which}: {MEANING[one.kind]}"]
    for name, row in zip(names, of_head(one, head), strict=True):
        lines.append(f"{name:>{width}} " + "".join(2 * SHADES[min(4, int(5 * x))] for x in row))
    columns = [visible(name) for name in one.columns]
    return "\n".join([*lines, " " * width + " " + "".join(f"{name[:1]:<2}" for name in columns)])


def visible(name: str) -> str:
    """Returns a token without signs that a terminal or a table would obey."""
    return name.replace(" ", "·").replace("\n", "↵").replace("\t", "→") or "∅"


def draw(every: "Sequence[Map]", head: int | None, out: Path) -> None:
    """Writes maps as a picture, a row each, its heads side by side."""
    from matplotlib.figure import Figure

    heads = [range(one.weights.shape[0]) if head is None else [head - 1] for one in every]
    wide = max(map(len, heads))
    figure = Figure(figsize=(3.2 * wide + 1, 3.2 * len(every) + 0.5), layout="constrained")
    axes = figure.subplots(len(every), wide, squeeze=False)
    for line, (one, numbers) in zip(axes, zip(every, heads, strict=True), strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, number in zip(line, numbers, strict=False):
            ax.set_axis_on()
            ax.imshow(one.weights[number].abs().numpy(), cmap="Blues", vmin=0, aspect="auto")
            ax.set_title(f"{one.name}, head {number + 1} ({one.kind})", fontsize=8)
            ax.set_xticks(range(len(one.columns)), [plain(name) for name in one.columns], fontsize=7, rotation=90)
            ax.set_yticks(range(len(one.rows)), [plain(name) for name in one.rows], fontsize=7)
    figure.savefig(out, dpi=110)


def plain(name: str) -> str:
    """Returns a token as a picture can write it."""
    return visible(name).replace("$", r"\$")


def page(every: "Sequence[Map]", head: int | None) -> str:
    """Returns a page of tables, which needs nothing else."""
    parts = list[str]()
    for one in every:
        for number in range(one.weights.shape[0]) if head is None else [head - 1]:
            rows = of_head(one, number + 1)
            top = "".join(f"<th scope=col>{html.escape(visible(name))}" for name in one.columns)
            body = "".join(
                f"<tr><th scope=row>{html.escape(visible(name))}"
                + "".join(
                    f'<td style="--p:{share:.3f}" title="{value:.4f}">'
                    for share, value in zip(row, cast("list[float]", one.weights[number, t].tolist()), strict=True)
                )
                for t, (name, row) in enumerate(zip(one.rows, rows, strict=True))
            )
            parts.append(
                f"<h2>{one.name}, head {number + 1}</h2><p>{MEANING[one.kind]}</p>"
                f"<div><table><tr><td>{top}{body}</table></div>"
            )
    return f"""<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>maps</title><style>:root{{color-scheme:light dark}}body{{font:14px system-ui;margin:1em}}div{{overflow-x:auto}}
td{{min-width:1.4em;height:1.4em;background:color-mix(in srgb,#27c calc(var(--p,0)*100%),transparent)}}
th{{font-weight:normal;font-family:monospace;text-align:right}}</style>{"".join(parts)}</html>
"""
