"""Windows part a text between them, and each token is answered for once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from transduce.data.windows import windows


@given(length=st.integers(0, 200), room=st.integers(1, 50), overlap=st.integers(0, 60))
def test_each_token_belongs_to_one_window(length: int, room: int, overlap: int) -> None:
    rows = windows(length, room, overlap)
    assert [i for row in rows for i in range(row.first, row.last)] == [*range(length)]
    for row in rows:
        assert 0 <= row.start <= row.first
        assert row.last <= row.stop <= length
        assert row.stop - row.start == min(room, length)
    for one, other in pairwise(rows):
        assert other.start > one.start
        assert one.stop - other.start >= min(overlap, room // 2)


def test_tokens_are_seen_from_both_sides() -> None:
    assert windows(10, 6, 2) == [(0, 6, 0, 5), (4, 10, 5, 10)]
    assert windows(0, 6, 2) == [(0, 0, 0, 0)]
