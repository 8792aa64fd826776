import pytest

from transduce.train.evaluate import Sample
from transduce.train.progress import Display, Speed, clock


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("dates", 100) as display:
        for step in range(1, 4):
            display.step(step, 500, 1.23456, 0.001, 0.5)
        display.say("step 3: [val] 0.1")
        display.samples([Sample("3 May [2021]", "2021-05-03", "2021-05-03")], pairs=True)
        display.samples([Sample("Once", " upon", " [twice]")], pairs=False)
    out = capsys.readouterr().out
    assert "step 1/100  loss 1.235  lr 1.00e-03  norm 0.50" in out
    assert "step 2/100" not in out
    assert "step 3: [val] 0.1" in out
    assert "3 May [2021]" in out
    assert "Once [twice]" in out


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("dates", 100, quiet=True) as display:
        display.step(1, 500, 1.0, 0.001, 0.5)
        display.say("hello")
        display.samples([Sample("a", "b", "c")], pairs=True)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
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
