"""The page that tells which claims hold, made from the results and nothing else."""

import math
from collections.abc import Sequence
from typing import Any

from transduce.reproduce.experiment import Experiment
from transduce.reproduce.mark import Mark, Measurements, number
from transduce.reproduce.store import Store

HEAD = """# Reproductions

Each claim is an experiment of `transduce reproduce`, which made this page and its pictures from the results in
[{folder}]({folder}). A mark is what must be measured for the claim to hold; it is part of the experiment, written down
before the experiment is run, and a result counts only for the marks it was run with. Marks that are proposed were
chosen for the experiment; the others leave a margin to earlier measurements. Measured is the mean over seeds, and in
brackets the least and the greatest.

The table has the first mark of each experiment; the sections below have all.

| experiment | claim | measured | paper | mark | verdict | minutes |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page(store: Store, experiments: Sequence[Experiment]) -> str:
    """The whole page as Markdown."""
    head = HEAD.format(folder=store.folder.name)
    return head + "".join(row(store, e) for e in experiments) + "\n" + "\n".join(section(store, e) for e in experiments)


def row(store: Store, experiment: Experiment) -> str:
    results, first = store.results(experiment), experiment.marks[0]
    measured = [result["measurements"] for result in results]
    cells = (
        f"[{experiment.kind}](#{experiment.kind})",
        experiment.claim,
        spread(first, measured) if measured else "",
        experiment.paper,
        f"{first.what} {first}",
        f"**{experiment.verdict(measured)}**",
        minutes(experiment, results),
    )
    return f"| {' | '.join(cells)} |\n"


def section(store: Store, experiment: Experiment) -> str:
    results = store.results(experiment)
    measured = [result["measurements"] for result in results]
    told = [f"## {experiment.kind}", "", f"{experiment.claim} {experiment.source}.", ""]
    told += ["| measured | mean (least to greatest) | mark | holds |", "| --- | --- | --- | --- |"]
    for mark in experiment.marks:
        found, holds = ("", "") if not measured else (spread(mark, measured), "yes" if mark.holds(measured) else "no")
        told.append(f"| {mark.what} | {found} | {mark} | {holds} |")
    told += ["", f"Verdict: **{experiment.verdict(measured)}**{conditions(experiment, results)}.", ""]
    if experiment.explain:
        told += [experiment.explain, ""]
    if results and store.picture(experiment).exists():
        told += [f"![{experiment.kind}]({store.folder.name}/{experiment.kind}.png)", ""]
    return "\n".join(told)


def spread(mark: Mark, results: Sequence[Measurements]) -> str:
    """The mean over seeds, the least and the greatest."""
    found = mark.values(results)
    mean = number(sum(found) / len(found))
    known = [x for x in found if not math.isnan(x)] or found
    low, high = number(min(known)), number(max(known))
    return mean if low == high else f"{mean} ({low} to {high})"


def conditions(experiment: Experiment, results: Sequence[dict[str, Any]]) -> str:
    """How many seeds, how long, with what."""
    if not results:
        return ""
    seeds = ", ".join(str(result["seed"]) for result in results)
    some = "" if len(results) == len(experiment.seeds) else f" of the {len(experiment.seeds)} it needs"
    with_ = ", ".join(f"{name} {version}" for name, version in results[-1]["versions"].items())
    return (
        f" (seeds {seeds}{some}; {minutes(experiment, results)} minutes with {results[-1]['threads']} threads; {with_})"
    )


def minutes(experiment: Experiment, results: Sequence[dict[str, Any]]) -> str:
    """What was measured, or else what is expected."""
    if not results:
        return f"about {experiment.minutes:g}"
    return f"{sum(result['seconds'] for result in results) / 60:.1f}"
