"""The hashes of the config and the tokeniser of a run. An older run has none and is used as it is."""

import json
from pathlib import Path

from transduce.disk import digest, mismatch, read_json, replace_text
from transduce.errors import UserError

HASHES = "hashes.json"
WAY = f"restore it from a copy, or remove {HASHES} to use the run as it is"


def seal(path: Path) -> None:
    """Writes the hashes of config.yaml and of all files of the tokeniser and the readers."""
    inside = (file for folder in ("tokenizer", "readers") for file in (path / folder).rglob("*"))
    files = [path / "config.yaml", *sorted(file for file in inside if file.is_file())]
    hashes = {file.relative_to(path).as_posix(): digest(file) for file in files}
    replace_text(path / HASHES, json.dumps(hashes, indent=1) + "\n")


def require_sealed(path: Path, *names: str) -> None:
    """Raises UserError unless every file of these names, or in directories of these names, is what was written."""
    if not (path / HASHES).exists():
        return
    hashes = read_json(path / HASHES, WAY)
    if problem := mismatch(path, {name: sha for name, sha in hashes.items() if name.split("/")[0] in names}):
        raise UserError(f"{path} cannot be used: {problem}; {WAY}")


def write_config(path: Path, text: str) -> None:
    """Writes config.yaml, which has no hash until `seal` is called."""
    config = path / "config.yaml"
    if config.exists() and config.read_text(encoding="utf-8") == text:
        return
    (path / HASHES).unlink(missing_ok=True)  # first: a process that is killed here leaves no hash of another config
    replace_text(config, text)
