"""Folders of the Hugging Face hub: fetched by its own library, or found in its cache."""

from pathlib import Path
from typing import Any, cast

from transduce.errors import UserError

PREFIX = "hub:"
WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja"]


def snapshot(source: str) -> Path:
    """Returns the folder of hub:OWNER/NAME or hub:OWNER/NAME@REVISION. Raises UserError."""
    name, _, revision = source.removeprefix(PREFIX).partition("@")
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(f"{source} needs huggingface_hub; install it: pip install 'transduce[hub]'") from None
    try:
        path = cast(Any, huggingface_hub).snapshot_download(name, revision=revision or None, allow_patterns=WANTED)
    except Exception as error:  # its own, those of its network library, and ValueError for a name that is none
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{source} cannot be had ({type(error).__name__}: {reason})") from None
    return Path(path)
