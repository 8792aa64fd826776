import io
from collections.abc import Iterator

import pytest

from transduce.cli.words import chunks, fold, overrides, recipe_and_overrides, results
from transduce.errors import UserError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.width=512"], [("model.width", "512")]),
        (["--model.width", "512"], [("model.width", "512")]),
        (["--model.width=512"], [("model.width", "512")]),
        (["--train.max-steps", "5"], [("train.max_steps", "5")]),
        (["--train.seed", "-1"], [("train.seed", "-1")]),
        (["--train.compile"], [("train.compile", True)]),
        (["--train.compile", "--train.ema", "0.9"], [("train.compile", True), ("train.ema", "0.9")]),
        (["--train.compile", "model.width=8"], [("train.compile", True), ("model.width", "8")]),
        (["data.path=a=b c"], [("data.path", "a=b c")]),
        (["data.path="], [("data.path", "")]),
        ([], []),
        (None, []),
    ],
)
def test_every_spelling_of_an_override(words: list[str] | None, expected: list[tuple[str, object]]) -> None:
    assert overrides(words) == expected


def test_a_word_that_is_no_override() -> None:
    with pytest.raises(UserError, match=r"`512` is not understood; write key=value or --key value"):
        overrides(["model.width=1", "512"])


def test_the_recipe_is_the_first_word_if_it_is_not_an_override() -> None:
    assert recipe_and_overrides(["text", "a=1"], "dates") == ("text", [("a", "1")])
    assert recipe_and_overrides(["my/file.yaml"], "dates") == ("my/file.yaml", [])
    assert recipe_and_overrides(["--a", "1"], "dates") == ("dates", [("a", "1")])
    assert recipe_and_overrides(["a=1"], "dates") == ("dates", [("a", "1")])
    assert recipe_and_overrides(None, "dates") == ("dates", [])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_on_a_terminal_is_a_text_folded_and_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "dates  reads dates, in-many/languages-and-forms at-all"
    assert fold(text, io.StringIO(), 7) == text
    lines = fold(text, Terminal(), 7).split("\n")
    assert lines == ["dates  reads dates,", "       in-many/languages-and-forms", "       at-all"]


def test_chunks_keep_order_and_leave_nothing_out() -> None:
    values = [str(i) for i in range(13)]
    assert [value for chunk in chunks(values, 5) for value in chunk] == values
    assert [len(chunk) for chunk in chunks(values, 5)] == [5, 5, 3]


def test_what_is_refused_of_all_values_names_none_of_them() -> None:
    def work(values: list[str]) -> Iterator[str]:
        raise UserError("nbest=0 must be at least 1")
        yield from values

    with pytest.raises(UserError, match=r"^nbest=0"):
        list(results(["a"], 2, work, lambda number: f"text {number}"))
