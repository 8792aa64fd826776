"""Tunes: each is a text from its X: on, without comments; what is no tune is named."""

from pathlib import Path

import pytest

from transduce.data.tunes import Tunes
from transduce.errors import UserError

ABC = "% a book\n%%abc-version 2.1\n\n% from a.abc\nX: 1\nT:One  \n% a comment\nS:me\nK:G\nGAB|\n\nfree text\n"
ABC += "\nX:2\nK:D\nd2|\nX:3\nT:Three\nK:A\na4|]"


def read(tmp_path: Path, text: str, **keys: object) -> list[str]:
    (tmp_path / "t.abc").write_text(text, "utf-8")
    return list(Tunes(path=str(tmp_path / "t.abc"), valid_fraction=0, **keys).load()["train"]["text"])  # type: ignore[arg-type]


def test_a_tune_is_its_lines_without_comments(tmp_path: Path) -> None:
    assert read(tmp_path, ABC) == ["X: 1\nT:One\nS:me\nK:G\nGAB|", "X:2\nK:D\nd2|", "X:3\nT:Three\nK:A\na4|]"]
    assert read(tmp_path, ABC, drops=("X", "S")) == ["T:One\nK:G\nGAB|", "K:D\nd2|", "T:Three\nK:A\na4|]"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ABC.replace("K:D\n", ""), r"t.abc, line 14: the tune has no key, K:, so no notes follow"),
        ("GAB|\n", "holds no tune, which begins with X:"), ("", "is empty; give a file with text in it"),
    ],
)  # fmt: skip
def test_what_is_no_tune_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)
    with pytest.raises(UserError, match="drops has 'K', but names fields by a letter, and K stays"):
        Tunes(path=".", drops=("K",))
