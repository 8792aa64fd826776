"""Source and target from two columns of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transduce.data import read, table
from transduce.data.columns import SOURCE, TARGET, Columns
from transduce.data.source import SPLITS, DataConfig, files, hold_out, require_fraction, unused


@dataclass(frozen=True, kw_only=True)
class Pairs(DataConfig):
    """Pairs from TSV, CSV or JSONL files; gz or plain.

    path: a folder with train.tsv (or .csv, .jsonl), valid.* and test.*, or with the names and globs given below; or a
        folder of other files, one file or a glob, all of which is train.
    source_field: column of the source, counted from 0, or its name; a name with dots reaches into JSON objects.
    target_field: column of the target, in the same way.
    header: whether the first line names the columns.
    train: names and globs of the files to train on.
    valid: names and globs of the files to validate on.
    test: names and globs of the files to test on at the end.
    valid_fraction: share of train that is held out where there is no valid file.
    max_chars: the longest source or target; a longer one is refused.
    """

    kind: ClassVar[str] = "pairs"
    task: ClassVar[str] = "translate"
    path: str
    source_field: int | str = 0
    target_field: int | str = 1
    header: bool = False
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)
    valid_fraction: float = 0.05
    max_chars: int = 100_000

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)
        for name in ("source_field", "target_field"):
            if isinstance(field := getattr(self, name), int) and field < 0:
                raise ValueError(f"{name}={field} is negative; columns are counted from 0")

    @property
    def gives(self) -> tuple[str, ...]:
        return SOURCE, TARGET

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns both columns of every split. Raises UserError."""
        splits: dict[str, Columns] = {}
        for split, paths in self._files().items():
            rows = [row for path in paths for row in table.columns(path, *self._table)]
            splits[split] = Columns({SOURCE: [row[0] for row in rows], TARGET: [row[1] for row in rows]})
        return hold_out(splits, self.valid_fraction)

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self._files().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence for each kind of file or column that is not read."""
        splits = self._files()
        of_columns = [line for path in splits["train"][:1] for line in table.remarks(path, *self._table)]
        return unused(self.path, splits, table.EXTENSIONS) + of_columns

    @property
    def _table(self) -> tuple[tuple[int | str, int | str], bool, int]:
        return (self.source_field, self.target_field), self.header, self.max_chars

    def _files(self) -> dict[str, list[Path]]:
        return files(self.path, dict(zip(SPLITS, (self.train, self.valid, self.test), strict=True)), table.EXTENSIONS)
