import re

import pytest

from transduce.tasks.measures.measure import Sample
from transduce.training.progress import CELL, Display, Speed, clock, few, short


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("dates", 100) as display:
        for step in range(1, 4):
            display.step(step, 500, 1.23456, 0.001, 0.5)
        display.say("step 3: [val] 0.1")
        display.samples([Sample("3 May [2021]", "2021-05-03", "2021-05-03")], tabular=True)
        display.samples([Sample("Once", " upon", " [twice]")], tabular=False)
    out = capsys.readouterr().out
    assert "step 1/100  loss 1.235  lr 1.00e-03  norm 0.50" in out
    assert "step 2/100" not in out
    assert "step 3: [val] 0.1" in out
    assert "3 May [2021]" in out
    assert "> Once\n|  [twice]\n" in out


def live(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))


def plain(out: str) -> str:
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", out)


@pytest.mark.parametrize(
    ("columns", "shown", "gone"),
    [
        (140, ["━", "lr 1.00e-03", "norm 0.50", "0:00:00"], []),
        (100, ["lr 1.00e-03", "norm 0.50"], ["━", "0:00:00"]),
        (80, ["lr 1.00e-03"], ["━", "norm"]),
        (70, [], ["━", "lr", "norm"]),
    ],
)
def test_a_narrow_terminal_keeps_what_matters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, shown: list[str], gone: list[str]
) -> None:
    live(monkeypatch, columns)
    with Display("shakespeare-10m", 123_456) as display:
        display.speed.tokens_sum = display.speed.seconds_sum = display.speed.weight = 1.0
        display.step(100_000, 500, 1.23456, 0.001, 0.5)
        out = plain(capsys.readouterr().out)
    for told in ("100000/123456", "loss 1.235", "1 tokens/s", "6:30:56 left", *shown):
        assert told in out
    assert not any(told in out for told in gone)


def test_the_bar_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    live(monkeypatch, 80)
    with Display("dates", 10) as display:
        display.step(10, 500, 1.0, 0.001, 0.5)
        display.say("done")
    assert capsys.readouterr().out.endswith("\x1b[1A\x1b[2K")  # up a line, and erase it


def test_long_samples_are_cut_in_a_table_with_lines_between(capsys: pytest.CaptureFixture[str]) -> None:
    samples = [Sample("word " * 40, "b", "b"), Sample("c", "d", "e")]
    with Display("pairs", 1) as display:
        display.samples(samples, tabular=True)
    out = capsys.readouterr().out
    assert out.count("├") == 1
    assert "…" in out
    assert [line[:5] for line in out.splitlines() if line.startswith("│")][:1] == ["│ ✓ │"]
    assert "│   │ c" in out
    assert short("a\nb") == "a↵b"
    assert short("x" * CELL) == "x" * CELL
    assert len(short("x" * (CELL + 1))) == CELL


def test_a_continuation_takes_a_few_lines() -> None:
    assert few("one two", 80) == ["one two"]
    assert few("one two three", 8) == ["one two", "three"]
    verses = "\n".join("abcdefghij")
    assert few(verses, 9) == ["a", "b", "c", "d", "e", "…"]
    assert few(verses, 9, last=True) == ["…", "f", "g", "h", "i", "j"]
    assert few("", 9) == [""]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("dates", 100, quiet=True) as display:
        display.step(1, 500, 1.0, 0.001, 0.5)
        display.say("hello")
        display.samples([Sample("a", "b", "c")], tabular=True)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    live(monkeypatch, 140)
    with Display("dates", 10) as display:
        assert display.live
        display.step(5, 500, 1.23456, 0.001, 0.5)
        display.say("above")
    out = capsys.readouterr().out
    assert "5/10" in out
    assert "loss 1.235" in out
    assert "above" in out


def test_speed_leaves_pauses_out() -> None:
    speed = Speed()
    for now in (0.0, 1.0, 2.0):
        speed.add(now, 100)
    speed.pause()
    for now in (60.0, 61.0):
        speed.add(now, 100)
    assert speed.tokens == pytest.approx(100)
    assert speed.seconds == pytest.approx(1)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
