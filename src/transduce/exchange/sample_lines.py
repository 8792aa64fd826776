"""Lines of text in many scripts, made from locale data: the same ones everywhere, with no file and no network."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from babel import Locale

LOCALES = """
    en de fr es pt it nl sv pl cs ro hu tr vi fi el ru uk bg sr ka hy he ar fa ur hi bn ta te ml si th lo my km am ko ja
    zh zh_Hant mn ti gu pa or kn ne"""
AWKWARD = (
    "", " ", "  two  spaces ", "\ttab and\nnew line\r\n", "x = [1, 2]; y = {'a': 3.14}  # code", "if (a<b && b>c) {}",
    "don't, I'll, we've, it's", "ALL CAPITALS and CamelCase", "1,234,567.89 - 10^-6 = ½ + ¾", "e\u0301 versus \u00e9",
    "🙂👩‍👧 🇨🇭 ✓", "“quotes” „unten“ «guillemets»", "a\u00a0b\u2009c\u200bd", "https://example.org/a?b=c&d=%20",
    "ﬁ ﬂ ① Ⅳ ＡＢＣ", "\u2581 and \u0120 and ##ing and ▁▁", "naïve façade, Straße, İstanbul, ıI",
)  # fmt: skip


def lines(count: int = 1000) -> list[str]:
    """Returns `count` lines: awkward ones, then names of countries, languages and months, alone and in rows."""
    return list(islice(_lines(), count))


def _lines() -> Iterator[str]:
    yield from AWKWARD
    languages = [_names(Locale.parse(code)) for code in LOCALES.split()]
    for start in range(0, 1 << 30, 6):
        for names in languages:
            six = names[start % len(names) :][:6]
            yield from (" ".join(six), six[0], f"{six[-1]}, {start * 37} ({six[0]}).")


def _names(locale: Locale) -> list[str]:
    data = cast(Any, locale)
    tables: list[dict[Any, Any]] = [dict(x) for x in (data.territories, data.languages, data.months["format"]["wide"])]
    return [str(table[key]) for table in tables for key in sorted(table)]
