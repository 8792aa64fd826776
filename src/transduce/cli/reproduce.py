"""`transduce reproduce`: the claims of the papers, measured here."""

import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.documents import document, option
from transduce.cli.words import fold, overrides
from transduce.errors import UserError
from transduce.screen import Screen

if TYPE_CHECKING:
    from transduce.reproduce.experiment import Experiment
    from transduce.reproduce.store import Store

OUT = Path("runs/reproductions")

Name = Annotated[
    str, typer.Argument(help="An experiment, or `all`; `ls`: list them; `page`: write OUT.md anew.", show_default=False)
]  # fmt: skip
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", show_default=False, help="Other settings than the experiment's own, such as steps=10."
    ),
]  # fmt: skip


def reproduce(
    name: Name,
    words: Changes = None,
    out: Annotated[Path, typer.Option(help="Where the results lie; OUT.md tells of them.")] = OUT,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1; default: those of the experiment.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with what the experiment reads, such as train.txt.", show_default=False),
    ] = None,
    threads: Annotated[int, typer.Option(help="Of the processor.")] = 2,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Measure again what was measured.")] = False,
    json: Annotated[
        bool, option("a list of objects with name, claim, source, verdict, minutes, older, marks, seeds")
    ] = False,
) -> None:
    """Run the claims of the papers as experiments, and tell which of them hold.

    What was measured already with the same settings and the same code is not measured again, so an interrupted run goes
    on.
    """
    from transduce.config import from_data, override
    from transduce.reproduce import experiment as experiments
    from transduce.reproduce.page import page
    from transduce.reproduce.store import Store, write
    from transduce.training.train import threads as computing

    if threads < 1:
        raise UserError(f"--threads {threads} must be at least 1")
    changes, store, broken = overrides(words), Store(out), False
    every = [experiments.named(each)() for each in experiments.names()]
    if name == "ls":
        return document([facts(store, each) for each in every]) if json else list_(store, every)
    names = {"all": experiments.names(), "page": []}.get(name, [name])
    if changes and (name == "all" or out == OUT):
        raise UserError("other settings are not the experiment of record; name one experiment, and give --out DIR")
    with computing(threads, "--threads "):
        for each in names:
            settings: dict[str, Any] = {}
            for key, value in changes:
                override(settings, key, value)
            experiment = from_data(experiments.named(each), settings, each)
            try:
                with redirect_stdout(sys.stderr) if json else nullcontext():
                    run(store, experiment, chosen_seeds(seeds, experiment), data, force)
            except UserError as error:
                if name != "all":
                    raise
                with redirect_stdout(sys.stderr) if json else nullcontext():
                    tell(f"{each}: not run: {error}")
            except Exception:
                if name != "all":
                    raise
                traceback.print_exc()  # a fault of ours: the other experiments are run all the same
                broken = True
    write(out.with_name(f"{out.name}.md"), page(store, every))
    if json:
        document([facts(store, each) for each in every if each.kind in names])
    if broken:
        raise typer.Exit(1)


def run(store: "Store", experiment: "Experiment", seeds: tuple[int, ...], data: Path | None, force: bool) -> None:
    """Measures what the present code has not measured yet, draws it, and tells."""
    from transduce.reproduce.page import since, spread
    from transduce.reproduce.store import changed_since

    for seed in seeds:
        result = store.result(experiment, seed)
        older = changed_since(result) if result is not None else []
        if force or result is None or older:
            seconds = store.measure(experiment, seed, data)["seconds"]
            again = f", again: {since(older)}" if older else ""
            tell(f"{experiment.kind}: seed {seed} measured in {seconds} s{again}")
    measured = store.measured(experiment)

    for mark in experiment.marks if measured else ():
        holds = "holds" if mark.holds(measured) else "does not hold"
        tell(f"  {mark.what}: {spread(mark, measured)}; mark {mark}: {holds}")
    picture = store.draw(experiment)
    some = "" if len(measured) in (0, len(experiment.seeds)) else f" ({len(measured)} of {len(experiment.seeds)} seeds)"
    tell(f"{experiment.kind}: {experiment.verdict(measured)}{some}" + (f"  {picture}" if picture else ""))


def chosen_seeds(text: str | None, experiment: "Experiment") -> tuple[int, ...]:
    """Returns the seeds in whole numbers with commas between, all of the experiment's own."""
    if text is None:
        return experiment.seeds
    seeds = tuple(dict.fromkeys(int(word) if word.strip().isdecimal() else -1 for word in text.split(",")))
    if not set(seeds) <= set(experiment.seeds):
        own = ",".join(map(str, experiment.seeds))
        raise UserError(
            f"--seeds {text}: {experiment.kind} has the seeds {own}; name some of them, with commas between"
        )
    return seeds


def list_(store: "Store", experiments: "list[Experiment]") -> None:
    """Prints name, last verdict, minutes and claim of each, then the number of each verdict."""
    from transduce.reproduce.page import age, counts

    width = max(len(experiment.kind) for experiment in experiments)
    for e in experiments:
        head = f"{e.kind:{width}}  {e.verdict(store.measured(e)):19}  {e.minutes:>4g} min  "
        text = e.claim + (age(store, e) if store.older(e) else "")
        sys.stdout.write(fold(head + text, sys.stdout, len(head)) + "\n")
    sys.stdout.write(f"{counts(store, experiments)}\n")


def facts(store: "Store", experiment: "Experiment") -> dict[str, Any]:
    """Returns an experiment as JSON has it: values of its marks by seed, and whether they hold (null: not measured)."""
    measured = store.measured(experiment)
    marks = [
        {
            "what": mark.what,
            "mark": str(mark),
            "values": mark.values(measured),
            "holds": mark.holds(measured) if measured else None,
        }
        for mark in experiment.marks
    ]
    return {
        "name": experiment.kind,
        "claim": experiment.claim,
        "source": experiment.source,
        "verdict": experiment.verdict(measured),
        "minutes": experiment.minutes,
        "older": store.older(experiment),
        "marks": marks,
        "seeds": experiment.seeds,
    }


def tell(text: str) -> None:
    Screen(sys.stdout).say(text)
