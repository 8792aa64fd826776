"""Rows with columns out of TSV, CSV and JSONL files."""

import csv
import difflib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from transduce.data import read
from transduce.data.encoding import require_short
from transduce.errors import UserError

EXTENSIONS = (".tsv", ".csv", ".jsonl")
JSONL = (".jsonl", ".ndjson")
RENAME = {"\t": "name the file .tsv", ",": "name the file .csv"}
SOME = 20  # rows whose form is looked at


def columns(path: Path, fields: Sequence[int | str], header: bool, max_chars: int) -> list[tuple[str, ...]]:
    """Returns the `fields` of every row: columns counted from 0, or names from the first row (JSONL: every row).

    header: the first row of a TSV or CSV file holds names; it does in any case where a field is a name. TSV has no
    quotes; CSV has them, doubled inside. Raises UserError where there are no rows, and, with the line, where a row
    lacks a field, or has more or fewer columns than the others, so that text would be lost or stand elsewhere.
    """
    kind = _kind(path)
    if kind in JSONL:
        objects = list(_jsonl(path, fields, max_chars))
        if not objects:
            raise UserError(f"{path} has no rows; give a file with text in it")
        return objects
    rows = _rows(path, max_chars)
    names, at = _header(path, rows, fields, header)
    cells, counts = list[tuple[str, ...]](), Counter[int]()
    first: dict[int, tuple[int, list[str]]] = {}  # the first row of so many columns
    for number, row in rows:
        counts[len(row)] += 1
        first.setdefault(len(row), (number, row))
        if len(row) > max(at):
            cells.append(tuple(row[i] for i in at))
    if not counts:
        raise UserError(f"{path} has no rows{' below the names of its columns' if names else ''}; give a longer file")
    usual = len(names) if names else counts.most_common(1)[0][0]
    other = _other_mark(first.values(), kind) if usual == 1 else ""
    if others := counts.total() - counts[usual]:
        number, row = min(first[count] for count in counts if count != usual)
        most = (
            f"its first line names {usual}" if names else f"{counts[usual]:,} of {counts.total():,} rows have {usual}"
        )
        more = f" ({others:,} rows differ)" if others > 1 else ""
        mend = (
            "quote a text that holds a comma" if kind == ".csv" else "remove the tab that is text, or correct the line"
        )
        raise UserError(f"{path}, line {number}, has {_counted(len(row))}, but {most}{more}; {other or mend}")
    if usual <= max(at):
        mend = other or "set data.source_field and data.target_field"
        raise UserError(f"{path} has {_counted(usual)}, but column {max(at)} (counted from 0) is asked for; {mend}")
    return cells


def remarks(path: Path, fields: Sequence[int | str], header: bool, max_chars: int) -> list[str]:
    """Returns a sentence for each thing about the columns of a table that is not wrong, but not used or unusual."""
    if _kind(path) in JSONL:
        return []
    rows = _rows(path, max_chars)
    names, at = _header(path, rows, fields, header)
    some = [row for _, row in islice(rows, SOME)]
    titles = names or [str(i) for i in range(len(some[0]) if some else 0)]
    unused = [title for i, title in enumerate(titles) if i not in at]
    listed = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
    out = [f"{len(unused)} of {len(titles)} columns of {path} are not used: {listed}"] if unused else []
    marks = {sum(cell.count(";") for cell in row) for row in some}
    if len(some) > 2 and len(marks) == 1 and 0 not in marks and _kind(path) == ".csv":
        out.append(f"every row of {path} has as many semicolons; where they part its columns, convert them to commas")
    return out


def _kind(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _rows(path: Path, max_chars: int) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, columns) of every row of a TSV or CSV file."""
    kind = _kind(path)
    if kind not in (".tsv", ".csv", ".txt"):
        raise UserError(f"{path} ends in {kind!r}; tables are read from .tsv, .csv and .jsonl (and .gz of each)")
    return separated(path, max_chars) if kind == ".csv" else _tsv(path, max_chars)


def _header(
    path: Path, rows: Iterator[tuple[int, list[str]]], fields: Sequence[int | str], header: bool
) -> tuple[list[str] | None, list[int]]:  # fmt: skip
    """Returns the names of the columns, taken from `rows` if they have them, and the columns of the fields."""
    at = [f for f in fields if isinstance(f, int)]
    if not header and len(at) == len(fields):
        return None, at
    _, names = next(rows, (0, None))
    if names is None:
        raise UserError(f"{path} has no line that names its columns; give a file with rows in it")
    return names, [f if isinstance(f, int) else _index(f, names, path) for f in fields]


def _counted(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _other_mark(rows: Iterable[tuple[int, list[str]]], kind: str) -> str:
    """Returns what to do where another mark than that of this kind seems to part the columns: all of `rows` hold it."""
    texts = [" ".join(row) for _, row in rows]
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), (",", "commas"), ("|", "bars")):
        if texts and all(mark in text for text in texts):
            convert = f"convert them to {'commas' if kind == '.csv' else 'tabs'}"
            return f"{name} seem to part them: {RENAME.get(mark, convert)}"
    return ""


def _tsv(path: Path, max_chars: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read.each(path, max_chars), 1):
        yield number, line.split("\t")


def separated(path: Path, max_chars: int, mark: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields (line, cells) of every row of a CSV file, whose cells are parted by a mark. Raises UserError."""
    csv.field_size_limit(2**31 - 1)  # the text is in memory already; `require_short` says what is too long
    reader = csv.reader(io.StringIO(read.text(path), newline=""), strict=True, delimiter=mark)
    number = 1
    try:
        for row in reader:
            if row:
                for value in row:
                    require_short(value, f"{path}, line {number},", max_chars, "split it, or raise data.max_chars")
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {number}, is not CSV: {error}; quote the field and double its quotes") from None


def _jsonl(path: Path, fields: Sequence[int | str], max_chars: int) -> Iterator[tuple[str, ...]]:
    for number, line in enumerate(read.each(path, max_chars), 1):
        if not line.strip():
            continue
        row = parsed(line, path, number)
        yield tuple(_field(row, field, path, number) for field in fields)


def parsed(line: str, path: Path, number: int) -> Any:
    """Returns what a line of JSON holds. Raises UserError."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # numbers of too many digits, too many brackets
        problem = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(f"{path}, line {number}, is not JSON: {problem}") from None


def _field(row: Any, field: int | str, path: Path, number: int) -> str:
    """Returns a field by name, or by names joined with dots for one inside another."""
    value = row
    for key in [field] if isinstance(row, dict) and field in row else str(field).split("."):
        fields = cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
        if key not in fields:
            names = ", ".join(map(str, fields)) if fields else f"none, for it is {json.dumps(value)}"
            raise UserError(f"{path}, line {number}, has no field `{field}`; its fields are {names}")
        value = fields[key]
    if not isinstance(value, str):
        raise UserError(f"{path}, line {number}: the field `{field}` is {value!r}; it must be text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can write half of a surrogate pair
        problem = f"the field `{field}` holds {value[error.start]!r}, half of a character"
        raise UserError(f"{path}, line {number}: {problem}; remove it") from None
    return value


def _index(name: str, names: list[str], path: Path) -> int:
    if name in names:
        return names.index(name)
    close = difflib.get_close_matches(name, names, n=1)
    other = _other_mark([(1, names)], _kind(path)) if len(names) == 1 else ""
    hint = other or (f"did you mean `{close[0]}`?" if close else f"its columns are {', '.join(names)}")
    raise UserError(f"{path} has no column `{name}` in its first line; {hint}")
