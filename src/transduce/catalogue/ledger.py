"""Every published model of text, counted, and the table of all of them."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from transduce.catalogue.counts import Costs, costs
from transduce.catalogue.entry import TEXT, Entry, catalogue
from transduce.catalogue.lineage import counted, deviation, off_by
from transduce.catalogue.shape import body, built
from transduce.errors import UserError

BODY = ("mixers", "feed-forward")


class Line(NamedTuple):
    """An entry and what is known of its size.

    costs: of our model of it; None: there is none, and `why` says so. body: attention and feed-forwards alone, where
    there is no more. beside: parameters of published parts that are not among ours, by name.
    """

    entry: Entry
    costs: Costs | None = None
    body: int | None = None
    notes: tuple[str, ...] = ()
    beside: Mapping[str, int] = {}
    why: str = ""

    @property
    def params(self) -> int | None:
        """Returns all parameters, counted; of the body, where no more is known."""
        return self.body if self.costs is None else self.costs.params + sum(self.beside.values())

    @property
    def expected(self) -> int | None:
        """Returns the parameters of another count, of the entry or of the ancestor whose shape it has."""
        count = counted(self.entry)
        return None if count is None else count.params

    @property
    def deviation(self) -> float | None:
        """Returns (counted - published) / published, in the published scope."""
        return deviation(self.entry, self.params)


def line(entry: Entry) -> Line:
    """Returns an entry, counted."""
    try:
        model = built(entry)
    except UserError as error:
        alone = body(entry) if entry.counted is not None and not entry.buildable and entry.family in TEXT else None
        parts = None if alone is None else costs(alone, 1).parts
        return Line(entry, body=None if parts is None else sum(parts[part] for part in BODY), why=str(error))
    return Line(entry, costs(model.model, model.vocab_size), None, model.notes, model.beside)


def lines() -> Iterator[Line]:
    """Yields every entry that is a model of text, in the order of the files."""
    return (line(entry) for entry in catalogue().values() if entry.family in TEXT)


HEAD = """# Published models of text, counted

Made by `transduce catalogue counts --out docs/catalogue-counts.md`. *Counted* are the parameters, tied ones once, of
the model that our parts make of the published shape. *Equal* says whether that is, to the last parameter, what another
count gives: mostly that of the class of `transformers`, without numbers; else a closed form, or code of the authors.
*Off* is how far the count is from what the authors printed; where they printed it of a part of the model, that of the
part. *Active* are the parameters that one token meets, where there are experts. `model=ID` in a recipe, or
`td.build("ID")`, makes the model. Dropout and start values are not published shapes: they are ours.
"""


def page(counts: Iterable[Line]) -> str:
    """Returns the table of all entries, as Markdown."""
    all_lines = list(counts)
    rows = [
        "| id | published | counted | off | equal | active | |",
        "|---|--:|--:|--:|---|--:|---|",
        *map(row, all_lines),
    ]
    whole = [one for one in all_lines if one.costs is not None and not one.beside]
    checked = [one for one in all_lines if one.entry.counted is not None]
    equal = sum(one.params == one.expected for one in checked)
    summary = (
        f"{len(all_lines)} models of text; {len(whole)} are built of our parts; {len(checked)} have another count, "
        f"which {equal} meet to the last parameter."
    )
    return f"{HEAD}\n{textwrap.fill(summary, 120)}\n\n" + "\n".join(rows) + "\n"


def row(one: Line) -> str:
    """Returns a line of the table."""
    published, costs = one.entry.published, one.costs
    label = "" if published is None else published.label + ("" if published.scope == "all" else f" ({published.scope})")
    counted = "" if one.params is None else f"{one.params:,}"
    off = "" if one.deviation is None else off_by(one.deviation)
    equal = "" if one.expected is None else "yes" if one.params == one.expected else f"no, {one.expected:,}"
    active = f"{costs.active:,}" if costs is not None and costs.active != costs.params else ""
    return f"| {one.entry.id} | {label} | {counted} | {off} | {equal} | {active} | {'; '.join(remarks(one))} |"


def remarks(one: Line) -> list[str]:
    """Returns where the model is not the published one, or why it is not built."""
    beside = [f"{count:,} of {name.replace('_', ' ')} are no part here" for name, count in one.beside.items()]
    alone = ["counted are attention and feed-forwards alone"] if one.body is not None else []
    why = [one.why.split(": ", 1)[-1]] if one.why else []
    return [*why, *alone, *one.notes, *beside]
