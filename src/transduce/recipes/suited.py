"""Data that are given where a recipe is wanted: which recipe would suit them, as a command."""

import gzip
import json
import shlex
from pathlib import Path
from typing import Any, cast

TABLES, ROWS, PLAIN = (".tsv", ".csv"), (".jsonl", ".ndjson"), (".txt",)
HEAD = 1 << 16  # bytes of a file that are looked at


def words_for(path: Path) -> list[str] | None:
    """Returns the recipe that suits a file or folder of data, and what it needs beside data.path; None: no data."""
    if path.is_dir():
        return None if (path / "config.yaml").is_file() or (path / "config.json").is_file() else _of_folder(path)
    return _of_file(path)


def suited(path: Path) -> str | None:
    """Returns the sentence for a file or folder of data, a run, or a published model; None: it may be a recipe."""
    if path.is_dir():
        if (path / "config.yaml").is_file():
            return f"{path} has a config.yaml, but no checkpoints to start from; its recipe is {path / 'config.yaml'}"
        if (path / "config.json").is_file():
            return f"{path} is a published model, not a recipe; a recipe starts from it with start={path}"
        words = _of_folder(path)
    else:
        words = _of_file(path)
    if words is None:
        return None
    command = shlex.join(["transduce", "train", words[0], f"data.path={path}", *words[1:]])
    return f"{path} is data, and what comes first is a recipe; this one would fit: {command}"


def _of_folder(folder: Path) -> list[str] | None:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    files.sort(key=lambda file: not file.name.startswith("train."))
    train = {file.name.removesuffix(".gz").removeprefix("train.") for file in files if file.name.startswith("train.")}
    others = {ending.removeprefix(".") for ending in (*TABLES, *ROWS, *PLAIN)}
    languages = sorted(ending for ending in train - others if ending.isalpha() and len(ending) < 4)
    if len(languages) == 2:
        return ["pairs", "data.kind=parallel", f"data.source={languages[0]}", f"data.target={languages[1]}"]
    return next((words for file in files if (words := _of_file(file)) is not None), None)


def _of_file(path: Path) -> list[str] | None:
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind in TABLES:
        return ["pairs"]
    if kind in PLAIN:
        lines = [line for line in _head(path) if line.strip()]
        return ["pairs" if lines and all(line.count("\t") == 1 for line in lines) else "text"]
    if kind not in ROWS:
        return None
    names = _fields(next(iter(_head(path)), ""))
    if "text" in names or len(names) < 2:
        return ["text", "data.unit=line", *([] if "text" in names else [f"data.field={name}" for name in names])]
    return ["pairs", f"data.source_field={names[0]}", f"data.target_field={names[1]}"]


def _fields(line: str) -> list[str]:
    """Returns the fields of a JSON object that hold text."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return []
    fields = cast("dict[str, Any]", row if isinstance(row, dict) else {})
    return [name for name, value in fields.items() if isinstance(value, str)]


def _head(path: Path) -> list[str]:
    """Returns the first lines of a file; none where they cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read(HEAD)
    except (OSError, EOFError):
        return []
    lines = data.decode("utf-8-sig", "replace").split("\n")
    return lines[:-1] if len(data) == HEAD else lines
