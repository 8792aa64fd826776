"""Named columns from a table: which column is the text and which the label is told, or seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from transduce.data import cells, conll, documents, read, recognise, table
from transduce.data.columns import Columns
from transduce.data.source import SPLITS, DataConfig, files, hold_out, require_fraction, unused

EXTENSIONS = (*table.EXTENSIONS, ".parquet", *conll.EXTENSIONS, *documents.EXTENSIONS, ".txt")


@dataclass(frozen=True, kw_only=True)
class Table(DataConfig):
    """Columns of TSV, CSV, JSON, Parquet, CoNLL, SQuAD or plain text files, for any task.

    path: a folder with train.tsv (or .csv, .jsonl, .parquet, .txt), valid.* and test.*, or of other files, one file or
        a glob, all of which is train.
    columns: where each column that the task reads is, by name or counted from 0, such as {text: message, label: 0};
        what is left out is recognised by its name or by what it holds, which is said.
    header: whether the first row holds names (None: where it looks like names).
    separator: what parts the columns (auto: as the name of the file says; space: the first space of a line).
    train: names or globs of the files of this split.
    valid: the same; where there are none, valid_fraction of train is held out.
    test: the same.
    valid_fraction: the share of train that is held out, chosen by a hash of the first column.
    max_chars: the longest value.
    """

    kind: ClassVar[str] = "table"
    task: ClassVar[str] = "classify"
    path: str
    columns: dict[str, int | str] = field(default_factory=dict[str, int | str])
    header: bool | None = None
    separator: Literal["auto", "tab", "comma", "semicolon", "space", "conll"] = "auto"
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)
    valid_fraction: float = 0.1
    max_chars: int = 1_000_000

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)
        for name, place in self.columns.items():
            if isinstance(place, int) and place < 0:
                raise ValueError(f"columns.{name}={place} is negative; columns are counted from 0")

    @property
    def gives(self) -> None:
        """Returns None: the columns are those that a task asks for."""
        return None

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the columns that are asked for, of every split, but those of `SPARSE` that are not there.

        Raises UserError.
        """
        splits: dict[str, Columns] = {}
        paths = self._files()
        form = self._form(columns, paths["train"][0])
        own = {name: i for i, name in enumerate(columns) if form.places[i] >= 0}
        for split, some in paths.items():
            rows = [row for path in some for row in cells.values(path, form, self.max_chars)]
            splits[split] = Columns({name: [row[i] for row in rows] for name, i in own.items()})
        return hold_out(splits, self.valid_fraction)

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self._files().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence about columns that were recognised, and one about each kind of file that is not read."""
        splits = self._files()
        return [*self._form(columns, splits["train"][0]).remarks, *unused(self.path, splits, EXTENSIONS)]

    def _form(self, columns: Sequence[str], path: Path) -> cells.Form:
        stated: dict[str, Any] = {name: self.columns[name] for name in columns if name in self.columns}
        recognise.require_known(self.columns, columns)
        return recognise.form(path, columns, stated, self.header, self.separator, self.max_chars)

    def _files(self) -> dict[str, list[Path]]:
        return files(self.path, dict(zip(SPLITS, (self.train, self.valid, self.test), strict=True)), EXTENSIONS)
