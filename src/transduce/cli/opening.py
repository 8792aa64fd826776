"""A model opened for a command, which tells on stderr in which precision it is read."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transduce.cli.options import Asked
from transduce.cli.words import fold
from transduce.screen import Screen

if TYPE_CHECKING:
    from transduce.runs.quantised import Reading
    from transduce.transducer import Transducer


def opened(
    run: Path, checkpoint: str, device: str, precision: Asked | None, overrides: Iterable[tuple[str, Any]] = (), *,
    decodes: bool = False,
) -> "Transducer":  # fmt: skip
    """Returns the model of a run. decodes: it is only decoded and scored with, so that one set of weights is enough."""
    from transduce import api

    model = api.load(run, checkpoint=checkpoint, device=device, precision=precision, overrides=overrides)
    if decodes:
        from transduce.generate.packed import give_up

        give_up(model.model)
    tell(model.reading)
    return model


def tell(reading: "Reading") -> None:
    """Says in one line on stderr in which precision a model is read; nothing where that is float32 by default.

    Of a precision that is slower a `Notice` has told already.
    """
    if reading.line and not reading.slower:
        Screen(sys.stderr).say(fold(f"transduce: {reading.line}", sys.stderr))
