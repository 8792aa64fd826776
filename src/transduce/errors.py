"""The one exception that is the user's to mend, never a bug of ours."""

import os


class UserError(ValueError):
    """Something asked for cannot be had.

    The message is one sentence: what was asked, what was found, what to do. The command line prints it alone, without
    a traceback, and exits with `exit_code`.
    """

    exit_code = 2


class Notice(UserWarning):
    """What the user should know although nothing went wrong, in one sentence; the command line prints it alone."""


def require_probability(**values: float) -> None:
    """Raise UserError unless every value lies in [0, 1): the probability of dropping something."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise UserError(f"{name}={value} is not a probability below 1; use 0.1, or 0 for none")


def require_at_least(least: int, **values: int | None) -> None:
    """Raise UserError unless every value that is given is `least` or more."""
    for name, value in values.items():
        if value is not None and value < least:
            raise UserError(f"{name}={value} must be at least {least}")


def require_memory(params: int, what: str) -> None:
    """Raise UserError unless the weights alone fit the memory of this machine. what: to do with layers and width."""
    need, have = 4 * params, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have:
        raise UserError(
            f"the weights take {need / 1e9:,.0f} GB in float32, but this machine has {have / 1e9:,.0f} GB of memory; "
            f"{what} layers and width"
        )
