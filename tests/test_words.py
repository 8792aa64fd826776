"""Words of the code: docstrings begin with a verb or a noun, and a variable is named by what it holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "transduce"
FILES = sorted(SRC.rglob("*.py"))
OPENINGS = ("What ", "Whether ")
PARTICIPLES = {"asked", "found", "held", "kept", "made", "said", "told"}
# A result names the code that it was computed by, so a variable is renamed there when the experiment is run again.
MEASURED = ("reproduce/experiments/", "reproduce/ancestors/")


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def openings(tree: ast.Module) -> Iterator[str]:
    """Yields the first lines of docstrings that begin with a question."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if text.startswith(OPENINGS):
                yield text.split("\n")[0]


def variables(tree: ast.Module) -> Iterator[str]:
    """Yields variables and parameters whose name is a bare past participle, with their lines."""
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
        name = node.arg if isinstance(node, ast.arg) else name
        if name in PARTICIPLES:
            yield f"{name}, line {node.lineno}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_docstrings_are_sentences_and_variables_say_what_they_hold(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert list(openings(tree)) == []
    if not name_of(path).startswith(MEASURED):
        assert list(variables(tree)) == []


def test_both_are_seen() -> None:
    tree = ast.parse('"""What it is."""\ndef f(told): pass\n(found := 1)\nfor kept in (): pass\n')
    assert list(openings(tree)) == ["What it is."]
    assert sorted(variables(tree)) == ["found, line 3", "kept, line 4", "told, line 2"]
