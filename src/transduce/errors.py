"""The one exception that is the user's to mend, never a bug of ours."""


class UserError(ValueError):
    """Something asked for cannot be had.

    The message is one sentence: what was asked, what was found, what to do. The command line prints it alone, without
    a traceback, and exits with `exit_code`.
    """

    exit_code = 2


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
