"""Of a module's source text, the part that named functions depend on, as text that changes only when it may matter."""

import ast
import functools
from collections.abc import Collection, Iterator
from typing import Any

Statement = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# What is said about an experiment, what is asked of its results and how they are shown: the results stay what they are.
WORDS = {"claim", "source", "paper", "explain", "minutes", "marks", "seeds", "history"}
PICTURES = {"plot"}
CHECK = "require"  # functions of this name refuse what is wrong and do nothing else


def outline(source: str, roots: Collection[str], *, experiment: bool = False) -> ast.Module:
    """Returns the functions named in `roots` ("f", "Class.method"), and whatever else of the module they name.

    Left out are docstrings, comments, annotations of functions, what only refuses (`raise` and its condition, `assert`,
    calls of `require...`), and functions that are not among the roots. Of a method that is not, its name stays, because
    it may stand in for another class's. experiment: leave out the words and the pictures of an experiment, too.
    """
    parts = [Part(statement, set(roots)) for statement in without_words(source, experiment).body]
    names = {root.split(".")[0] for root in roots}
    kept = list[Part]()
    while more := [part for part in parts if part not in kept and part.needed(names)]:
        kept += more
        names |= {name for part in more for name in loaded(part.tree)}
    body = [part.trimmed(names) for part in parts if part in kept]
    return ast.Module([statement for statement in body if statement is not None], [])


@functools.cache
def without_words(source: str, experiment: bool) -> ast.Module:
    return Words(experiment).visit(ast.parse(source))


class Part:
    """One statement of a module, cut down to the roots."""

    def __init__(self, statement: ast.stmt, roots: set[str]) -> None:
        self.tree = cut(statement, roots)
        self.binds = set(bound(statement))

    def needed(self, names: set[str]) -> bool:
        """Says whether one of the names is bound here, or whether the statement acts by itself."""
        return self.tree is not None and bool(not self.binds or self.binds & names)

    def trimmed(self, names: set[str]) -> ast.stmt | None:
        """Returns the statement; of an import, what is used."""
        if not isinstance(self.tree, ast.Import | ast.ImportFrom):
            return self.tree
        used = [alias for alias in self.tree.names if (alias.asname or alias.name.split(".")[0]) in names]
        if isinstance(self.tree, ast.Import):
            return ast.Import(used)
        return ast.ImportFrom(self.tree.module, used, self.tree.level)


def cut(statement: ast.stmt, roots: set[str], prefix: str = "") -> ast.stmt | None:
    """Returns a statement without the functions that are not among the roots; None where nothing is left of it."""
    if not isinstance(statement, Statement):
        return statement
    name = f"{prefix}{statement.name}"
    if isinstance(statement, ast.ClassDef):
        body = [part for each in statement.body if (part := cut(each, roots, f"{name}.")) is not None]
        return ast.ClassDef(statement.name, statement.bases, statement.keywords, body, statement.decorator_list)
    if name in roots:
        return statement
    return ast.Expr(ast.Name(statement.name, ast.Store())) if prefix else None


def bound(statement: ast.stmt) -> Iterator[str]:
    """Yields the names that a statement of a module binds."""
    if isinstance(statement, Statement):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in statement.names)
    elif not isinstance(statement, ast.Expr):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.Import | ast.ImportFrom):  # under a condition
                yield from bound(node)


def loaded(tree: ast.AST | None) -> Iterator[str]:
    """Yields every name that a statement uses."""
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id


def called_at_import(tree: ast.Module) -> Iterator[str]:
    """Yields the names of the functions and classes that are called when the module is imported."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        if isinstance(node, Statement):
            yield from (each.id for each in node.decorator_list if isinstance(each, ast.Name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


class Words(ast.NodeTransformer):
    """Takes out what numbers do not depend on."""

    def __init__(self, experiment: bool) -> None:
        self.experiment = experiment

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = node.value.func if isinstance(node.value, ast.Call) else None
        checks = isinstance(call, ast.Name) and call.id.startswith(CHECK)
        return None if checks or isinstance(node.value, ast.Constant) else self.generic_visit(node)  # a docstring

    def visit_Raise(self, node: ast.Raise) -> None:
        """Takes it out: a result is there, so nothing was raised on the way to it."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Takes it out, for the same reason."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        if isinstance(node.body[-1], ast.Raise):
            node.body = []  # it never ran
        self.generic_visit(node)
        if node.body or node.orelse:
            return node
        named = any(isinstance(part, ast.NamedExpr) for part in ast.walk(node.test))
        return ast.Expr(node.test) if named else None

    def visit_For(self, node: ast.For) -> ast.AST | None:
        self.generic_visit(node)
        return node if node.body or node.orelse else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = [part for part in node.body if not (self.experiment and is_words(part))]
        return node


def is_words(part: ast.stmt) -> bool:
    """Says whether a part of an experiment is text or a picture."""
    if isinstance(part, ast.Assign | ast.AnnAssign):
        targets = part.targets if isinstance(part, ast.Assign) else [part.target]
        return all(isinstance(target, ast.Name) and target.id in WORDS for target in targets)
    return isinstance(part, ast.FunctionDef) and part.name in PICTURES


def shape(node: Any) -> Any:
    """Returns a syntax tree as tuples, without what is empty, which differs between versions of Python."""
    if isinstance(node, list):
        return [shape(each) for each in node]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, shape(value)) for name, value in ast.iter_fields(node))
    return (type(node).__name__, *(field for field in fields if field[1] not in (None, [])))
