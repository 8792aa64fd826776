"""The type of a field decides what a value without quotes is: on a command line, in a file, and from Python."""

from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import transduce
from transduce import recipes
from transduce.cli.words import overrides
from transduce.config import from_data, to_data
from transduce.config.reading import convert
from transduce.errors import UserError
from transduce.plain_yaml import read_file, read_word
from transduce.runs.recipe import Recipe

LOOKS = [
    "1.10", "007", "12:30", "exp #2", "no", "on", "y", "true", "Null", "null", "~", "2021-05-03", "2021-13-45", "1e4",
    "0x1F", "0b1", "1_000", ".5", "5.", "+1", "-", "- a", "a: b", "a: b: c", "{a: b}", "[draft", "'set #1'", '"x"', "=",
    "<<", "*a", "&a b", "!!int 3", "|", "> a", "%x", "@x", "`x`", "? a", " x ", "a\tb", "#", "--- a", "... ", ".inf",
    "nan", "1:2:3", "0o7", "010", "9" * 5000, "ÄÖ", "\u2028", "",
]  # fmt: skip


def typed(hint: Any, word: str) -> Any:
    return convert(hint, read_word(word), "key")


def filed(hint: Any, word: str) -> Any:
    return convert(hint, read_file(f"a: 1\nkey: {word}\n", "file.yaml")["key"], "key")


@pytest.mark.parametrize("word", LOOKS, ids=lambda word: word[:12])
def test_text_takes_the_word_as_typed(word: str) -> None:
    recipe = transduce.recipe("pairs", overrides([f"data.path=x{word}", f"data.target_field=x{word}"]))
    assert (recipe.data.path, recipe.data.target_field) == (f"x{word}", f"x{word}")  # type: ignore[attr-defined]
    assert typed(str, word) == word
    assert type(typed(str, word)) is str
    assert typed(int | str, word) == word
    if word:
        assert typed(tuple[str, ...], word) == (word,)
    assert typed(Literal["a", word], word) == word  # type: ignore[valid-type]


@pytest.mark.parametrize("word", ["[draft]", "[1.10, no]", "{a: 1.10}", "[a"])
def test_brackets_are_text_where_text_is_wanted(word: str) -> None:
    assert typed(str, word) == word


def test_lists_and_parts_hold_words_as_typed_too() -> None:
    assert typed(tuple[str, ...], "[1.10, no, 007, 'a b', 12:30]") == ("1.10", "no", "007", "a b", "12:30")
    model = "model={kind: encoder-decoder, width: 16, layers: 1, norm: none, residual: {kind: add}}"
    recipe = transduce.recipe("dates", overrides(["name=1.10", model, "generate.stop=[no, 2021-05-03]"]))
    assert recipe.name == "1.10"
    assert recipe.model.norm.kind == "none"
    assert recipe.generate.stop == ("no", "2021-05-03")


@pytest.mark.parametrize(
    ("word", "number"),
    [("1e4", 10_000), ("1.5e3", 1500), ("5.0", 5), ("1_000", 1000), ("0x10", 16), ("-3", -3), ("+3", 3), ("0", 0)],
)
def test_whole_numbers_may_be_written_in_other_ways(word: str, number: int) -> None:
    for read in (typed, filed):
        assert read(int, word) == number
        assert type(read(int, word)) is int
        assert read(float, word) == float(number)
        assert type(read(float, word)) is float


@pytest.mark.parametrize(
    "word",
    ["1.5", "010", "12:30", "no", "2021-05-03", "1e400", ".inf", "nan", "9" * 30, "9" * 5000, "null", "", "x", "٣"],
)
@pytest.mark.parametrize("read", [typed, filed])
def test_what_is_no_whole_number_is_refused_in_one_line(read: Any, word: str) -> None:
    with pytest.raises(UserError, match="`key`") as caught:
        read(int, word)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("hint", "word", "value"),
    [
        (bool, "yes", True), (bool, "off", False), (float | None, "null", None), (float | None, "~", None),
        (float, "1e-3", 0.001), (float, "-1e300", -1e300), (int | str, "0", 0), (int | str, "007", "007"),
        (int | str, "1.0", "1.0"), (tuple[float, ...], "[1e-1, 2]", (0.1, 2.0)), (tuple[str, ...], "5", ("5",)),
        (str | None, "null", None), (str | None, "no", "no"), (str | None, "none", "none"), (str | None, "", ""),
    ],
)  # fmt: skip
def test_other_types_read_the_word_as_yaml_does(hint: Any, word: str, value: object) -> None:
    assert typed(hint, word) == value
    assert type(typed(hint, word)) is type(value)


@pytest.mark.parametrize("word", [".inf", "-.inf", "inf", "1e400", "-1e400", "nan", ".nan"])
@pytest.mark.parametrize("hint", [float, float | None, tuple[float, ...]])
@pytest.mark.parametrize("read", [typed, filed])
def test_numbers_are_finite(read: Any, hint: Any, word: str) -> None:
    word, key = (f"[1.5, {word}]", r"key\[1\]") if hint == tuple[float, ...] else (word, "key")
    with pytest.raises(UserError, match=f"`{key}` is (infinite|not a number) "):
        read(hint, word)


