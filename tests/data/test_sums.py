"""Sums: they are right, no two are of the same numbers, and the seed decides them."""

import pytest

from transduce.data.sums import Sums
from transduce.errors import UserError


@pytest.mark.parametrize(
    ("digits", "reverse", "size"), [(3, True, 3000), (1, False, 5), (9, True, 50), (2, False, 700)]
)
def test_answers_are_right_and_what_is_validated_was_never_seen(digits: int, reverse: bool, size: int) -> None:
    data = Sums(digits=digits, reverse=reverse, train_size=size, valid_size=size // 2, test_size=size // 3)
    splits, seen = data.load(), set[tuple[int, ...]]()
    assert {name: len(rows) for name, rows in splits.items()} == {n: s for n, s in data.sizes.items() if s}
    for rows in splits.values():
        for source, target in zip(rows["source"], rows["target"], strict=True):
            numbers = [int(word) for word in source.split("+")]
            assert [len(str(number)) for number in numbers] == [digits, digits]
            assert target == (str(sum(numbers))[::-1] if reverse else str(sum(numbers)))
            assert tuple(sorted(numbers)) not in seen
            seen.add(tuple(sorted(numbers)))


def test_the_seed_decides_the_numbers_and_the_order_of_digits_does_not() -> None:
    first = Sums(train_size=9).load()
    assert first == Sums(train_size=9).load() != Sums(train_size=9, seed=1).load()
    assert first["valid"]["source"] == Sums(train_size=9, reverse=False).load()["valid"]["source"]


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"ask for 52,000 sums of digits=2; use at most 2,047 together"):
        Sums(digits=2)
    with pytest.raises(UserError, match="digits=0 must be at least 1"):
        Sums(digits=0)
