"""What the numbers of an experiment are computed by, as text that changes only when they may."""

import ast
import functools
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

# What is said about an experiment, what is asked of its results and how they are shown: the results stay what they are.
SAID = {"claim", "source", "paper", "explain", "minutes", "marks", "seeds"}
SHOWN = {"plot"}
COMPUTING = ("transduce.reproduce.fit", "transduce.reproduce.tasks", "transduce.reproduce.corpus",
             "transduce.reproduce.pairs", "transduce.reproduce.reviews", "transduce.reproduce.sentences",
             "transduce.reproduce.vision", "transduce.reproduce.experiments.", "transduce.ancestors.")  # fmt: skip


@functools.cache
def code(module: ModuleType) -> dict[str, str]:
    """The code of a module and of those it takes from here to compute with, by their names.

    Without comments, docstrings, pictures, and what is said of an experiment.
    """
    found, waiting = dict[str, str](), [module]
    while waiting:
        part = waiting.pop()
        if part.__name__ not in found:
            tree = ast.parse(inspect.getsource(part))
            waiting += [sys.modules[name] for name in imported(tree) if name.startswith(COMPUTING)]
            found[part.__name__] = str(shape(Numbers().visit(tree)))
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


class Numbers(ast.NodeTransformer):
    """Leaves what the numbers depend on."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node  # a docstring

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = [part for part in node.body if not said(part)]
        return node


def said(part: ast.stmt) -> bool:
    """Whether a part of a class is a picture or text."""
    if isinstance(part, ast.Assign | ast.AnnAssign):
        targets = part.targets if isinstance(part, ast.Assign) else [part.target]
        return all(isinstance(target, ast.Name) and target.id in SAID for target in targets)
    return isinstance(part, ast.FunctionDef) and part.name in SHOWN


def shape(node: Any) -> Any:
    """A syntax tree as tuples, without what is empty, which differs between versions of Python."""
    if isinstance(node, list):
        return [shape(each) for each in node]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, shape(value)) for name, value in ast.iter_fields(node))
    return (type(node).__name__, *(field for field in fields if field[1] not in (None, [])))
