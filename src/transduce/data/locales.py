"""Dates as people of a place write them: patterns out of Babel's locale data (Unicode CLDR)."""

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import product
from typing import Any, NamedTuple

from transduce.config import nearest
from transduce.errors import UserError

LENGTHS = ("full", "long", "medium", "short")
SKELETONS = ("yMMMd", "yMMMEd", "yMMMMd", "yMMMMEEEEd", "yMd", "yMEd")
LONGEST = 60  # characters of a date; a pattern that writes longer ones is left out
DIGITS = {  # the Unicode names of a numbering system's digits
    "arab": "ARABIC-INDIC",
    "arabext": "EXTENDED ARABIC-INDIC",
    "beng": "BENGALI",
    "deva": "DEVANAGARI",
    "khmr": "KHMER",
    "mymr": "MYANMAR",
    "thai": "THAI",
    "tibt": "TIBETAN",
}
COMMAS = str.maketrans("", "", ",،፣")
FIELDS = ("{d}", "{m}", "{y}")


class Pattern(NamedTuple):
    """One way to write a date: `template` with {e}, {d}, {m} and {y}, and what stands there."""

    template: str
    weekdays: tuple[str, ...]  # 7, Monday first; empty where the template has none
    days: tuple[str, ...]  # 31
    months: tuple[str, ...]  # 12
    digits: str  # ten, for the year

    def write(self, day: date) -> str:
        """Returns the date as text."""
        year = f"{day.year:04d}".translate(dict(zip(range(48, 58), self.digits, strict=True)))
        return self.fill(day.weekday(), day.month, day.day, year)

    def fill(self, weekday: int, month: int, day: int, year: str) -> str:
        """Returns the template with its parts: weekday 0-6, month 1-12, day 1-31, the year as text."""
        e = self.weekdays[weekday] if self.weekdays else ""
        return self.template.format(e=e, d=self.days[day - 1], m=self.months[month - 1], y=year)

    @property
    def numeric(self) -> bool:
        """Says whether the month is a number, and nothing beside it says so."""
        return all(c in self.digits for c in self.months[10])

    @property
    def shape(self) -> str:
        """Returns digits, the year and what stands between: "0/0/y" of any date in numbers with such strokes."""
        core = self.template[min(map(self.template.index, FIELDS)) : max(map(self.template.index, FIELDS)) + 3]
        return core.format(d=self.digits[0], m=self.digits[0], y="y")

    @property
    def day_first(self) -> bool:
        """Says whether the day comes before the month."""
        return self.template.index("{d}") < self.template.index("{m}")


@functools.cache
def patterns(name: str) -> tuple[Pattern, ...]:
    """Returns every way in which a locale writes a day of the Gregorian calendar with a year of four digits.

    Where the locale has digits of its own, each pattern comes with these and with 0-9. All white space becomes the
    plain space and marks of direction go, as people type them. Raises UserError for a locale that Babel does not know.
    """
    from babel import Locale, UnknownLocaleError  # slow to import, and few need it
    from babel.localedata import locale_identifiers

    try:
        locale = Locale.parse(name)
    except (UnknownLocaleError, ValueError):
        guess = nearest(name, locale_identifiers())
        raise UserError(f"no locale is called `{name}`{f'; did you mean `{guess}`?' if guess else ''}") from None
    formats: list[Any] = [locale.date_formats[length] for length in LENGTHS]
    formats += [locale.datetime_skeletons[s] for s in SKELETONS if s in locale.datetime_skeletons]
    system = DIGITS.get(locale.default_numbering_system)
    every: dict[Pattern, None] = {}
    for digits in ["0123456789", *([_digits(system)] if system else [])]:
        for pattern in dict.fromkeys(str(f) for f in formats):
            if (built := _build(locale, pattern, digits)) and len(built.write(date(2020, 11, 25))) <= LONGEST:
                every[built] = None
    return tuple(every)


def _digits(script: str) -> str:
    names = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
    return "".join(unicodedata.lookup(f"{script} DIGIT {n}") for n in names)


def _build(locale: Any, pattern: str, digits: str) -> Pattern | None:
    """Returns the pattern in our form (None: it has a field beside day, month, year and weekday, or a short year)."""
    from babel.dates import tokenize_pattern

    template, weekdays, days, months = "", (), (), ()
    for kind, value in tokenize_pattern(pattern):
        if kind == "chars":
            template += str(value).replace("{", "{{").replace("}", "}}")
            continue
        field, count = str(value[0]), int(value[1])
        if field in "ML" and count <= 4:
            months, field = _months(locale, field, count, digits), "m"
        elif field in "Ec" and (count <= 4):
            width, form = ("wide" if count == 4 else "abbreviated"), ("format" if field == "E" else "stand-alone")
            weekdays, field = tuple(str(locale.days[form][width][i]) for i in range(7)), "e"
        elif field == "d":
            days = tuple(_number(n, count, digits) for n in range(1, 32))
        elif field == "G" and count <= 4:
            template += str(locale.eras["wide" if count == 4 else "abbreviated"][1])
            continue
        elif field != "y" or count == 2:
            return None
        template += "{" + field + "}"
    if any(template.count(field) != 1 for field in FIELDS):
        return None
    return Pattern(_plain(template), _each(weekdays), days, _each(months), digits)


def _months(locale: Any, field: str, count: int, digits: str) -> tuple[str, ...]:
    if count <= 2:
        return tuple(_number(n, count, digits) for n in range(1, 13))
    names = locale.months["format" if field == "M" else "stand-alone"]["wide" if count == 4 else "abbreviated"]
    return tuple(str(names[n]) for n in range(1, 13))


def _number(n: int, width: int, digits: str) -> str:
    return "".join(digits[int(c)] for c in str(n).zfill(width))


def _plain(text: str) -> str:
    return "".join(" " if c.isspace() else c for c in text if c not in "\u200e\u200f\u061c").strip()


def _each(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_plain, names))


def contradictory(ways: Sequence[Pattern]) -> frozenset[str]:
    """Returns the shapes of dates in numbers in which some people put the day first and others the month."""
    orders: dict[str, set[bool]] = {}
    for pattern in ways:
        if pattern.numeric:
            orders.setdefault(pattern.shape, set()).add(pattern.day_first)
    return frozenset(shape for shape, forms in orders.items() if len(forms) > 1)


def collisions(ways: Sequence[Pattern]) -> frozenset[str]:
    """Returns every text, made careless, that means two days of the same year; the year stands as "y"."""
    days: dict[str, tuple[int, int]] = {}
    twice: set[str] = set()
    for pattern in ways:
        names = tuple(map(careless, pattern.weekdays)), pattern.days, tuple(map(careless, pattern.months))
        folded = Pattern(careless(pattern.template), *names, pattern.digits)
        for month, day, weekday in product(range(1, 13), range(1, 32), range(7 if pattern.weekdays else 1)):
            text = folded.fill(weekday, month, day, "y")
            if days.setdefault(text, (month, day)) != (month, day):
                twice.add(text)
    return frozenset(twice)


def careless(text: str) -> str:
    """Returns text in lower case, without commas."""
    return text.lower().translate(COMMAS)
