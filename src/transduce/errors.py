"""The one exception that is the user's to mend, never a bug of ours."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager

TOO_LARGE = re.compile(
    r"overflow|allocate \d+ bytes|not enough memory|unable to allocate|too large|numel", re.IGNORECASE
)


class UserError(ValueError):
    """Something asked for cannot be had.

    The message is one sentence: what was asked, what was found, what to do. The command line prints it alone, without
    a traceback, and exits with `exit_code`.
    """

    exit_code = 2


class Notice(UserWarning):
    """News for the user although nothing went wrong, in one sentence; the command line prints it alone."""


def require_probability(**values: float) -> None:
    """Raises UserError unless every value lies in [0, 1): the probability of dropping something."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise UserError(f"{name}={value} is not a probability below 1; use 0.1, or 0 for none")


def require_at_least(least: int, **values: int | None) -> None:
    """Raises UserError unless every value that is given is `least` or more."""
    for name, value in values.items():
        if value is not None and value < least:
            raise UserError(f"{name}={value} must be at least {least}")


def require_at_most(most: int, **values: int | None) -> None:
    """Raises UserError unless every value that is given is `most` or less."""
    for name, value in values.items():
        if value is not None and value > most:
            raise UserError(f"{name}={value} must be at most {most}")


def memory() -> int:
    """Returns the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(numbers: int, what: str) -> None:
    """Raises UserError unless the weights and tables of a model alone fit the memory of this machine.

    numbers: how many they are.
    what: to do with layers and width.
    """
    need, have = 4 * numbers, memory()
    if need > have:
        raise UserError(
            f"the weights take {need / 1e9:,.0f} GB in float32, but this machine has {have / 1e9:,.0f} GB of memory; "
            f"{what} layers, width, or whatever else is large in it"
        )


def too_large(error: BaseException) -> str | None:
    """Returns what was asked for, if an error says that it is more than the memory or a tensor holds, else None.

    PyTorch has no type of its own for that on a CPU.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "more memory than there is"
    if not isinstance(error, RuntimeError | OverflowError | TypeError | ValueError) or isinstance(error, UserError):
        return None
    if not (match := TOO_LARGE.search(str(error))):
        return None
    count = re.search(r"allocate (\d+) bytes", str(error))
    return f"{int(count[1]) / 1e9:,.1f} GB at once" if match and count else "a size that no tensor can have"


@contextmanager
def sized(what: str, way: str) -> Generator[None]:
    """Turns what does not fit the memory or a tensor into a UserError.

    what: that does not fit.
    way: what to do about it.
    """
    try:
        yield
    except Exception as error:
        size = too_large(error)
        if size is None:
            raise
        raise UserError(f"{what} needs {size}; {way}") from error
