import errno
import os
import subprocess
import sys

import pytest

from transduce.cli import main as module
from transduce.cli.main import main, sentence
from transduce.errors import UserError

COMMANDS = ["train", "evaluate", "translate", "generate", "score", "plan", "doctor", "recipes", "tokenizer"]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_help_lists_the_commands_in_the_order_of_the_road(cli) -> None:
    found = cli("--help")
    assert found.code == 0
    places = [found.out.index(f"│ {command} ") for command in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "--help"],
        ["catalogue", "show", "gpt-2-124m"],
        ["catalogue", "diff", "gpt", "bert-base"],
        ["parts"],
        ["parts", "ls", "--json"],
        ["parts", "show", "delta"],
    ],
)
def test_what_is_only_looked_up_is_answered_without_torch(words: list[str]) -> None:
    heavy = {"torch", "numpy", "tokenizers", "matplotlib", "sacrebleu", "babel", "safetensors"}
    code = (
        f"import sys; from transduce.cli.main import main; assert main({words}) == 0; "
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    assert python(code).stderr.strip() == "[]"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["plan", "--help"]])
def test_a_flag_takes_no_value(cli, words: list[str]) -> None:
    flags = [line for line in cli(*words).out.splitlines() if "<bool>" in line]
    assert all("--help" in line for line in flags)


def test_no_words_print_the_help(cli) -> None:
    assert "Start with `transduce train`" in " ".join(cli().out.split())


def test_version(cli) -> None:
    import transduce

    assert cli("--version") == (0, f"transduce {transduce.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "there is no command `trian`; did you mean `train`?"),
        (["runs", "lss"], "there is no command `runs lss`; did you mean `runs ls`?"),
        (["zzzz"], "there is no command `zzzz`; `transduce --help` lists them"),
        (["parts", "zzzz"], "there is no command `parts zzzz`; `transduce parts --help` lists them"),
        (["evaluate"], "missing argument RUN; see `transduce evaluate --help`"),
        (["parity", "a", "--foo"], "no such option: --foo; see `transduce parity --help`"),
        (["catalogue", "ls", "--sort"], "option `--sort` requires an argument; see `transduce"),
        (["embed", "x", "--top", "0"], "invalid value for `--top`: "),
    ],
)
def test_words_that_are_not_understood_are_one_sentence(cli, words: list[str], told: str) -> None:
    found = cli(*words)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"transduce: {told}")
    assert found.err.count("\n") == 1


def test_the_help_does_not_speak_of_how_completion_is_installed_but_once(cli) -> None:
    assert cli("--help").out.count("completion") == 1


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def command(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "command", lambda: command)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("width=7 is odd; use 8"), 2, "width=7 is odd; use 8"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 1, "runs/x: the disk is full; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "runs: permission denied; choose another"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"), 2, "a.txt: no such file or directory"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "pairs"), 1, "pairs: is a directory"),
        (UserError("a\nb\u2028c\r\x1b[31md"), 2, "a b c \\x1b[31md"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 72 bytes."),
            1,
            "out of",
        ),
        (
            RuntimeError("Storage size calculation overflowed with sizes=[92233720, 48]\nframe #3"),
            1,
            "out of",
        ),
        (OverflowError("int too large to convert"), 1, "out of memory"),
        (MemoryError(), 1, "out of memory; lower batch.batch_tokens"),
        (type("OutOfMemoryError", (RuntimeError,), {})("2 GiB"), 1, "out of memory; lower batch.batch_tokens"),
    ],
)
def test_a_mistake_is_one_sentence(monkeypatch, capsys, error: Exception, code: int, told: str) -> None:
    failing(monkeypatch, error)
    assert main([]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"transduce: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("way", ["option", "environment"])
def test_debug_shows_the_traceback(monkeypatch, way: str) -> None:
    failing(monkeypatch, UserError("wrong"))
    if way == "environment":
        monkeypatch.setenv("TRANSDUCE_DEBUG", "1")
    with pytest.raises(UserError, match="wrong"):
        main(["train", "--debug"] if way == "option" else ["train"])


def test_our_own_mistakes_keep_their_traceback(monkeypatch) -> None:
    failing(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        main([])
    assert sentence(ValueError("ours")) is None
    assert sentence(OSError("no number")) is None


def test_ctrl_c_exits_with_130(monkeypatch, cli) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transduce.recipes.names", interrupted)
    found = cli("recipes", "ls")
    assert found.code == 130
    assert "Traceback" not in found.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "transduce", "recipes", "show", "dates"]
    found = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)
    assert found.stderr == ""
    assert found.returncode == 1


def test_a_word_of_any_length_makes_a_short_sentence(cli) -> None:
    found = cli("train", "dates", f"model.width={'9' * 5000}")
    assert found.code == 2
    assert "`model.width`" in found.err
    assert "9...9" in found.err
    assert len(found.err) < 1000
