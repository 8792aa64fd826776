"""The command line: one file per command, which imports torch only when it runs."""

import errno
import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import typer

from transduce import __version__
from transduce.cli import (
    act,
    answer,
    average,
    caption,
    catalogue,
    chat,
    classify,
    doctor,
    draw,
    embed,
    evaluate,
    explain,
    export,
    generate,
    import_,
    impute,
    inspect_,
    label,
    lr_find,
    parity,
    parts,
    plan,
    predict,
    prepare,
    quantise,
    rank,
    recipes,
    regress,
    reproduce,
    runs,
    score,
    serve,
    tag,
    tokenizer,
    train,
    transcribe,
    translate,
)  # fmt: skip
from transduce.cli.output import for_programs, prepared, unwritable
from transduce.cli.usage import Commands, UsageError, usage
from transduce.cli.words import PASS_ON, fold
from transduce.errors import Notice, UserError, too_large
from transduce.screen import Screen

app = typer.Typer(
    help="Train sequence models on your own data, and use them.",
    epilog="Start with `transduce train`: it needs no data and no network. "
    "`transduce --install-completion` has your shell complete words.",
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
app.command(context_settings=PASS_ON)(train.train)
app.command(context_settings=PASS_ON)(evaluate.evaluate)
app.command()(for_programs(translate.translate))
app.command()(for_programs(generate.generate))
app.command()(for_programs(chat.chat))
app.command()(for_programs(label.label))
app.command()(for_programs(score.score))
app.command()(for_programs(classify.classify))
app.command()(for_programs(transcribe.transcribe))
app.command()(for_programs(caption.caption))
app.command()(for_programs(tag.tag))
app.command()(for_programs(answer.answer))
app.command()(for_programs(regress.regress))
app.command()(for_programs(rank.rank))
app.command()(for_programs(act.act))
app.command()(for_programs(predict.predict))
app.command()(for_programs(embed.embed))
app.command()(for_programs(draw.draw))
app.command()(for_programs(impute.impute))
app.command(context_settings=PASS_ON)(plan.plan)
app.command(context_settings=PASS_ON)(doctor.doctor)
app.command("lr-find", context_settings=PASS_ON)(lr_find.lr_find)
app.command(context_settings=PASS_ON)(prepare.prepare)
app.command()(serve.serve)
app.command("inspect")(inspect_.inspect_)
app.command()(explain.explain)
app.command(context_settings=PASS_ON)(reproduce.reproduce)
app.command("import")(import_.import_)
app.command()(export.export)
app.command()(parity.parity)
app.command()(average.average)
app.command(context_settings=PASS_ON)(quantise.quantise)
app.add_typer(runs.app, name="runs")
app.add_typer(recipes.app, name="recipes")
app.add_typer(parts.app, name="parts")
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(tokenizer.app, name="tokenizer")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", metavar="", help="Show tracebacks (or TRANSDUCE_DEBUG=1).")] = False,
) -> None:
    if version:
        typer.echo(f"transduce {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. Every mistake of the user is one sentence on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = os.environ.get("TRANSDUCE_DEBUG", "") not in ("", "0") or "--debug" in words
    words = [word for word in words if word != "--debug"]
    with prepared():
        try:
            code = run(words)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read has seen enough
            return 1
        except Exception as error:
            message = sentence(error)
            if debug or message is None:
                raise
            Screen(sys.stdout).flush()  # what came before the error stands before it
            Screen(sys.stderr).say(fold(f"transduce: {one_line(message)}", sys.stderr))
            if isinstance(error, FileNotFoundError):  # a word of the command line is wrong
                return UserError.exit_code
            return error.exit_code if isinstance(error, UserError) else 1
    return code


def run(words: list[str]) -> int:
    """Runs one command; returns the exit status."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", Notice)
            warnings.showwarning = noticed(warnings.showwarning)
            code: Any = command()(words, prog_name="transduce", standalone_mode=False)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except UsageError as error:
        if (message := usage(error)) is None:
            print(cast("Any", error).ctx.get_help())
            return 2
        raise UserError(message) from None
    return code if isinstance(code, int) else 0


@functools.cache
def command() -> Any:
    """Returns the application as click has it, which takes a twentieth of a second to make."""
    return typer.main.get_command(app)


def noticed(show: Callable[..., None]) -> Callable[..., None]:
    """Shows a `Notice` as one line on stderr, and other warnings as before."""

    def line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, Notice):
            show(message, category, *where, **more)
            return
        Screen(sys.stderr).say(fold(f"transduce: {one_line(str(message))}", sys.stderr))

    return line


def one_line(text: str) -> str:
    """Returns a message without line breaks, and with signs that a terminal would obey written out.

    A word of more than 400 characters, such as a number of 5,000 digits, is shown by its two ends.
    """
    text = " ".join(part.strip() for part in text.splitlines() if part.strip())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return re.sub(r"(\S{200})\S+(\S{200})", r"\1...\2", text)


def sentence(error: Exception) -> str | None:
    """Returns what to tell the user of a mistake to correct (None: the fault is ours, and the traceback is needed)."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, UnicodeEncodeError) and error.encoding == sys.stdout.encoding:
        return unwritable(error)
    if (size := too_large(error)) is not None:
        return f"out of memory; lower batch.batch_tokens, or set train.recompute=true (it needs {size})"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = str(error).strip().split("\n", 1)[0]
        return f"torch.compile failed ({reason}); set train.compile=false, or see all of it with --debug"
    if not isinstance(error, OSError) or error.errno is None:
        return None
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; free some space and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}permission denied; choose another directory with --out, or change its permissions"
    return f"{where}{(error.strerror or 'input or output failed').lower()}"
