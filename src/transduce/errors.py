"""The one exception that is the user's to mend, never a bug of ours."""


class UserError(ValueError):
    """Something asked for cannot be had.

    The message is one sentence: what was asked, what was found, what to do. The command line prints it alone, without
    a traceback, and exits with `exit_code`.
    """

    exit_code = 2
