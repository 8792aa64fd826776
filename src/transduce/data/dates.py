"""The data set that needs no file: dates as people write them in many languages, to be written as YYYY-MM-DD."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from transduce.data.columns import SOURCE, TARGET, Columns
from transduce.data.locales import COMMAS, Pattern, careless, collisions, contradictory, patterns
from transduce.data.source import DataConfig
from transduce.errors import UserError

# fmt: off
LOCALES = (  # in Latin, Cyrillic, Greek, Armenian, Georgian, Hebrew, Arabic, Ethiopic, Indic, Thai, Han, Hangul script
    "en", "en_GB", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "hu", "ro", "tr", "vi", "id",
    "ca", "hr", "et", "lt", "sw", "ru", "uk", "bg", "sr", "kk", "el", "hy", "ka", "he", "ar_EG", "fa", "ur", "am", "hi",
    "mr", "bn", "ta", "th", "zh", "zh_Hant", "ja", "ko",
)
# fmt: on
MOST = 10_000_000  # texts of a split, all of which stay in memory


@dataclass(frozen=True, kw_only=True)
class Dates(DataConfig):
    """Dates in the formats of `locales` (Babel's names), made from a seed, without files or network.

    Every text means one day: dates in numbers whose order people disagree on (3/5/2021) are written only where the day
    is above 12 or equals the month, and texts that two languages read differently not at all. A day belongs to one
    split, by its hash: 90 % of days to train, 5 % each to valid and test, whatever the seed.

    seed: of the days, their formats and the carelessness.
    train_size: dates to train on.
    valid_size: dates to validate on.
    test_size: dates to test on at the end.
    first_year: of the first day there may be.
    last_year: of the last day there may be.
    noise: share of texts written carelessly: in lower case, without commas.
    locales: names of locales as Babel has them, whose formats are written.
    """

    kind: ClassVar[str] = "dates"
    task: ClassVar[str] = "translate"
    seed: int = 0
    train_size: int = 100_000
    valid_size: int = 1000
    test_size: int = 2000
    first_year: int = 1900
    last_year: int = 2099
    noise: float = 0.1
    locales: tuple[str, ...] = LOCALES

    def __post_init__(self) -> None:
        if not 1000 <= self.first_year <= self.last_year <= 9999:
            raise ValueError(
                f"first_year={self.first_year} must not be after last_year={self.last_year}, both within 1000..9999"
            )
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise={self.noise} is a share of the texts, between 0 and 1")
        if self.train_size < 1 or self.valid_size < 0 or self.test_size < 0:
            raise ValueError("train_size must be at least 1, valid_size and test_size at least 0")
        if max(self.train_size, self.valid_size, self.test_size) > MOST:
            raise ValueError(f"train_size, valid_size and test_size must be at most {MOST:,}")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")
        if not self.locales:
            raise ValueError("locales is empty; name at least one, such as `en`")

    @property
    def gives(self) -> tuple[str, ...]:
        return SOURCE, TARGET

    def files_read(self) -> list[Path]:
        """Returns no files: what is written follows from these numbers."""
        return []

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the three splits; no text stands twice in one. Raises UserError for an unknown locale."""
        sizes = {"train": self.train_size, "valid": self.valid_size, "test": self.test_size}
        days: dict[str, list[date]] = {split: [] for split in sizes}
        for ordinal in range(date(self.first_year, 1, 1).toordinal(), date(self.last_year, 12, 31).toordinal() + 1):
            day = date.fromordinal(ordinal)
            days[split_of(day)].append(day)
        ways = [patterns(name) for name in self.locales]
        return {split: self._write(number, days[split], ways) for number, split in enumerate(sizes) if sizes[split]}

    def _write(self, number: int, days: list[date], ways: list[tuple[Pattern, ...]]) -> Columns:
        size = (self.train_size, self.valid_size, self.test_size)[number]
        shapes, twice = unclear(self.locales)

        def clear(pattern: Pattern, day: date) -> bool:
            if pattern.numeric and pattern.shape in shapes and day.day <= 12 and day.day != day.month:
                return False
            return not twice or careless(pattern.fill(day.weekday(), day.month, day.day, "y")) not in twice

        rng = np.random.default_rng((self.seed, number))
        dates: dict[str, str] = {}
        for _ in range(20):  # most draws are kept; more rounds mean that there are hardly any texts left to find
            for where, how, care, *whens in rng.random((size, 3 + 5)).tolist():
                choice = ways[int(where * len(ways))]
                pattern = choice[int(how * len(choice))]
                possible = (days[int(when * len(days))] for when in whens)
                day = next((day for day in possible if clear(pattern, day)), None)
                if day is None:
                    continue
                text = pattern.write(day)
                if care < self.noise:
                    text = (text.lower(), text.translate(COMMAS), careless(text))[int(care / self.noise * 3)]
                dates.setdefault(text, day.isoformat())
                if len(dates) == size:
                    return Columns({SOURCE: list(dates), TARGET: list(dates.values())})
        raise UserError(
            f"{size} different dates are asked for, but hardly more than {len(dates)} can be written in "
            f"{len(self.locales)} locales and the years {self.first_year}-{self.last_year}; ask for fewer"
        )


def split_of(day: date) -> str:
    """Returns the split that a day belongs to, by its hash alone."""
    percent = int.from_bytes(hashlib.blake2b(day.isoformat().encode(), digest_size=4).digest()) % 100
    return "train" if percent < 90 else "valid" if percent < 95 else "test"


@cache
def unclear(names: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Returns, for locales, the shapes whose day and month change places, and the texts that mean two days."""
    ways = [pattern for name in names for pattern in patterns(name)]
    shapes = contradictory(ways)
    return shapes, collisions([pattern for pattern in ways if not (pattern.numeric and pattern.shape in shapes)])
