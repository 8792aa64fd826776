"""The contract of readers: what a column holds becomes numbers, in the same way in training and in use."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from transduce.config import Part, from_data, to_data
from transduce.disk import read_json, replace_text
from transduce.errors import UserError
from transduce.text.tokenizer import Tokenizer

FOLDER = "readers"
NO_TOKENIZER = "there is text to read, but no tokeniser; set tokenizer.kind, for example to bpe"


@dataclass(frozen=True, kw_only=True)
class Reader(Part):
    """The reader of one column. Its fields are what was fitted to the training data, so a run keeps it as JSON."""

    folder: ClassVar[str] = "transduce.data.readers"

    @property
    def size(self) -> int:
        """Returns how many different values, or how many numbers a value has."""
        raise AssertionError("a kind of Reader defines size")

    def fit(self, values: Sequence[Any], column: str) -> Self:
        """Returns a reader that fits the training data. Raises UserError where these cannot be learnt from."""
        return self

    def encode(self, values: Sequence[Any], column: str) -> Any:
        """Returns the numbers of every value, as an array or `Ragged`. Raises UserError, naming the row."""
        raise AssertionError("a kind of Reader defines encode")

    def stored(self, run: Path) -> Self:
        """Puts what a reader needs beside its fields into the directory of a run; returns it as that has it as JSON."""
        return self

    def found_in(self, run: Path) -> Self:
        """Returns a reader that a run has as JSON, with what it needs beside its fields."""
        return self


@dataclass(frozen=True)
class Readers:
    """All readers of a run. tokenizer: of text (None: it reads none). columns: of the other columns, by name."""

    tokenizer: Tokenizer | None = None
    columns: Mapping[str, Reader] = field(default_factory=dict[str, Reader])

    @property
    def text(self) -> Tokenizer:
        """Returns the reader of text. Raises UserError where the model has none."""
        if self.tokenizer is None:
            raise UserError(NO_TOKENIZER)
        return self.tokenizer

    def __getitem__(self, column: str) -> Reader:
        return self.columns[column]

    def save(self, path: Path) -> None:
        """Writes the readers of a run beside its tokeniser, which has a folder of its own."""
        columns = {name: reader.stored(path) for name, reader in self.columns.items()}
        for name, reader in columns.items():
            (path / FOLDER).mkdir(exist_ok=True)
            replace_text(
                path / FOLDER / f"{name}.json", json.dumps(to_data(reader), indent=1, ensure_ascii=False) + "\n"
            )


@dataclass(frozen=True, kw_only=True)
class _One:
    reader: Reader


def load(path: Path) -> dict[str, Reader]:
    """Returns the readers that `save` wrote. Raises UserError."""
    files = sorted((path / FOLDER).glob("*.json"))
    return {file.stem: from_data(_One, {"reader": read_json(file)}).reader.found_in(path) for file in files}
