"""Language modelling from plain text or JSONL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

from transduce.data import read, table, walk
from transduce.data.columns import STREAM, TEXT, Columns
from transduce.data.source import (
    SPLITS,
    DataConfig,
    files,
    hold_out,
    require_fraction,
    require_text,
    unused,
)  # fmt: skip
from transduce.errors import UserError

EXTENSIONS = (".txt", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Text(DataConfig):
    """Text files (gz too), cut into documents by `unit`, or the `field` of JSONL rows, each row a document.

    path: a folder with train.txt (or .jsonl), valid.* and test.*, or with the names and globs given below; or a folder
        of other files, one file or a glob, all of which is train.
    unit: "file": one stream, windows of which are learnt; "line": every line that is not blank; "paragraph": every run
        of such lines.
    field: of a JSONL row, which holds its text.
    train: names and globs of the files to train on.
    valid: names and globs of the files to validate on.
    test: names and globs of the files to test on at the end.
    valid_fraction: share of train that is held out where there is no valid file: the end of each file where a document
        is a file, else documents chosen by a hash.
    max_chars: the longest document, where a file is more than one.
    """

    kind: ClassVar[str] = "text"
    path: str
    unit: Literal["file", "line", "paragraph"] = "file"
    field: str = "text"
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)
    valid_fraction: float = 0.05
    max_chars: int = 1_000_000

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)

    @property
    def gives(self) -> tuple[str, ...]:
        """A text is a document with its own start and end; a whole file is a stream, cut into windows."""
        return (STREAM if self.unit == "file" else TEXT,)

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the documents of every split. Raises UserError."""
        splits, (name,) = dict[str, Columns](), self.gives
        for split, paths in self._files().items():
            splits[split] = Columns({name: [document for path in paths for document in self._documents(path)]})
        require_text(splits["train"], "train")
        if name == TEXT or "valid" in splits or self.valid_fraction == 0:
            return hold_out(splits, self.valid_fraction)
        streams = splits["train"].given
        cuts = [round(len(stream) * (1 - self.valid_fraction)) for stream in streams]
        heads = [stream[:cut] for stream, cut in zip(streams, cuts, strict=True)]
        tails = [stream[cut:] for stream, cut in zip(streams, cuts, strict=True)]
        return {**splits, "train": Columns({name: heads}), "valid": Columns({name: tails})}

    def walker(self) -> walk.Streams | walk.Documents:
        splits = self._files()
        fraction = 0.0 if "valid" in splits else self.valid_fraction
        if self.unit == "file":
            for path in (path for paths in splits.values() for path in paths):
                self._require_text_file(path)
            return walk.Streams(splits, fraction)
        return walk.Documents(splits, fraction, partial(self._documents, each=read.each_of_any))

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self._files().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence on the files that are not read."""
        return unused(self.path, self._files(), EXTENSIONS)

    def _files(self) -> dict[str, list[Path]]:
        return files(self.path, dict(zip(SPLITS, (self.train, self.valid, self.test), strict=True)), EXTENSIONS)

    def _require_text_file(self, path: Path) -> None:
        if ".jsonl" in path.suffixes[-2:]:
            raise UserError(f"{path} holds one document per row; set data.unit=line")

    def _documents(self, path: Path, each: Callable[[Path, int], Iterator[str]] = read.each) -> Iterator[str]:
        """Yields the documents of a file. each: yields the lines of a file."""
        if ".jsonl" in path.suffixes[-2:]:
            if self.unit == "file":
                self._require_text_file(path)
            yield from (row[0] for row in table.columns(path, [self.field], False, self.max_chars))
        elif self.unit == "file":
            yield read.text(path).replace("\r\n", "\n")
        elif self.unit == "line":
            yield from (line for line in each(path, self.max_chars) if line.strip())
        else:
            paragraph: list[str] = []
            for line in chain(each(path, self.max_chars), [""]):
                if line.strip():
                    paragraph.append(line)
                elif paragraph:
                    yield "\n".join(paragraph)
                    paragraph = []
