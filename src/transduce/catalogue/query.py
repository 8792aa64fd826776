"""A listing of the catalogue: which entries it shows, and in which order."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from transduce.catalogue.entry import FAMILIES, Entry, catalogue
from transduce.errors import UserError

SORTS: dict[str, Callable[[Entry], Any]] = {
    "id": lambda e: e.id,
    "year": lambda e: (e.year, e.id),
    "params": lambda e: params(e) or 0,
    "lab": lambda e: (e.lab.lower(), e.year),
}


def params(entry: Entry) -> int | None:
    """Returns the parameters as counted, else as published."""
    if entry.counted is not None:
        return entry.counted.params
    return None if entry.published is None else entry.published.params


def select(
    family: str | None = None, objective: str | None = None, year: str | None = None, text: str | None = None,
    sort: str | None = None,
) -> list[Entry]:  # fmt: skip
    """Returns the entries that meet every condition; year is 2019 or a span such as 2019..2021, either end open.

    text: words that all stand somewhere in the id, name, heading, lab or use.
    sort: a key of `SORTS` (None: the order of the files).

    Raises UserError for a family, objective or key that does not exist, and for a year that is not one.
    """
    entries = list(catalogue().values())
    if family is not None:
        family = known("family", family, FAMILIES)
        entries = [e for e in entries if e.family == family]
    if objective is not None:
        objective = known("objective", objective, {one for e in catalogue().values() for one in e.objective})
        entries = [e for e in entries if objective in e.objective]
    if year is not None:
        first, last = span(year)
        entries = [e for e in entries if first <= e.year <= last]
    for word in (text or "").lower().split():
        entries = [e for e in entries if word in " ".join((e.id, e.name, e.heading, e.lab, e.use)).lower()]
    return entries if sort is None else sorted(entries, key=SORTS[known("sort", sort, SORTS)])


def span(year: str) -> tuple[int, int]:
    """Returns 2019 -> 2019 to 2019; 2019..2021, 2019.. and ..2021."""
    match = re.fullmatch(r"(\d{4})|(\d{4})?\.\.(\d{4})?", year)
    if match is None or year == "..":
        raise UserError(f"`{year}` is not a span of years; write 2019, 2019..2021, 2019.. or ..2021")
    only, first, last = match.groups()
    return int(only or first or 0), int(only or last or 9999)


def known(what: str, name: str, names: Iterable[str]) -> str:
    """Returns the name, if the list has it. Raises UserError."""
    names = sorted(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise UserError(f"there is no {what} `{name}`; {hint}")
