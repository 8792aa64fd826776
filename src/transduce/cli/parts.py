"""`transduce parts`: every mixer, residual, norm, position, feed-forward and start value a recipe can name."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.documents import document, option
from transduce.cli.words import fold

if TYPE_CHECKING:
    from transduce.inspect.listed import Growth, Listed

app = typer.Typer(help="List the parts of models, with formulas, sources and costs.", invoke_without_command=True)

TITLES = {
    "mixer": "Mixers: model.mixer, model.encoder_mixer, model.cross",
    "positions": "Positions: model.positions",
    "residual": "Residuals: model.residual",
    "norm": "Norms: model.norm",
    "feedforward": "Feed-forwards: model.feedforward",
    "embedding": "Embeddings: model.embedding",
    "head": "Heads: model.head",
    "init": "Start values: model.init",
}


KEYS = "key, kind, formula, source, options, flops and state (fixed + slope * tokens read before; null: not a mixer)"

AsList = Annotated[bool, option(f"a list of objects with {KEYS}")]


@app.callback()
def parts(context: typer.Context, json: AsList = False) -> None:
    if context.invoked_subcommand is None:
        list_(json)


@app.command("ls")
def list_(json: AsList = False) -> None:
    """List every part."""
    from transduce.inspect.listed import listed

    if json:
        return document(map(facts, listed()))

    section = ""
    for part in listed():
        if part.key != section:
            print(("\n" if section else "") + fold(TITLES[part.key], sys.stdout))
            section = part.key
            if section == "mixer":
                print("  (at width 256, after t tokens: the cost of one more token; the state of a row)")
        line(part)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A kind, such as delta, or mixer.delta.", show_default=False)],
    json: Annotated[bool, option(f"{KEYS}, limits")] = False,
) -> None:
    """Everything about one part: formula, source, options, what it can and cannot do, cost and state."""
    from transduce.inspect.listed import WIDTH, one

    part = one(name)
    if json:
        return document({**facts(part), "limits": part.limits})
    print(part.text)
    print(f"\nmodel.{part.key}.kind={part.kind}")
    for key, default in part.options:
        print(f"  {key} = {default}")
    if part.flops is not None and part.state is not None:
        print(f"\ncost of a token at width {WIDTH}: {work(part.flops)}; state of a row: {size(part.state)}")
    for reason in part.limits:
        print(fold(reason, sys.stdout))


@app.command()
def check(
    out: Annotated[Path | None, typer.Option(help="Write a page of results here.", show_default=False)] = None,
    json: Annotated[
        bool, option("a list of objects with encoder, cross, decoder, deviation (null: refused), refusal")
    ] = False,
) -> None:
    """Put every encoder, cross and decoder together; decoding step by step must equal all at once."""
    from transduce.inspect.combinations import matrix, page

    if json:
        return document(map(cell, matrix()))
    text = page(matrix())
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def facts(part: "Listed") -> dict[str, Any]:
    """Returns a part as JSON has it in a list."""
    return {key: value for key, value in vars(part).items() if key not in ("text", "limits")} | {
        "options": dict(part.options)
    }


def cell(result: tuple[str, str, str, float | str]) -> dict[str, Any]:
    """Returns a combination as JSON has it."""
    *places, value = result
    refusal = value if isinstance(value, str) else None
    names = dict(zip(("encoder", "cross", "decoder"), places, strict=True))
    return {**names, "deviation": None if refusal else value, "refusal": refusal}


def line(part: "Listed") -> None:
    about = f"{part.formula}  {part.source}".rstrip()
    print(fold(f"  {part.kind:22}{about}", sys.stdout, 24))
    if part.flops is not None and part.state is not None:
        print(f"{'':24}{work(part.flops)}; {size(part.state)}")


def work(cost: "Growth") -> str:
    """Returns FLOPs per token; t: tokens read before."""
    return scaled(cost.fixed, 1000, "FLOP") + (f" + {scaled(cost.slope, 1000, 'FLOP')} t" if cost.slope else "")


def size(state: "Growth") -> str:
    fixed = scaled(state.fixed, 1024, "B")
    return f"{scaled(state.slope, 1024, 'B')} t" if state.slope else fixed


def scaled(value: float, base: int, unit: str) -> str:
    for prefix in ("", "k", "M"):
        if abs(value) < base:
            return f"{value:.3g} {prefix}{unit}"
        value /= base
    return f"{value:.3g} G{unit}"
