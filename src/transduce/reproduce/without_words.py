"""Source text without what numbers do not depend on."""

import ast
import functools

# What is said about an experiment, what is asked of its results and how they are shown: the results stay what they are.
WORDS = {"claim", "source", "paper", "explain", "minutes", "marks", "seeds", "history"}
PICTURES = {"plot"}
CHECK = "require"  # functions of this name refuse what is wrong and do nothing else


@functools.cache
def without_words(source: str, experiment: bool) -> ast.Module:
    """Returns the syntax tree without docstrings, annotations of functions, and what only refuses.

    experiment: without its words and its pictures, too.
    """
    return Words(experiment).visit(ast.parse(source))


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

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        node.returns = None
        self.generic_visit(node)
        return None if node.name == "__post_init__" and not node.body else node  # a dataclass may have one or not

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
