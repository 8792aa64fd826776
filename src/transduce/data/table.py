"""Rows with columns out of TSV, CSV and JSONL files."""

import csv
import difflib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from transduce.data import read
from transduce.errors import UserError

EXTENSIONS = (".tsv", ".csv", ".jsonl")


def columns(path: Path, fields: Sequence[int | str], header: bool, max_chars: int) -> Iterator[tuple[str, ...]]:
    """The `fields` of every row: columns counted from 0, or names, which the first row (JSONL: every row) gives.

    header: the first row of a TSV or CSV file holds names; it does in any case where a field is a name. TSV has no
    quotes; CSV has them, doubled inside. Raises UserError, with the line, where a row lacks a field.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind in (".jsonl", ".ndjson"):
        yield from _jsonl(path, fields, max_chars)
        return
    if kind not in (".tsv", ".csv", ".txt"):
        raise UserError(f"{path} ends in {kind!r}; tables are read from .tsv, .csv and .jsonl (and .gz of each)")
    rows = _csv(path, max_chars) if kind == ".csv" else _tsv(path, max_chars)
    at = [f for f in fields if isinstance(f, int)]
    if header or len(at) < len(fields):
        _, names = next(rows)
        at = [f if isinstance(f, int) else _index(f, names, path) for f in fields]
    for number, row in rows:
        if len(row) <= max(at):
            raise UserError(
                f"{path}, line {number}, has {len(row)} columns, but column {max(at)} (counted from 0) is asked for; "
                f"mend the line or set data.source_field and data.target_field"
            )
        yield tuple(row[i] for i in at)


def _tsv(path: Path, max_chars: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read.lines(path, max_chars), 1):
        yield number, line.split("\t")


def _csv(path: Path, max_chars: int) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(max(max_chars, csv.field_size_limit()))
    reader = csv.reader(io.StringIO(read.text(path), newline=""), strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                for value in row:
                    read.require_short(value, path, number, max_chars)
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {number}, is not CSV: {error}; quote the field and double its quotes") from None


def _jsonl(path: Path, fields: Sequence[int | str], max_chars: int) -> Iterator[tuple[str, ...]]:
    for number, line in enumerate(read.lines(path, max_chars), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # numbers of too many digits, too many brackets
            told = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise UserError(f"{path}, line {number}, is not JSON: {told}") from None
        yield tuple(_field(row, field, path, number) for field in fields)


def _field(row: Any, field: int | str, path: Path, number: int) -> str:
    """A field by name, or by names joined with dots for one inside another."""
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
        told = f"the field `{field}` holds {value[error.start]!r}, half of a character"
        raise UserError(f"{path}, line {number}: {told}; remove it") from None
    return value


def _index(name: str, names: list[str], path: Path) -> int:
    if name in names:
        return names.index(name)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"its columns are {', '.join(names)}"
    raise UserError(f"{path} has no column `{name}` in its first line; {hint}")
