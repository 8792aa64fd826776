"""The code that a result was computed by: recorded while it is measured, compared with the code that is there.

Covered are the functions of `transduce` that ran, wherever they stand, and what these name: constants, fields and
defaults of classes, base classes, imports. Docstrings, comments, annotations and what only refuses are not, nor are
functions that did not run (`outline.py`). Left out as a whole are the command line, errors, `config.py`, which puts
settings into the classes whose fields are covered, and what says and shows rather than computes. Other packages, of
which a result names the versions, and the data that was read are not covered either.
"""

import ast
import cProfile
import functools
import hashlib
import inspect
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from transduce.reproduce.outline import CHECK, bound, called_at_import, outline, shape

T = TypeVar("T")
Code = dict[str, dict[str, Any]]  # a module -> {"digest": of its outline, "functions": the roots of the outline}
PACKAGE = Path(__file__).parents[1]  # transduce
EXPERIMENTS = "transduce.reproduce.experiments."
LEFT_OUT = ("transduce.cli", "transduce.config", "transduce.errors", "transduce.reproduce.experiment",
            "transduce.reproduce.mark", "transduce.reproduce.history", "transduce.reproduce.provenance")  # fmt: skip
TRACING = list[cProfile.Profile]()  # that of `traced`, while it runs


def traced(run: Callable[[], T]) -> tuple[T, Code]:
    """Runs something and returns what it gives with the code that it ran through."""
    forget()
    profile = cProfile.Profile(subcalls=False, builtins=False)
    TRACING.append(profile)
    profile.enable()
    try:
        value = run()
    finally:
        TRACING.pop().disable()
    ran = [entry.code for entry in profile.getstats() if isinstance(entry.code, types.CodeType)]
    return value, Source(PACKAGE).code(functions(ran))


@contextmanager
def untraced() -> Iterator[None]:
    """Stops the tracing for a while, for clocks: what runs meanwhile must have run before."""
    for profile in TRACING:
        profile.disable()
    try:
        yield
    finally:
        for profile in TRACING:
            profile.enable()


def forget() -> None:
    """Empties the caches of functions, whose bodies would not run where an earlier call has left the answer."""
    for name, module in list(sys.modules.items()):
        if covered(name):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):  # pyright: ignore[reportPrivateUsage]
                    value.cache_clear()


def functions(ran: Iterable[types.CodeType]) -> dict[str, set[str]]:
    """Returns the names of functions by module. What a dataclass has generated counts as its class."""
    modules = {name: module for name, module in list(sys.modules.items()) if covered(name)}
    files, roots = {module.__file__: name for name, module in modules.items()}, defaultdict[str, set[str]](set)
    ids = set[int]()  # not the codes themselves: codes of two files may be equal
    for code in ran:
        ids.add(id(code))
        name = code.co_qualname.split(".<locals>")[0]
        body = code.co_flags & inspect.CO_OPTIMIZED  # of a function, and not of a class or a module
        if body and code.co_filename in files and not code.co_name.startswith(CHECK):
            roots[files[code.co_filename]].add(name)
    for name, module in modules.items():
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == name and not ids.isdisjoint(map(id, generated(value))):
                roots[name].add(value.__qualname__)
    return roots


def generated(cls: type) -> list[types.CodeType]:
    """Returns the code of methods that stand in no file."""
    methods = (value for value in vars(cls).values() if isinstance(value, types.FunctionType))
    return [method.__code__ for method in methods if method.__code__.co_filename == "<string>"]


def covered(module: str) -> bool:
    return module.startswith("transduce.") and not any(f"{module}.".startswith(f"{left}.") for left in LEFT_OUT)


def changed(code: Code, package: Path | None = None) -> list[str]:
    """Returns the files of the package (None: this one) that are no longer what a result was computed by."""
    source = Source(package := package or PACKAGE)
    modules = (name for name, part in code.items() if source.digest(name, part["functions"]) != part["digest"])
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

    def digest(self, module: str, roots: Collection[str]) -> str:
        return digest(self.text(module), frozenset(roots), module.startswith(EXPERIMENTS))

    def code(self, roots: dict[str, set[str]]) -> Code:
        """Returns the digests of these functions, and of the constants and classes of other modules that they name."""
        whole, waiting = {module: set(names) for module, names in roots.items()}, list(roots)
        while waiting:
            module = waiting.pop()
            for other, name in self.named(module, whole[module]):
                if name not in whole.setdefault(other, set()):
                    whole[other].add(name)
                    waiting.append(other)
        kept = {module: sorted(names) for module, names in sorted(whole.items()) if names}
        return {module: {"digest": self.digest(module, names), "functions": names} for module, names in kept.items()}

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
def digest(source: str, roots: frozenset[str], experiment: bool) -> str:
    return hashlib.sha256(str(shape(outline(source, roots, experiment=experiment))).encode()).hexdigest()[:16]


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
