"""Pictures and sounds that a client sends: a model that reads files gets those, and never files of this machine."""

import base64
import binascii
import mimetypes
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from transduce.errors import UserError
from transduce.serve.asking import Served

R = TypeVar("R")
SENT = re.compile(r"data:([\w.+-]+/[\w.+-]+)?;base64,")


def on_inputs(served: Served, inputs: Sequence[Any], work: Callable[[list[Any]], R]) -> Callable[[], R]:
    """Returns what does some work on inputs, which are texts, or of a model that reads files, `data:` addresses.

    Raises UserError for anything else in the place of a file: a path would be one of this machine.
    """
    if not (served.model.task.sees or served.model.task.hears):
        return lambda: work(list(inputs))
    files = [decoded(value, number) for number, value in enumerate(inputs, 1)]

    def with_files() -> R:
        with tempfile.TemporaryDirectory(prefix="transduce-") as folder:
            paths = [Path(folder) / f"{number}{suffix}" for number, (suffix, _) in enumerate(files, 1)]
            for path, (_, content) in zip(paths, files, strict=True):
                path.write_bytes(content)
            try:
                return work([str(path) for path in paths])
            except UserError as error:
                raise UserError(str(error).replace(f"{folder}/", "file ")) from None

    return with_files


def decoded(value: Any, number: int) -> tuple[str, bytes]:
    """Returns the ending and the bytes of a file that was sent. Raises UserError."""
    mark = SENT.match(value) if isinstance(value, str) else None
    if mark is None:
        what = f"input {number} is no file that was sent, and this model reads pictures or sounds"
        raise UserError(f"{what}; send data:image/png;base64,...")
    try:
        content = base64.b64decode(value[mark.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"input {number} is not in base64; encode the bytes of the file") from None
    kind = mark[1] or ""
    return {"audio/wav": ".wav", "audio/x-wav": ".wav"}.get(kind) or mimetypes.guess_extension(kind) or "", content
