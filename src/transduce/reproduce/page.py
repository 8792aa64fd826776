"""The page that tells which claims hold, made from the results and nothing else."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from transduce.reproduce.experiment import Experiment, Verdict
from transduce.reproduce.mark import Mark, Measurements, number
from transduce.reproduce.store import UNKNOWN, Store

HEAD = """# Reproductions

Each claim is an experiment of `transduce reproduce`, which made this page and its pictures from the results in
[{folder}]({folder}). A mark is what must be measured for the claim to hold, and a result counts only for the marks and
settings it was run with. Marks that are proposed were chosen for the experiment; the others leave a margin to earlier
measurements. Measured is the mean over seeds, and in brackets the least and the greatest.

{counts}

* *Held at once*: every mark was met the first time it was measured, and no mark or setting was changed after a result,
  as far as the history of the repository tells.
* *Held after a change*: every mark is met, but a mark or a setting was changed after a first result. The section of
  the experiment says what it was first, what that gave, what was changed, and why. A mark that was only added is told
  there, too, and is no second try.
* *Failed*: a mark is not met. The section says why, as far as it is known.

A result names the code that it was computed by. Where that has changed since, in a way that may change numbers, the
result is older than the code, and the page says which files have changed.

The table has the first mark of each experiment; the sections below have all.

| experiment | claim | measured | paper | mark | verdict | minutes |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page(store: Store, experiments: Sequence[Experiment]) -> str:
    """Returns the whole page as Markdown."""
    head = HEAD.format(folder=store.folder.name, counts=counts(store, experiments))
    return head + "".join(row(store, e) for e in experiments) + "\n" + "\n".join(section(store, e) for e in experiments)


def counts(store: Store, experiments: Sequence[Experiment]) -> str:
    """Says how many claims there are of each verdict, and how many results are of the code that is there."""
    verdicts = Counter(e.verdict(store.measured(e)) for e in experiments)
    classes = ", ".join(f"{count} {verdict}" for verdict in get_args(Verdict) if (count := verdicts[verdict]))
    measured = [e for e in experiments if store.results(e)]
    older = sum(bool(store.older(e)) for e in measured)
    code = (
        f" The results of {older} are older than the code." if older else " All results are of the code that is there."
    )
    return f"Of {len(experiments)} claims: {classes}.{code if measured else ''}"


def row(store: Store, experiment: Experiment) -> str:
    results, first = store.results(experiment), experiment.marks[0]
    measured = [result["measurements"] for result in results]
    cells = (
        f"[{experiment.kind}](#{experiment.kind})",
        experiment.claim,
        spread(first, measured) if measured else "",
        experiment.paper,
        f"{first.what} {first}",
        f"**{experiment.verdict(measured)}**" + (", older than the code" if store.older(experiment) else ""),
        minutes(experiment, results),
    )
    return f"| {' | '.join(cells)} |\n"


def section(store: Store, experiment: Experiment) -> str:
    results = store.results(experiment)
    measured = [result["measurements"] for result in results]
    lines = [f"## {experiment.kind}", "", f"{experiment.claim} {experiment.source}.", ""]
    lines += ["| measured | mean (least to greatest) | mark | holds |", "| --- | --- | --- | --- |"]
    for mark in experiment.marks:
        cells, holds = ("", "") if not measured else (spread(mark, measured), "yes" if mark.holds(measured) else "no")
        lines.append(f"| {mark.what} | {cells} | {mark} | {holds} |")
    lines += [
        "",
        f"Verdict: **{experiment.verdict(measured)}**{conditions(experiment, results)}.{age(store, experiment)}",
    ]
    lines += ["", *changes(experiment)]
    if experiment.explain:
        lines += [experiment.explain, ""]
    if results and store.picture(experiment).exists():
        lines += [f"![{experiment.kind}]({store.folder.name}/{experiment.kind}.png)", ""]
    return "\n".join(lines)


def changes(experiment: Experiment) -> list[str]:
    """Returns a line for every change, and what stands around them."""
    lines = [f"* {'Changed' if change.what == 'changed' else 'Added'}. {change}" for change in experiment.history]
    return ["What was changed after a result:", "", *lines, ""] if lines else []


def age(store: Store, experiment: Experiment) -> str:
    """Says whether the results are of the code that is there; nothing where there are none."""
    if not store.results(experiment):
        return ""
    older = store.older(experiment)
    return f" Older than the code: {since(older)}." if older else " Of the code that is there."


def since(older: Sequence[str]) -> str:
    """Says what has changed."""
    if UNKNOWN in older:
        return "it was measured by code that it does not name"
    return f"{', '.join(older)} changed since"


def spread(mark: Mark, results: Sequence[Measurements]) -> str:
    """Returns the mean over seeds, the least and the greatest."""
    values = mark.values(results)
    mean = number(sum(values) / len(values))
    finite = [x for x in values if not math.isnan(x)] or values
    low, high = number(min(finite)), number(max(finite))
    return mean if low == high else f"{mean} ({low} to {high})"


def conditions(experiment: Experiment, results: Sequence[dict[str, Any]]) -> str:
    """Returns how many seeds, how long, with what."""
    if not results:
        return ""
    seeds = ", ".join(str(result["seed"]) for result in results)
    some = "" if len(results) == len(experiment.seeds) else f" of the {len(experiment.seeds)} it needs"
    data = sorted({f"data {result['data']}; " for result in results if result.get("data") is not None})
    versions = ", ".join(f"{name} {version}" for name, version in results[-1]["versions"].items())
    threads = f"{results[-1]['threads']} thread" + "s" * (results[-1]["threads"] != 1)
    took = f"{minutes(experiment, results)} minutes with {threads}"
    return f" (seeds {seeds}{some}; {''.join(data)}{took}; {versions})"


def minutes(experiment: Experiment, results: Sequence[dict[str, Any]]) -> str:
    """Returns what was measured, or else what is expected."""
    if not results:
        return f"about {experiment.minutes:g}"
    return f"{sum(result['seconds'] for result in results) / 60:.1f}"
