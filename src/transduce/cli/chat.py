"""`transduce chat`: a conversation in the terminal, whose answers are shown as they are written."""

import sys
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli.documents import line as object_line
from transduce.cli.documents import line_option
from transduce.cli.live import QUIT, shown, typed
from transduce.cli.opening import opened
from transduce.cli.options import (
    Checkpoint,
    Device,
    MaxNewTokens,
    MinP,
    Precision,
    RepetitionPenalty,
    Run,
    Seed,
    Temperature,
    TopK,
    TopP,
)  # fmt: skip
from transduce.cli.words import given, lines
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.transducer import Transducer

CLEAR = "/clear"
LONGEST = 1_000_000  # characters of a line


def chat(
    run: Run,
    message: Annotated[str | None, typer.Argument(help="Answer this alone, and end.", show_default=False)] = None,
    system: Annotated[str | None, typer.Option(help="The system says this first.")] = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    seed: Seed = None,
    max_new_tokens: MaxNewTokens = None,
    repetition_penalty: RepetitionPenalty = None,
    json: Annotated[bool, line_option("prompt, text")] = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Talk with a model that was trained on conversations; it remembers what was said.

    A line in is a turn, whether it is typed or comes from standard input. /clear begins anew, /quit ends.
    """
    model = opened(run, checkpoint, device, precision, decodes=True)
    options = given(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, max_new_tokens=max_new_tokens,
        repetition_penalty=repetition_penalty, seed=seed,
    )  # fmt: skip
    first = [] if system is None else [{"role": "system", "content": system}]
    history, terminal = [*first], message is None and sys.stdin.isatty()
    if message is not None:
        turns: Iterable[str] = [message]
    else:
        turns = typed(f"say something; {CLEAR} begins anew") if terminal else lines("-", LONGEST)
    for text in turns:
        if text.strip() == QUIT:
            break
        if text.strip() == CLEAR:
            history = [*first]
            continue
        if not text.strip():
            continue
        history.append({"role": "user", "content": text})
        try:
            answer = spoken(model, history, options, shows=not json)
        except UserError as error:
            if not terminal:
                raise
            history.pop()
            print(f"transduce: {error} ({CLEAR})", file=sys.stderr)
            continue
        history.append({"role": "assistant", "content": answer})
        if json:
            object_line({"prompt": text, "text": answer})
            sys.stdout.flush()


def spoken(model: "Transducer", history: list[dict[str, str]], options: dict[str, Any], *, shows: bool) -> str:
    """Returns the answer to a conversation, and writes it as it comes; Ctrl-C ends it where it is."""
    stream = model.chat_stream(history, **options)
    pieces = chain([next(stream, "")], stream)  # what is refused is refused before anything is printed
    return shown(pieces) if shows else "".join(pieces)
