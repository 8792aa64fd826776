"""Of a module's source text, the part that named functions depend on, as text that changes only when it may matter."""

import ast
import functools
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from transduce.reproduce.without_words import without_words

Statement = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
CALLED_BY_TORCH = {"forward", "backward"}


def outline(
    source: str, roots: Collection[str], *, members: Collection[str] | None = None, experiment: bool = False
) -> ast.Module:
    """Returns the functions named in `roots` ("f", "Class.method"), and whatever else of the module they name.

    Left out are docstrings, comments, annotations of functions, what only refuses (`raise` and its condition, `assert`,
    calls of `require...`), and functions that are not among the roots. Of a method that is not, its name stays, because
    it may stand in for another class's.
    members: names of methods and class variables that may be asked for (None: all); the others are left out, too.
    experiment: leave out the words and the pictures of an experiment, too.
    """
    request = Wanted(frozenset(roots), None if members is None else frozenset(members) | CALLED_BY_TORCH)
    parts = [Part(statement, request) for statement in without_words(source, experiment).body]
    names = {root.split(".")[0] for root in roots}
    chosen_parts = list[Part]()
    while more := [part for part in parts if part not in chosen_parts and part.needed(names)]:
        chosen_parts += more
        names |= {name for part in more for name in loaded(part.tree)}
    body = [part.trimmed(names) for part in parts if part in chosen_parts]
    return ast.Module([statement for statement in body if statement is not None], [])


class Wanted(NamedTuple):
    """See `outline`."""

    roots: frozenset[str]
    members: frozenset[str] | None

    def asks_for(self, name: str) -> bool:
        return self.members is None or name in self.members or name.startswith("_")


class Part:
    """One statement of a module, cut down to what is wanted."""

    def __init__(self, statement: ast.stmt, request: Wanted) -> None:
        self.tree = cut(statement, request)
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


def cut(statement: ast.stmt, request: Wanted, prefix: str = "") -> ast.stmt | None:
    """Returns a statement without the functions that are not among the roots; None where nothing is left of it."""
    if not isinstance(statement, Statement):
        shared = prefix and is_class_variable(statement)
        return None if shared and not any(map(request.asks_for, bound(statement))) else statement
    name = f"{prefix}{statement.name}"
    if isinstance(statement, ast.ClassDef):
        body = [part for each in statement.body if (part := cut(each, request, f"{name}.")) is not None]
        return ast.ClassDef(statement.name, statement.bases, statement.keywords, body, statement.decorator_list)
    if name in request.roots:
        return statement
    return ast.Expr(ast.Name(statement.name, ast.Store())) if prefix and request.asks_for(statement.name) else None


def is_class_variable(part: ast.stmt) -> bool:
    """Says whether a part of a class is shared by its objects, and no field of a dataclass."""
    if isinstance(part, ast.AnnAssign):
        return "ClassVar" in ast.unparse(part.annotation)
    return isinstance(part, ast.Assign)


@functools.cache
def members_of(source: str) -> frozenset[str]:
    """Returns the names of the methods and class variables of all classes of a module."""
    classes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    return frozenset(name for each in classes for part in each.body for name in bound(part))


def asked_for(tree: ast.AST) -> Iterator[str]:
    """Yields every name by which a member of a class may be asked for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value  # getattr(x, "name")


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


def shape(node: Any) -> Any:
    """Returns a syntax tree as tuples, without what is empty, which differs between versions of Python."""
    if isinstance(node, list):
        return [shape(each) for each in node]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, shape(value)) for name, value in ast.iter_fields(node))
    return (type(node).__name__, *(field for field in fields if field[1] not in (None, [])))
