import io
import os

import pytest

from transduce.screen import STAND_IN, Screen


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "+ Gr??e ... a\\nb #- ?\n"),
        ("latin-1", "+ Größe ... a\\nb #- ?\n"),
        ("utf-8", "✓ Größe … a↵b █━ 字\n"),
    ],
)
def test_characters_that_a_terminal_lacks_have_stand_ins(encoding: str, shown: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    Screen(stream).say("✓ Größe … a↵b █━ 字")
    assert raw.getvalue().decode(encoding) == shown
    assert "half \udcff of one".encode("utf-8", STAND_IN) == b"half ? of one"


def test_a_pipe_that_nobody_reads_makes_it_silent_and_the_rest_goes_nowhere() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:  # closing it would fail on what it still holds
        screen = Screen(stream)
        assert not screen.isatty()
        screen.say("one")
        assert screen.lost == "Broken pipe"
        screen.say("two")
        stream.write("three")


def test_no_stream_and_a_closed_stream_are_silent() -> None:
    closed = io.StringIO()
    closed.close()
    for screen in (Screen(None), Screen(closed)):
        screen.say("x")
        screen.flush()
        assert not screen.isatty()
