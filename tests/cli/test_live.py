"""A live session in a terminal: lines are typed, texts come, Ctrl-C stops one and Ctrl-D ends all."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pty = pytest.importorskip("pty", reason="there are no terminals here")


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *words: str | Path) -> None:
        self.master, slave = pty.openpty()
        command = [sys.executable, "-m", "transduce", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb", "PYTHONFAULTHANDLER": "1"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, preexec_fn=heed_interrupts
        )
        os.close(slave)
        self.seen = ""

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Returns what came up to a pattern, the match included."""
        end = time.monotonic() + seconds
        while (match := re.search(pattern, self.seen)) is None:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode("utf-8", "replace").replace("\r\n", "\n")
                except OSError:
                    raise AssertionError(f"ended with {self.process.wait()}: {self.seen}") from None
        text, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return text

    def wait_for_a_key(self) -> None:
        """Waits until the process sleeps: where all was read that it wrote, it waits for what is typed."""
        state = Path(f"/proc/{self.process.pid}/stat")
        if not state.exists():
            pytest.skip("there is no /proc to see what a process does")
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.01)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def interrupt(self) -> None:
        """Presses Ctrl-C until the process has ended: readline may miss one just before it waits for a key."""
        for _ in range(6):
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return

    def end(self) -> int:
        """Returns the exit code. Where the process does not end, it fails with what every thread of it does."""
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(30)
            os.close(self.master)
            return code
        self.process.send_signal(signal.SIGABRT)
        raise AssertionError(f"it does not end: {self.until('Extension modules')}")


def heed_interrupts() -> None:
    """Undoes what a shell does to what it runs in the background, tests too: Ctrl-C is ignored, and so by a child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[Open]:
    """Opens terminals, none of which outlives the test."""
    opened = list[Terminal]()

    def open_one(*words: str | Path) -> Terminal:
        opened.append(Terminal(*words))
        return opened[-1]

    yield open_one
    for one in opened:
        one.process.kill()
        one.process.wait()


def test_generate_without_a_prompt_is_a_session(cli: Any, letters: Any, terminal: Open) -> None:
    once = cli("generate", letters, "the q", "--max-new-tokens", "6", "--temperature", "0").out
    there = terminal("generate", letters, "--max-new-tokens", "6", "--temperature", "0", "--device", "cpu")
    assert "an empty line goes on" in there.until("> ")
    there.type("the q\n")
    assert there.until("\n> ").partition("\n")[2] == once + "> "
    there.type("\n")
    longer = there.until("\n> ").partition("\n")[2].removesuffix("\n> ")
    assert longer.startswith(once.removesuffix("\n"))
    assert len(longer) == len(once) + 5
    there.type("\x04")
    assert there.end() == 0, there.seen


def test_ctrl_c_stops_a_text_and_then_the_session(letters: Any, terminal: Open) -> None:
    there = terminal("generate", letters, "--max-new-tokens", "4000", "--temperature", "1", "--device", "cpu")
    there.until("> ")
    there.type("the\n")
    there.until("the\nthe.{40}")
    there.process.send_signal(signal.SIGINT)
    rest = there.until("\n> ")
    assert "Traceback" not in rest
    there.wait_for_a_key()  # no hand is so fast that the signal comes between the prompt and that
    there.interrupt()
    assert there.end() == 0, there.seen


def test_a_model_that_writes_no_text_refuses_before_anything_is_typed(dates: Any, terminal: Open) -> None:
    there = terminal("generate", dates, "--device", "cpu")
    assert "use translate" in there.until("\n")
    assert there.end() == 2
