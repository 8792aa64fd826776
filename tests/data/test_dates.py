"""Laws of the dates: one text, one day; no day in two splits; written as the locale writes."""

import re
import unicodedata
from collections import defaultdict
from datetime import date

import pytest
from babel.dates import format_date

from transduce.config import from_data, to_data
from transduce.data.dates import LOCALES, Dates, split_of, unclear
from transduce.data.locales import LONGEST, careless, collisions, contradictory, patterns
from transduce.errors import UserError


@pytest.fixture(scope="module")
def splits():
    return Dates(train_size=20_000, valid_size=500, test_size=500).load()


def test_sizes_are_what_was_asked_for(splits):
    assert {name: len(texts["source"]) for name, texts in splits.items()} == {
        "train": 20_000,
        "valid": 500,
        "test": 500,
    }
    assert list(Dates(train_size=10, valid_size=0, test_size=5).load()) == ["train", "test"]


def test_targets_are_days_and_no_day_is_in_two_splits(splits):
    days = {name: {date.fromisoformat(target) for target in texts["target"]} for name, texts in splits.items()}
    assert not days["train"] & days["valid"]
    assert not days["train"] & days["test"]
    assert not days["valid"] & days["test"]
    for name, found in days.items():
        assert all(split_of(day) == name and 1900 <= day.year <= 2099 for day in found)


def test_a_day_stays_in_its_split_whatever_the_seed_and_the_years():
    days = [date(2026, 11, n) for n in range(1, 31)]
    assert {split_of(day) for day in days} <= {"train", "valid", "test"}
    other = Dates(seed=5, first_year=2020, last_year=2030, train_size=500, valid_size=50, test_size=50).load()
    assert all(split_of(date.fromisoformat(t)) == name for name, texts in other.items() for t in texts["target"])


def test_one_text_means_one_day_over_all_splits(splits):
    days = defaultdict(set)
    for texts in splits.values():
        for source, target in zip(texts["source"], texts["target"], strict=True):
            days[careless(source)].add(target)
    assert {source: found for source, found in days.items() if len(found) > 1} == {}


def test_the_seed_decides_everything():
    small = {"train_size": 200, "valid_size": 20, "test_size": 20}
    assert Dates(seed=1, **small).load() == Dates(seed=1, **small).load()
    assert Dates(seed=1, **small).load() != Dates(seed=2, **small).load()


def test_there_are_many_languages_scripts_and_formats(splits):
    assert len(LOCALES) == len(set(LOCALES)) >= 40
    assert all(len(patterns(name)) >= 3 for name in LOCALES)
    letters = set("".join(splits["train"]["source"]))
    scripts = {unicodedata.name(c).split()[0] for c in letters if c.isalpha()}
    wanted = {
        "LATIN",
        "CYRILLIC",
        "GREEK",
        "ARMENIAN",
        "GEORGIAN",
        "HEBREW",
        "ARABIC",
        "ETHIOPIC",
        "DEVANAGARI",
        "THAI",
    }
    assert wanted | {"BENGALI", "TAMIL", "CJK", "HANGUL"} <= scripts
    digits = {unicodedata.name(c).partition(" DIGIT")[0] for c in letters if unicodedata.category(c) == "Nd"}
    assert {"ARABIC-INDIC", "EXTENDED ARABIC-INDIC", "DEVANAGARI", "BENGALI"} <= digits


def test_the_examples_of_the_documentation_are_among_them():
    written = {name: {p.write(date(2026, 11, 20)) for p in patterns(name)} for name in LOCALES}
    assert "20 nov. 2026" in written["fr"]
    assert "2026年11月20日" in written["ja"]
    assert "Freitag, 20. November 2026" in written["de"]
    assert "20 de noviembre de 2026" in written["es"]
    assert "२० नोव्हेंबर, २०२६" in written["mr"]


@pytest.mark.parametrize("name", LOCALES)
def test_patterns_write_as_babel_does(name):
    ours = {p.write(day) for day in (date(2021, 5, 3), date(1999, 12, 31)) for p in patterns(name)}
    for length in ("full", "long", "medium"):
        for day in (date(2021, 5, 3), date(1999, 12, 31)):
            theirs = "".join(" " if c.isspace() else c for c in format_date(day, length, locale=name))
            assert re.sub("[\u200e\u200f]", "", theirs) in ours


def test_texts_are_short_with_plain_spaces_and_four_digit_years(splits):
    for texts in splits.values():
        for source, target in zip(texts["source"], texts["target"], strict=True):
            assert len(source) <= LONGEST
            assert not re.search(r"[^\S ]|  |[\u200e\u200f]", source)
            assert target[:4] in "".join(str(unicodedata.digit(c, c)) for c in source)


def test_dates_in_numbers_are_written_only_where_the_order_is_clear(splits):
    shapes, twice = unclear(LOCALES)
    assert shapes == {"0/0/y"}
    assert not twice
    for texts in splits.values():
        for source, target in zip(texts["source"], texts["target"], strict=True):
            if found := re.search(r"([0-9]+)/([0-9]+)/[0-9]{4}", source):
                numbers = sorted(map(int, found.groups()))
                assert numbers[0] == numbers[1] or numbers[1] > 12
                assert numbers == sorted(map(int, target.split("-")[1:]))


def test_contradictions_between_languages_are_found():
    assert contradictory([*patterns("en"), *patterns("en_GB")]) == {"0/0/y"}
    assert contradictory([*patterns("de"), *patterns("en_GB"), *patterns("sv")]) == frozenset()
    assert "3 lis y" in collisions([*patterns("pl"), *(p._replace(template="{d} {m} {y}") for p in patterns("hr"))])
    assert not collisions([p for name in ("pl", "hr") for p in patterns(name)])


def test_texts_that_mean_two_days_are_not_written():
    pair = Dates(locales=("en", "ky"), train_size=3000, valid_size=10, test_size=10, noise=0.5)  # ky has y-dd-MM
    days = defaultdict(set)
    for source, target in zip(*pair.load()["train"].values.values(), strict=True):
        days[careless(source)].add(target)
    assert all(len(found) == 1 for found in days.values())


def test_carelessness_is_a_share():
    def capitals(noise: float) -> float:
        texts = Dates(locales=("en",), noise=noise, train_size=2000).load()["train"]["source"]
        written = [text for text in texts if any(c.isalpha() for c in text)]
        return sum(text != text.lower() for text in written) / len(written)

    assert capitals(0) == 1
    assert 0.2 < capitals(1) < 0.45  # a third only loses its commas


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"first_year": 2000, "last_year": 1999}, "first_year=2000 must not be after last_year=1999"),
        ({"last_year": 10_000}, r"both within 1000\.\.9999"),
        ({"noise": 2}, r"noise=2\.0 is a share of the texts, between 0 and 1"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"locales": []}, "locales is empty; name at least one"),
        ({"train_size": 0}, "train_size must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        from_data(Dates, values)


def test_unknown_locales_and_too_large_sizes_are_refused():
    with pytest.raises(UserError, match=r"no locale is called `en_GBB`; did you mean `en_GB`\?"):
        Dates(locales=("en_GBB",)).load()
    with pytest.raises(UserError, match=r"9000 different dates .* in 1 locales and the years 2020-2020; ask for fewer"):
        Dates(locales=("sv",), first_year=2020, last_year=2020, train_size=9000).load()


def test_the_config_survives_plain_data():
    config = Dates(seed=3, locales=("en", "de"))
    assert from_data(Dates, to_data(config)) == config
