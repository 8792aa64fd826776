"""The cells of a table file as Python values: TSV, CSV, JSON, Parquet, CoNLL, and lines that begin with a label."""

import importlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from transduce.data import conll, documents, read, table
from transduce.errors import UserError

SEPARATORS = {"comma": ",", "semicolon": ";"}
BATCH = 4096  # rows of a Parquet file that are in memory at once
SOME = 1000  # rows that are looked at to recognise columns


class Form(NamedTuple):
    """Where the columns of a table are.

    places: the number of each column that is asked for.
    names: of all columns; None: they have none.
    headed: the first row holds the names.
    separator: none, tab, comma, semicolon, space, or conll for a word a line.
    remarks: sentences about columns that were recognised.
    lists: of each place, whether its cells may be lists.
    sparse: of each place, whether a row may lack it; it is -1 where no row has it.
    """

    places: tuple[int, ...]
    names: list[str] | None
    headed: bool
    separator: str
    remarks: tuple[str, ...] = ()
    lists: tuple[bool, ...] = ()
    sparse: tuple[bool, ...] = ()

    @property
    def lacking(self) -> frozenset[str]:
        """The names of the columns that a row may lack."""
        each = zip(self.places, self.sparse, strict=True) if self.names and self.sparse else ()
        return frozenset((self.names or [])[i] for i, may in each if may and i >= 0)


def kind_of(path: Path) -> str:
    """The ending of a file, without that of packing."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def in_conll(path: Path, separator: str) -> bool:
    """Says whether a file has a word a line."""
    return separator == "conll" or kind_of(path) in conll.EXTENSIONS


def names(
    path: Path, max_chars: int, separator: str = "", sparse: frozenset[str] = frozenset()
) -> list[str] | None:  # fmt: skip
    """The names of the columns, where every row has them or the file keeps them; None: the first row may hold them.

    sparse: names of columns that a row may lack.
    """
    if in_conll(path, separator):
        universal = kind_of(path) == ".conllu"
        first = next(conll.sentences(path, max_chars, universal=universal), (0, list[tuple[str, ...]]()))[1]
        return conll.names(len(first), universal=universal)
    if kind_of(path) in (*table.JSONL, *documents.EXTENSIONS):
        first, *more = [row for _, row in islice(objects(path, max_chars), SOME if sparse else 1)] or [{}]
        return list(dict.fromkeys([*first, *(name for row in more for name in row if name in sparse)]))
    return list(parquet(path).schema_arrow.names) if kind_of(path) == ".parquet" else None


def cells(
    path: Path, separator: str, max_chars: int, sparse: frozenset[str] = frozenset()
) -> Iterator[tuple[int, list[Any]]]:  # fmt: skip
    """(line, cells) of every row, the first one included. sparse: see `names`. Raises UserError."""
    kind = kind_of(path)
    if in_conll(path, separator):
        for number, columns in conll.sentences(path, max_chars, universal=kind == ".conllu"):
            yield number, list(columns)
    elif kind in (*table.JSONL, *documents.EXTENSIONS):
        columns = names(path, max_chars, sparse=sparse) or []
        for number, row in objects(path, max_chars):
            for name in columns:
                if name not in row and name not in sparse:
                    there = ", ".join(row) or "none"
                    raise UserError(f"{path}, line {number}, has no field `{name}`; its fields are {there}")
            yield number, [row.get(name) for name in columns]
    elif kind == ".parquet":
        start = 1
        for batch in parquet(path).iter_batches(BATCH):
            values: list[list[Any]] = [column.to_pylist() for column in batch.columns]
            for row in zip(*values, strict=True):
                yield start, list(row)
                start += 1
    elif separator in SEPARATORS:
        yield from table.separated(path, max_chars, SEPARATORS[separator])
    else:
        for number, line in enumerate(read.each(path, max_chars), 1):
            if line.strip():
                yield number, parts(line, separator)


def parts(line: str, separator: str) -> list[Any]:
    """The cells of a line: between tabs, or before and behind the first space."""
    if separator == "space":
        return line.strip().split(" ", 1)
    return line.split("\t") if separator == "tab" else [line]


def objects(path: Path, max_chars: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of every line of a JSONL file that is not blank, or every row of a document. Raises UserError."""
    if kind_of(path) in documents.EXTENSIONS:
        yield from documents.objects(path)
        return
    for number, line in enumerate(read.each(path, max_chars), 1):
        if not line.strip():
            continue
        row = table.parsed(line, path, number)
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}, is {json.dumps(row)[:40]}, but a row is an object of columns")
        yield number, cast("dict[str, Any]", row)