@pytest.mark.parametrize("hint", [int, bool, float | None, tuple[str, ...]])
def test_a_key_without_a_value_is_refused(hint: Any) -> None:
    with pytest.raises(UserError, match=r"`key` (has no value|is empty)"):
        typed(hint, "")


@pytest.mark.parametrize("hint", [str, int | str, tuple[str, ...], str | None])
@pytest.mark.parametrize("word", ["1.10", "007", "12:30", "no", "2021-05-03", "true", "0x1F", "1_000", ".inf", "null"])
def test_a_file_is_asked_to_quote_what_yaml_reads_otherwise(hint: Any, word: str) -> None:
    if word == "null" and hint == str | None:
        assert filed(hint, word) is None
        return
    with pytest.raises(UserError, match=r"file\.yaml, line 2: `key(\[0\])?` is text, .*quote it: '") as caught:
        filed(hint, word)
    assert f"quote it: '{word}'" in str(caught.value)
    assert filed(hint, f"'{word}'") in (word, (word,))


@pytest.mark.parametrize("word", ["5", "1.5", "abc", "1e4", "2021-13-45", "a=b"])
def test_a_file_may_leave_out_quotes_where_nothing_changes(word: str) -> None:
    assert filed(str, word) == word


def test_python_passes_values_as_they_are() -> None:
    recipe = transduce.recipe(
        "pairs", {"name": "1.10", "data.path": "no", "data.source_field": "0", "data.target_field": 1}
    )
    assert (recipe.name, recipe.data.path) == ("1.10", "no")  # type: ignore[attr-defined]
    assert (recipe.data.source_field, recipe.data.target_field) == ("0", 1)  # type: ignore[attr-defined]
    assert transduce.recipe("dates", {"train.clip": None}).train.clip is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.text(),
    st.lists(st.one_of(st.text(), st.sampled_from(LOOKS)), max_size=3),
    st.one_of(st.text(), st.integers(0, 9)),
)
def test_what_is_written_reads_back_equal(path: str, names: list[str], field: int | str) -> None:
    data = {"data.path": path or "x", "data.train": ["x", *names], "data.source_field": field}
    recipe = transduce.recipe("pairs", data)
    text = yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True)
    assert from_data(Recipe, read_file(text, "config.yaml")) == recipe


@pytest.mark.parametrize("look", LOOKS, ids=lambda word: word[:12])
def test_every_look_of_text_reads_back_equal(look: str) -> None:
    recipe = transduce.recipe(
        "pairs", {"data.path": look or "x", "data.train": ["x", look], "name": f"a{look}".replace("/", "")}
    )
    text = yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True)
    assert from_data(Recipe, read_file(text, "config.yaml")) == recipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_reads_back_equal(name: str) -> None:
    recipe = transduce.recipe(name, {} if name in ("dates", "ring", "sums") else {"data.path": "1.10"})
    text = yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True)
    assert from_data(Recipe, read_file(text, "config.yaml")) == recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a\nname: b\n", "file.yaml, line 2: the key `name` stands here twice, first in line 1"),
        ("a: 1\nb:\n  width: 1\n\n  width: 2\n", "file.yaml, line 5: the key `width` stands here twice, first"),
        ("a: {b: [{c: 1, c: 1}]}\n", "file.yaml, line 1: the key `c` stands here twice"),
        ("a: {'b': 1, \"b\": 2}\n", "the key `b` stands here twice"),
        ("base: &x {a: 1}\nb:\n  <<: *x\n  c: 1\n  c: 2\n", "file.yaml, line 5: the key `c`"),
        ("a: &x {b: 1, b: 2}\nc: *x\n", "file.yaml, line 1: the key `b`"),
        ("? [a]\n: b\n", "file.yaml, line 1: a key must be text"),
        ("a: &x [*x]\n", "the aliases here stand for more than a million values"),
        ("a: \x00\n", "file.yaml is not YAML: special characters are not allowed"),
        ("a: !!python/object/apply:os.system [x]\n", "file.yaml, line 1"),
        ("a: 1\n---\nb: 2\n", "file.yaml, line 2, column 1 is not YAML"),
        ("x" * 1_000_001, "file.yaml has 1,000,001 characters, more than any recipe"),
    ],
    ids=lambda text: text[:25],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_file(text, "file.yaml")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    levels = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    with pytest.raises(UserError, match="stand for more than a million values"):
        read_file("\n".join(levels), "file.yaml")


def test_what_is_merged_in_gives_way() -> None:
    assert read_file("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n", "f")["d"] == {"b": 3, "c": 2}
    assert read_file("on: 1\nno: 2\n1: 3\n", "f") == {"on": 1, "no": 2, "1": 3}
