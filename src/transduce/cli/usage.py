"""The sentence for wrong words of a command line, and the options that the help leaves out."""

import re
from typing import Any

import typer
from typer.core import TyperGroup

from transduce.config import nearest

UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # of click, or of the copy of it in typer
COMPLETION = ("install_completion", "show_completion")


class Commands(TyperGroup):
    """The commands of the program. The options that install completion work, but do not crowd the help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for param in self.params:
            if param.name in COMPLETION:
                param.hidden = True  # pyright: ignore[reportAttributeAccessIssue]
        super().format_help(ctx, formatter)


def usage(error: Any) -> str | None:
    """Returns the sentence for words that no command understands (None: no words at all; the help is the answer)."""
    context, path = error.ctx, "transduce"
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    if match := re.match(r"No such command '(.*?)'", error.message, re.DOTALL):
        path = context.command_path.split(" ")[1:]
        guess = nearest(match[1], list(context.command.commands))
        typed, likely = (" ".join([*path, word]) for word in (match[1], guess or ""))
        way = f"did you mean `{likely}`?" if guess else f"`{' '.join(['transduce', *path, '--help'])}` lists them"
        return f"there is no command `{typed}`; {way}"
    text = error.format_message().replace("'", "`").strip()
    text = re.sub(r"^Missing argument `(.*?)`", lambda match: f"missing argument {match[1].upper()}", text)
    return f"{text[:1].lower()}{text[1:].rstrip('.')}; see `{path if context is None else context.command_path} --help`"
