"""`transduce runs`: list, show, compare and remove the runs in a directory."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from transduce.cli.columns import ago, aligned, minutes, short, side_by_side, size, width_of
from transduce.cli.completion import run_names
from transduce.cli.documents import document, option
from transduce.cli.words import fold, written
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.runs.comparing import Comparison
    from transduce.runs.detail import Detail
    from transduce.runs.listing import Summary

app = typer.Typer(help="List, show, compare and remove runs.", no_args_is_help=True)

KEYS = "name, path, state, problem, step, max_steps, parameters, metric, score, valid_loss, minutes, changed"
SPARE = (6, 5, 2)  # columns of `ls` that a narrow terminal goes without

Directory = Annotated[
    Path, typer.Argument(metavar="RUN", help="The directory of a run.", show_default=False, autocompletion=run_names)
]
Directories = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Directories of runs.", show_default=False, autocompletion=run_names),
]


@app.command("ls")
def list_(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="A directory with runs.")] = Path("runs"),
    sort: Annotated[str, typer.Option(help="when (the latest last), name, loss, parameters or minutes.")] = "when",
    json: Annotated[bool, option(f"a list of objects with {KEYS}")] = False,
) -> None:
    """List the runs in a directory.

    Parameters; the metric that chooses the best checkpoint, with its value; the loss of that checkpoint on the
    validation split; minutes of training. A state ends in ! where files are damaged: `runs show` says what is wrong.
    """
    from transduce.runs.listing import summaries

    runs = summaries(folder, sort)
    if json:
        document(runs)
    elif not runs:
        print(f"there are no runs in {folder}; `transduce train` makes one", file=sys.stderr)
    else:
        head = ("name", "state", "parameters", "best", "valid loss", "minutes", "when")
        for line in aligned([head, *map(row, runs)], width_of(sys.stdout), SPARE):
            print(line)


def row(one: "Summary") -> tuple[str, ...]:
    """Returns the cells of a run."""
    return one.name, state(one), short(one.parameters), best(one), loss(one), minutes(one.minutes), ago(one.changed)


def state(one: "Summary") -> str:
    """Returns in a few words how far a run is."""
    of = f"step {one.step:,}" + ("" if one.max_steps is None else f" of {one.max_steps:,}")
    words = {"finished": "finished", "imported": "imported", "damaged": "damaged!", "stopped": of}
    return words.get(one.state, f"{of}, running")


def best(one: "Summary") -> str:
    """Returns the metric that chooses the best checkpoint, and its value."""
    if one.metric is None or one.score is None:
        return ""
    names = {"bleu": "BLEU", "exact": "exact match", "loss": "loss"}
    share = one.metric not in ("loss", "bleu") and 0 <= one.score <= 1
    value = f"{one.score:.2%}" if share else f"{one.score:.4f}" if one.metric == "loss" else f"{one.score:.2f}"
    return f"{names.get(one.metric, one.metric)} {value}"


def loss(one: "Summary") -> str:
    return "" if one.valid_loss is None else f"{one.valid_loss:.4f}"


@app.command()
def show(
    run: Directory,
    json: Annotated[bool, option("summary (as ls), config, data, result, checkpoints, bytes")] = False,
) -> None:
    """Show everything about a run.

    How far it is, the keys of its recipe that differ from the defaults, its data, what was measured at the end, its
    checkpoints, whose files are compared with their sha256, and what it takes on the disk.
    """
    from transduce.runs.listing import require_run

    require_run(run)
    from transduce.runs.detail import detail

    about = detail(run)
    if json:
        document(about)
    else:
        everything(about)


def everything(about: "Detail") -> None:
    """Prints a run in full."""
    one = about.summary
    print(f"{one.path}: {state(one)}" + (f" ({one.problem})" if one.problem else ""))
    fact("changed", f"{one.changed}, {ago(one.changed)}")
    fact("trained", "" if one.minutes is None else f"{one.step:,} steps in {minutes(one.minutes)} minutes")
    fact("parameters", "" if one.parameters is None else f"{one.parameters:,}")
    fact("best", "" if one.score is None else f"{best(one)} on valid")
    for name, split in about.data.items():
        fact(f"data {name}", ", ".join(f"{value:,} {key}" for key, value in split.items() if isinstance(value, int)))
    for name, value in (about.result or {}).items():
        fact(name, measured(value))
    fact("disk", size(about.bytes))
    if isinstance(about.config, str):
        fact("recipe", about.config)
    else:
        print("recipe, where it differs from the defaults")
        for key, value in about.config.items():
            print(fold(f"  {key}={written(value)}", sys.stdout, 4))
    print("checkpoints" if about.checkpoints else "no checkpoints")
    width = max((len(saved.name) for saved in about.checkpoints), default=0)
    for saved in about.checkpoints:
        marks = ", ".join([saved.problem or "whole", *saved.links])
        print(fold(f"  {saved.name:{width}}  {size(saved.bytes):>10}  {marks}", sys.stdout, width + 16))


def measured(values: Any) -> str:
    """Returns the measures of a split in a line; nothing for what is not measures by name."""
    pairs = cast("dict[str, Any]", values).items() if isinstance(values, dict) else ()
    numbers = {key: value for key, value in pairs if isinstance(value, int | float)}
    return "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())


def fact(key: str, value: str) -> None:
    """Prints a name and a value, folded; nothing for an empty value."""
    if value:
        print(fold(f"  {key:12} {value}", sys.stdout, 15))


@app.command()
def compare(
    runs: Directories,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the losses here; default: compare.png beside the first run.")
    ] = None,
    json: Annotated[bool, option("runs (as ls), tokens, results, differences, remarks, plot")] = False,
) -> None:
    """Compare runs: their numbers, the keys of their recipes that differ, and a plot of all losses."""
    from transduce.runs.listing import require_run

    for run in runs:
        require_run(run)
    if len(runs) < 2:
        raise UserError(f"{runs[0]} alone cannot be compared; name two runs or more")
    from transduce.runs import comparing

    comparison, file = comparing.compare(runs), runs[0].parent / "compare.png" if plot is None else plot
    picture = file if comparing.draw(runs, file) else None
    if json:
        document({**vars(comparison), "plot": picture})
        return
    names = comparing.labels(runs)
    for line in side_by_side([("", *names), *numbers(comparison)], width_of(sys.stdout)):
        print(line)
    print("\nrecipes, where they differ" if comparison.differences else "\nthe recipes are the same")
    rows = [
        (f"  {key}", *("" if v is None else written(v) for v in row)) for key, row in comparison.differences.items()
    ]
    for line in side_by_side([("", *names), *rows], width_of(sys.stdout)) if rows else ():
        print(line)
    print()
    for sentence in comparison.remarks:
        print(fold(f"! {sentence}", sys.stdout, 2))
    print("nothing to plot: no run has a loss" if picture is None else f"losses: {picture}")


def numbers(comparison: "Comparison") -> list[tuple[str, ...]]:
    """Returns the rows of numbers; a row in which every run has nothing is left out."""
    rows = [
        ("state", *map(state, comparison.runs)),
        ("parameters", *("" if one.parameters is None else f"{one.parameters:,}" for one in comparison.runs)),
        ("steps", *(f"{one.step:,}" for one in comparison.runs)),
        ("tokens", *("" if count is None else f"{count:,}" for count in comparison.tokens)),
        ("minutes", *(minutes(one.minutes) for one in comparison.runs)),
        ("best", *map(best, comparison.runs)),
        ("best valid loss", *map(loss, comparison.runs)),
        *((name, *("" if v is None else f"{v:.4g}" for v in row)) for name, row in comparison.results.items()),
    ]
    return [row for row in rows if any(row[1:])]


@app.command()
def rm(
    runs: Directories,
    yes: Annotated[bool, typer.Option("--yes", metavar="", help="Do not ask.")] = False,
    json: Annotated[bool, option("removed (paths)")] = False,
) -> None:
    """Remove runs. All of them are checked before the first is removed.

    A run that is being written is refused, and so is what is not a run; nothing that a link leads to is touched.
    """
    from transduce.runs.removing import remove_run, require_removable

    runs = list(dict.fromkeys(runs))
    require_removable(runs)
    names = ", ".join(map(str, runs))
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"{names} would be removed, and nobody can be asked here; add --yes")
        sys.stderr.write(f"remove {names}? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UserError("nothing was removed")
    for run in runs:
        remove_run(run)
        if not json:
            print(f"removed {run}")
    if json:
        document({"removed": runs})
