"""Source and target from two columns of a table."""

from dataclasses import dataclass
from typing import ClassVar

from transduce.data import table
from transduce.data.source import SPLITS, DataConfig, Texts, files, hold_out, require_fraction


@dataclass(frozen=True, kw_only=True)
class Pairs(DataConfig):
    """Pairs from TSV, CSV or JSONL files; gz or plain.

    path: a folder with train.tsv (or .csv, .jsonl), valid.* and test.*, or names and globs given in `train`, `valid`,
    `test`; or one file or glob, all of which is train. Without a valid file, `valid_fraction` of train is held out.
    source_field, target_field: columns counted from 0, or their names; names with dots reach into JSON objects.
    """

    kind: ClassVar[str] = "pairs"
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

    def load(self) -> dict[str, Texts]:
        """Both columns of every split. Raises UserError."""
        names = dict(zip(SPLITS, (self.train, self.valid, self.test), strict=True))
        fields = self.source_field, self.target_field
        splits: dict[str, Texts] = {}
        for split, paths in files(self.path, names, table.EXTENSIONS).items():
            rows = [row for path in paths for row in table.columns(path, fields, self.header, self.max_chars)]
            splits[split] = Texts([row[0] for row in rows], [row[1] for row in rows])
        return hold_out(splits, self.valid_fraction)
