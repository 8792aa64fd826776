"""Folders that bring code of their own, which is never run here."""

import json
from pathlib import Path
from typing import Any, cast

from transduce.errors import UserError

LARGE = ("tokenizer.json", "vocab.json", "model.safetensors.index.json")  # megabytes, of which nobody takes code


def require_none(folder: Path) -> None:
    """Raises UserError if a JSON file of a folder names classes of the folder's own (`auto_map`), at any depth.

    A model, a tokeniser or a processor whose code is not known may compute anything, so the other files are no answer
    either. A token called auto_map in a vocabulary is not code.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            text = path.read_bytes()
        except OSError:
            continue  # whoever needs the file says so
        if path.name in LARGE and b"auto_map" not in text:
            continue
        try:
            data: object = json.loads(text)
        except (ValueError, RecursionError):
            if b"auto_map" not in text:
                continue
            data = {"auto_map": "?"}
        if names_code(data):
            raise UserError(
                f"{path} has auto_map, which names code of the folder's own, and that is never run here; use a folder "
                f"whose classes are those of transformers, or delete the key where its model_type is known without it"
            )


def names_code(data: object) -> bool:
    """Says whether an auto_map somewhere names something."""
    rest = [data]
    while rest:
        one = rest.pop()
        if isinstance(one, list):
            rest += cast("list[Any]", one)
        elif isinstance(one, dict):
            items = cast("dict[str, Any]", one)
            if isinstance(items.get("auto_map"), dict | list | str):
                return True
            rest += items.values()
    return False
