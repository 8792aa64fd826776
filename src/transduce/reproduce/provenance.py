"""The code that a result was computed by: recorded while it is measured, compared with the code that is there.

Covered are the functions of `transduce` that ran, wherever they stand, and what these name: constants, fields and
defaults of classes, base classes, imports. Docstrings, comments, annotations and what only refuses are not, nor are
functions that did not run (`outline.py`). Left out as a whole (LEFT_OUT in `tracing.py`) are the command line and
errors; what puts settings into the classes whose fields are covered; what opens files, as the data that was read is not
covered either; and what says of an experiment rather than computes. Of other packages a result names the versions.
"""

import ast
import functools
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from transduce.reproduce.outline import asked_for, bound, called_at_import, members_of, outline, shape
from transduce.reproduce.tracing import covered, ran_through

T = TypeVar("T")
Code = dict[str, dict[str, Any]]  # a module -> {"digest": of its outline, "functions": the roots of the outline}
PACKAGE = Path(__file__).parents[1]  # transduce
EXPERIMENTS = "transduce.reproduce.experiments."


def traced(run: Callable[[], T]) -> tuple[T, Code]:
    """Runs something and returns what it gives with the code that it ran through."""
    value, roots = ran_through(run)
    return value, Source(PACKAGE).code(roots)


def changed(code: Code, package: Path | None = None) -> list[str]:
    """Returns the files of the package (None: this one) that are no longer what a result was computed by."""
    source = Source(package := package or PACKAGE)
    digests = source.digests({name: part["functions"] for name, part in code.items()})
    modules = (name for name, part in code.items() if digests[name] != part["digest"])
    return sorted(source.path(name).relative_to(package).as_posix() for name in modules)


@dataclass(frozen=True)
class Source:
    """The files of a package, read and not run."""

    package: Path

    def path(self, module: str) -> Path:
        path = self.package.joinpath(*module.split(".")[1:])
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def text(self, module: str) -> str:
        try:
            return self.path(module).read_text("utf-8")
        except FileNotFoundError:
            return ""

    def digests(self, roots: Mapping[str, Collection[str]]) -> dict[str, str]:
        """Returns those of the outlines of modules, by the names of these."""
        texts = {module: self.text(module) for module in roots}
        members = frozenset[str]().union(
            *(asked(texts[module], frozenset(names), module.startswith(EXPERIMENTS)) for module, names in roots.items())
        )
        return {
            module: digest(texts[module], frozenset(names), members & members_of(texts[module]), module)
            for module, names in roots.items()
        }

    def code(self, roots: dict[str, set[str]]) -> Code:
        """Returns the digests of these functions, and of the constants and classes of other modules that they name."""
        whole, waiting = {module: set(names) for module, names in roots.items()}, list(roots)
        while waiting:
            module = waiting.pop()
            for other, name in self.named(module, whole[module]):
                if name not in whole.setdefault(other, set()):
                    whole[other].add(name)
                    waiting.append(other)
        used = {module: sorted(names) for module, names in sorted(whole.items()) if names}
        digests = self.digests(used)
        return {module: {"digest": digests[module], "functions": names} for module, names in used.items()}

    def named(self, module: str, roots: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yields (module, name) of what is taken from other modules and is no function, and of what imports call."""
        tree = outline(self.text(module), roots, experiment=module.startswith(EXPERIMENTS))
        modules, at_import = dict[str, str](), set(called_at_import(tree))  # local name -> module
        for name in at_import & set(functions_of(self.text(module))):
            yield from ((module, root) for root in functions_of(self.text(module))[name])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    if (whole := f"{node.module}.{alias.name}").startswith("transduce.") and self.path(whole).exists():
                        modules[alias.asname or alias.name] = whole
                    elif covered(node.module):
                        if alias.name in data(self.text(node.module)):
                            yield node.module, alias.name
                        if (alias.asname or alias.name) in at_import:
                            roots = functions_of(self.text(node.module)).get(alias.name, ())
                            yield from ((node.module, root) for root in roots)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                other = modules.get(node.value.id)
                if other is not None and covered(other) and node.attr in data(self.text(other)):
                    yield other, node.attr


@functools.cache
def digest(source: str, roots: frozenset[str], members: frozenset[str], module: str) -> str:
    tree = outline(source, roots, members=members, experiment=module.startswith(EXPERIMENTS))
    return hashlib.sha256(str(shape(tree)).encode()).hexdigest()[:16]


@functools.cache
def asked(source: str, roots: frozenset[str], experiment: bool) -> frozenset[str]:
    return frozenset(asked_for(outline(source, roots, experiment=experiment)))


@functools.cache
def functions_of(source: str) -> dict[str, list[str]]:
    """Returns what runs when a name of a module is called: the function, or how an object of the class starts."""
    roots = dict[str, list[str]]()
    for part in ast.parse(source).body:
        if isinstance(part, ast.FunctionDef):
            roots[part.name] = [part.name]
        elif isinstance(part, ast.ClassDef):
            own = [each.name for each in part.body if isinstance(each, ast.FunctionDef)]
            roots[part.name] = [f"{part.name}.{name}" for name in own if name in ("__init__", "__post_init__")]
    return roots


@functools.cache
def data(source: str) -> set[str]:
    """Returns the names that a module binds to no function: constants, classes, what it takes from others."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {name for part in ast.parse(source).body if not isinstance(part, functions) for name in bound(part)}
