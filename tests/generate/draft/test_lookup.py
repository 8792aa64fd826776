"""Guesses by look-up: what followed the last few tokens before."""

import pytest

from transduce.errors import UserError
from transduce.generate.draft.lookup import LookupConfig


def guesses(text: list[int], most: int = 4, source: list[int] | None = None, **how: int) -> list[int]:
    return LookupConfig(**how).begin(source, text, 9).guess(text, most)


def test_it_goes_on_as_after_the_last_few_tokens():
    assert guesses([1, 2, 3, 4, 5, 9, 2, 3]) == [4, 5, 9, 2]
    assert guesses([1, 2, 3, 4, 9, 9, 2, 3, 5, 2, 3], 1) == [5], "the last place counts"
    assert guesses([7, 1, 2, 8, 6, 2, 9, 1, 2], 2) == [8, 6], "a longer row counts before a later place"
    assert guesses([1, 2, 3]) == []
    assert guesses([1, 2, 1], shortest=2) == []


def test_a_period_goes_on():
    assert guesses([5, 1, 2, 1, 2], 6) == [1, 2, 1, 2, 1, 2]
    assert guesses([3, 3], 4) == [3, 3, 3, 3]
    assert guesses([3, 3], 0) == []


def test_the_source_is_looked_up_where_the_text_knows_no_row_of_the_length():
    source = [4, 5, 6, 7, 2]
    assert guesses([1, 5], 3, source) == [6, 7, 2]
    assert guesses([1, 7], 3, source) == [2], "behind its end nothing comes"
    assert guesses([1, 5, 9, 5], 3, source) == [9, 5, 9], "the text counts before the source"
    assert guesses([5, 9, 4, 5], 2, source) == [6, 7], "but a longer row counts first"


def test_what_is_looked_up_is_what_is_looked_up_anew():
    """Token by token, what was read stays; and the answer is that of a new drafter."""
    text = [1, 2, 3, 1, 2, 4, 1, 2, 3, 1, 1, 2]
    drafter = LookupConfig().begin([2, 2], text[:1], 20)
    for n in range(1, len(text) + 1):
        assert drafter.guess(text[:n], 5) == guesses(text[:n], 5, [2, 2])


@pytest.mark.parametrize("how", [{"tokens": 0}, {"tokens": 15}, {"shortest": 0}, {"shortest": 4}, {"longest": 17}])
def test_numbers_that_mean_nothing_are_refused(how: dict[str, int]):
    with pytest.raises(UserError, match="must be from 1 to"):
        LookupConfig(**how)