def parquet(path: Path) -> Any:
    """A Parquet file, opened. Raises UserError."""
    try:
        library: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UserError(f"{path} is Parquet, which needs pyarrow; run `pip install 'transduce[parquet]'`") from None
    try:
        return library.ParquetFile(path)
    except (ValueError, OSError) as error:  # ArrowInvalid is a ValueError
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{path} is not a Parquet file ({reason}); take it from where it came again") from None


def values(path: Path, form: Form, max_chars: int) -> list[tuple[Any, ...]]:
    """The columns that are asked for, of every row. Raises UserError where rows differ in their columns."""
    rows = cells(path, form.separator, max_chars, form.lacking)
    other = f"the columns of {path} have other names than those of the first file; give them the same names"
    if form.headed:
        _, own = next(rows, (0, list[Any]()))
        if [str(name) for name in own] != form.names:
            raise UserError(other)
    elif (
        form.names is not None
        and (own := names(path, max_chars, form.separator, form.lacking)) is not None
        and own != form.names
    ):
        wanted, lacking = [form.names[i] if i >= 0 else "" for i in form.places], form.lacking | {""}
        if any(name not in own and name not in lacking for name in wanted):
            raise UserError(other)
        form = form._replace(places=tuple(own.index(name) if name in own else -1 for name in wanted), names=own)
    gets = [frozen if many else plain for many in form.lists or (False,) * len(form.places)]
    gets = [blank if may else get for may, get in zip(form.sparse or (False,) * len(gets), gets, strict=True)]
    out, counts = list[tuple[Any, ...]](), Counter[int]()
    first: dict[int, int] = {}
    for number, row in rows:
        counts[len(row)] += 1
        first.setdefault(len(row), number)
        if len(row) > max(form.places):
            some = ((None if i < 0 else row[i], get) for i, get in zip(form.places, gets, strict=True))
            out.append(tuple(get(cell, path, number) for cell, get in some))
    if not out:
        raise UserError(f"{path} has no rows; give a file with rows in it")
    usual = counts.most_common(1)[0][0] if form.names is None else len(form.names)
    if odd := {first[count]: count for count in counts if count != usual}:
        number = min(odd)
        what = f"{odd[number]} column{'' if odd[number] == 1 else 's'}"
        most = f"{counts[usual]:,} of {counts.total():,} rows have {usual}"
        raise UserError(f"{path}, line {number}, has {what}, but {most}; mend it, or set data.separator")
    return out


def plain(value: Any, path: Path, number: int) -> Any:
    """A cell, which is text, a number or a truth value. Raises UserError."""
    if isinstance(value, str | int | float):
        return value
    shown, way = f"a {type(value).__name__}", "write it as text"
    if value is None:
        shown, way = "empty (null)", "fill it in, or remove the row"
    elif isinstance(value, list | dict):
        way = f"write it as text, as {json.dumps(json.dumps(value, default=str)[:40])}, for a reader to take apart"
    raise UserError(f"{path}, line {number}, has a value that is {shown}, but text or a number is asked for; {way}")


def blank(value: Any, path: Path, number: int) -> Any:
    """A cell that a row may lack, which is then "". Raises UserError."""
    return "" if value is None else plain(value, path, number)


def frozen(value: Any, path: Path, number: int) -> Any:
    """A cell that may be a list: lists as tuples, objects as JSON. Raises UserError."""
    if isinstance(value, list | tuple):
        return tuple(frozen(one, path, number) for one in cast("list[Any]", value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else plain(value, path, number)


def some(
    path: Path, separator: str, max_chars: int, count: int, sparse: frozenset[str] = frozenset()
) -> list[list[Any]]:  # fmt: skip
    """The first rows. sparse: see `names`."""
    return [row for _, row in islice(chain(cells(path, separator, max_chars, sparse)), count)]
