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


class Form(NamedTuple):
    """Where the columns of a table are.

    places: the number of each column that is asked for.
    names: of all columns; None: they have none.
    headed: the first row holds the names.
    separator: none, tab, comma, semicolon, space, or conll for a word a line.
    remarks: sentences about columns that were recognised.
    lists: of each place, whether its cells may be lists.
    """

    places: tuple[int, ...]
    names: list[str] | None
    headed: bool
    separator: str
    remarks: tuple[str, ...] = ()
    lists: tuple[bool, ...] = ()


def kind_of(path: Path) -> str:
    """The ending of a file, without that of packing."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def in_conll(path: Path, separator: str) -> bool:
    """Says whether a file has a word a line."""
    return separator == "conll" or kind_of(path) in conll.EXTENSIONS


def names(path: Path, max_chars: int, separator: str = "") -> list[str] | None:
    """The names of the columns, where every row has them or the file keeps them; None: the first row may hold them."""
    if in_conll(path, separator):
        universal = kind_of(path) == ".conllu"
        first = next(conll.sentences(path, max_chars, universal=universal), (0, list[tuple[str, ...]]()))[1]
        return conll.names(len(first), universal=universal)
    if kind_of(path) in (*table.JSONL, *documents.EXTENSIONS):
        row = next(objects(path, max_chars), (0, dict[str, Any]()))[1]
        return list(row)
    return list(parquet(path).schema_arrow.names) if kind_of(path) == ".parquet" else None


def cells(path: Path, separator: str, max_chars: int) -> Iterator[tuple[int, list[Any]]]:
    """(line, cells) of every row, the first one included. Raises UserError."""
    kind = kind_of(path)
    if in_conll(path, separator):
        for number, columns in conll.sentences(path, max_chars, universal=kind == ".conllu"):
            yield number, list(columns)
    elif kind in (*table.JSONL, *documents.EXTENSIONS):
        columns = names(path, max_chars) or []
        for number, row in objects(path, max_chars):
            for name in columns:
                if name not in row:
                    there = ", ".join(row) or "none"
                    raise UserError(f"{path}, line {number}, has no field `{name}`; its fields are {there}")
            yield number, [row[name] for name in columns]
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
    rows = cells(path, form.separator, max_chars)
    other = f"the columns of {path} have other names than those of the first file; give them the same names"
    if form.headed:
        _, own = next(rows, (0, list[Any]()))
        if [str(name) for name in own] != form.names:
            raise UserError(other)
    elif form.names is not None and (own := names(path, max_chars, form.separator)) is not None and own != form.names:
        wanted = [form.names[i] for i in form.places]
        if any(name not in own for name in wanted):
            raise UserError(other)
        form = form._replace(places=tuple(map(own.index, wanted)), names=own)
    gets = [frozen if many else plain for many in form.lists or (False,) * len(form.places)]
    out, counts = list[tuple[Any, ...]](), Counter[int]()
    first: dict[int, int] = {}
    for number, row in rows:
        counts[len(row)] += 1
        first.setdefault(len(row), number)
        if len(row) > max(form.places):
            out.append(tuple(get(row[i], path, number) for i, get in zip(form.places, gets, strict=True)))
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


def frozen(value: Any, path: Path, number: int) -> Any:
    """A cell that may be a list: lists as tuples, objects as JSON. Raises UserError."""
    if isinstance(value, list | tuple):
        return tuple(frozen(one, path, number) for one in cast("list[Any]", value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else plain(value, path, number)


def some(path: Path, separator: str, max_chars: int, count: int) -> list[list[Any]]:
    """The first rows."""
    return [row for _, row in islice(chain(cells(path, separator, max_chars)), count)]
