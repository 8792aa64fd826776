"""A record of the functions of `transduce` that run, by a profiler that counts no calls of what is not Python."""

import cProfile
import functools
import inspect
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TypeVar

from transduce.reproduce.without_words import CHECK

T = TypeVar("T")
LEFT_OUT = (
    "transduce.cli", "transduce.errors", "transduce.screen",
    "transduce.config", "transduce.scalars", "transduce.plain_yaml",
    "transduce.data.read", "transduce.data.encoding", "transduce.disk",
    "transduce.exchange.checkpoint",  # whose hook hears of every parameter that any module makes
    "transduce.reproduce.experiment", "transduce.reproduce.mark", "transduce.reproduce.history",
    "transduce.reproduce.store", "transduce.reproduce.provenance", "transduce.reproduce.tracing",
)  # fmt: skip
TRACING = list[cProfile.Profile]()  # that of `ran_through`, while it runs


def ran_through(run: Callable[[], T]) -> tuple[T, dict[str, set[str]]]:
    """Runs something and returns what it gives, with the names of the functions that ran, by module."""
    forget()
    profile = cProfile.Profile(subcalls=False, builtins=False)
    TRACING.append(profile)
    profile.enable()
    try:
        value = run()
    finally:
        TRACING.pop().disable()
    return value, functions([entry.code for entry in profile.getstats() if isinstance(entry.code, types.CodeType)])


@contextmanager
def untraced() -> Generator[None]:
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
