"""What makes a result void: other numbers, not other words."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from transduce.reproduce.code import code
from transduce.reproduce.experiment import named

BEFORE = '''"""A module."""
from transduce.reproduce.fit import adam

class One:
    """Says what."""
    claim = "It holds."
    explain = "Because."
    minutes: float = 3
    rate: float = 0.1

    def run(self):
        source = adam  # a comment
        return source

    def plot(self):
        return 1
'''


def module(folder: Path, text: str) -> ModuleType:
    """A new module of this text each time."""
    path = folder / f"m{len(list(folder.iterdir()))}.py"
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location("a_module", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("A module", "Another", True),
        ("Says what", "Says more", True),
        ("It holds", "It does not", True),
        ("Because", "Or not", True),
        ("float = 3", "float = 4", True),
        ("# a comment", "# two", True),
        ("return 1", "return 2", True),
        ("0.1", "0.2", False),
        ("source = adam", "source = None", False),
        ("return source", "return 3", False),
        ("def run", "def ran", False),
    ],
)
def test_only_what_computes_counts(tmp_path: Path, old: str, new: str, same: bool) -> None:
    assert BEFORE.count(old) == 1
    one, other = module(tmp_path, BEFORE), module(tmp_path, BEFORE.replace(old, new))
    assert (code(one)["a_module"] == code(other)["a_module"]) is same


def parts(name: str) -> set[str]:
    return {part.removeprefix("transduce.") for part in code(sys.modules[named(name).__module__])}


def test_code_that_an_experiment_computes_with_counts_too() -> None:
    assert parts("lenet") == {"reproduce.experiments.lenet", "reproduce.fit", "ancestors.digits", "ancestors.lenet"}
    assert parts("warm-up") == {"reproduce.experiments.warm_up", "reproduce.fit", "reproduce.corpus"}
    assert "reproduce.tasks" in parts("copying-and-attention")
    assert "reproduce.reviews" in parts("sentence-polarity")
    assert "reproduce.experiments.cost_per_token" in parts("rms-norm")


def test_changed_code_makes_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = named("lenet")()
    before = experiment.hash
    monkeypatch.setattr("transduce.reproduce.experiment.code", lambda module: {"lenet": "another"})
    assert experiment.hash != before
