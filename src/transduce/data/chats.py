"""Conversations, instructions with answers, and answers of which one is preferred, recognised by their columns."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from transduce.data import cells, read, table
from transduce.data.columns import Columns
from transduce.data.source import SPLITS, DataConfig, files, hold_out, require_fraction, unused
from transduce.errors import UserError
from transduce.text.chat import ASSISTANT, SYSTEM, USER

EXTENSIONS = (".json", ".jsonl", ".tsv", ".csv", ".parquet")
MESSAGES, PROMPT, CHOSEN, REJECTED, COMPLETION, LABEL = (
    "messages", "prompt", "chosen", "rejected", "completion", "label",
)  # fmt: skip
ROLES = {
    "human": USER, "user": USER, "gpt": ASSISTANT, "assistant": ASSISTANT, "model": ASSISTANT, "chatgpt": ASSISTANT,
    "bot": ASSISTANT, "system": SYSTEM, "developer": "developer", "tool": "tool", "observation": "tool",
}  # fmt: skip
FORMS = "messages, conversations, prompt and completion, or instruction, input and output"

Row = Mapping[str, Any]
Messages = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Chats(DataConfig):
    """Conversations and answers, of JSON, JSONL, TSV, CSV or Parquet files, in any of the usual columns.

    `messages` (role, content), `conversations` (from, value), `prompt` and `completion`, and Alpaca's `instruction`,
    `input` and `output` are conversations; with `chosen` and `rejected` they are a prompt and two answers, with
    `completion` and `label` an answer that is good or bad.

    path: a folder with train.jsonl (or .json, .tsv, .csv, .parquet), valid.* and test.*, or of other files, one file or
        a glob, all of which is train.
    columns: the column that stands for one of these, by its name in the files, such as {prompt: question, completion:
        answer}.
    system: what the system says first in every conversation that has no system message (None: nothing).
    equal: pairs of two equal answers, of which none is preferred, are refused, or left out (drop), which is said.
    train: names or globs of the files of this split.
    valid: the same; where there are none, valid_fraction of train is held out.
    test: the same.
    valid_fraction: the share of train that is held out, chosen by a hash of the prompt.
    max_chars: the longest line.
    """

    kind: ClassVar[str] = "chats"
    task: ClassVar[str] = "chat"
    path: str
    columns: dict[str, str] = field(default_factory=dict[str, str])
    system: str | None = None
    equal: Literal["refuse", "drop"] = "refuse"
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)
    valid_fraction: float = 0.1
    max_chars: int = 10_000_000

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)

    @property
    def gives(self) -> None:
        """Returns None: the columns are those that a task asks for."""
        return None

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the columns that are asked for, of every split, conversations as JSON. Raises UserError."""
        splits = dict[str, Columns]()
        for split, paths in self._files().items():
            rows = [self._row(row, columns, path, n) for path in paths for n, row in rows_of(path, self.max_chars)]
            if REJECTED in columns and CHOSEN in columns:
                rows = [row for row in rows if row[CHOSEN] != row[REJECTED]]
            splits[split] = Columns({name: [row[name] for row in rows] for name in columns})
        return hold_out(splits, self.valid_fraction)

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self._files().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        """Returns a sentence about columns that are not used, and one about each kind of file that is not read."""
        splits = self._files()
        path = splits["train"][0]
        _, row = next(iter(rows_of(path, self.max_chars)), (0, dict[str, Any]()))
        used = {*KNOWN, *columns, *self.columns.values()}
        out = list[str]()
        if REJECTED in columns and self.equal == "drop":
            every = [(path, n, row) for path in splits["train"] for n, row in rows_of(path, self.max_chars)]
            rows = [self._row(row, columns, path, n) for path, n, row in every]
            if ties := sum(row[CHOSEN] == row[REJECTED] for row in rows):
                out.append(f"{ties:,} of {len(rows):,} pairs of train have two equal answers and are left out")
        rest = [name for name in row if name not in used]
        out += [f"the columns {', '.join(rest)} of {path.name} are not used"] if rest else []
        return [*out, *unused(self.path, splits, EXTENSIONS)]

    def _files(self) -> dict[str, list[Path]]:
        return files(self.path, dict(zip(SPLITS, (self.train, self.valid, self.test), strict=True)), EXTENSIONS)

    def _row(self, row: Row, columns: Sequence[str], path: Path, number: int) -> dict[str, Any]:
        """Returns the columns that are asked for, of one row. Raises UserError, naming the row."""
        for name, here in self.columns.items():
            if here not in row:
                there = ", ".join(row)
                raise UserError(f"{path}, row {number}, has no column `{here}` (data.columns.{name}); it has {there}")
        row = {**row, **{name: row[here] for name, here in self.columns.items()}}
        try:
            if REJECTED in columns and self.equal == "refuse" and tied(row):
                what = "`chosen` and `rejected` are equal, so neither is preferred"
                raise UserError(f"{what}; remove the row, or set data.equal=drop")
            return {name: READS[name](row, self.system) if name in READS else plain(row, name) for name in columns}
        except UserError as error:
            raise UserError(f"{path}, row {number}: {error}") from None


def rows_of(path: Path, max_chars: int) -> list[tuple[int, dict[str, Any]]]:
    """Returns (number, columns by name) of every row of a file. Raises UserError."""
    path, kind = read.packed(path), cells.kind_of(read.packed(path))
    if kind == ".json":
        value = table.parsed(read.text(path), path, 1)
        rows = cast("list[Any]", value) if isinstance(value, list) else []
        if not rows or any(not isinstance(row, dict) for row in rows):
            raise UserError(
                f'{path} is no list of objects; write [{{"messages": [...]}}, ...], or a line each as JSONL'
            )
        return list(enumerate(cast("list[dict[str, Any]]", rows), 1))
    if kind in table.JSONL:
        return list(cells.objects(path, max_chars))
    names, rows = cells.names(path, max_chars), cells.cells(path, "comma" if kind == ".csv" else "tab", max_chars)
    if names is None:
        _, first = next(rows, (0, list[Any]()))
        names = [str(cell) for cell in first]
    out = list[tuple[int, dict[str, Any]]]()
    for number, row in rows:
        if len(row) != len(names):
            raise UserError(f"{path}, line {number}, has {len(row)} columns, but its first line names {len(names)}")
        out.append((number, dict(zip(names, row, strict=True))))
    return out


def plain(row: Row, name: str) -> Any:
    """Returns a cell as it stands. Raises UserError where there is none."""
    if (value := row.get(name)) is None:
        raise UserError(f"there is no `{name}`; the columns are {', '.join(row)}")
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def messages_of(value: Any) -> Messages:
    """Returns messages in the form of OpenAI (role, content) or of ShareGPT (from, value). Raises UserError."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise UserError(f"{value[:40]!r} is no list of messages") from None
    shown, rows = str(value)[:40], cast("list[Any]", [value] if isinstance(value, Mapping) else value)
    out: Messages = []
    if not isinstance(rows, list) or not rows:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UserError(f"{shown!r} is no list of messages")
    for one in rows:
        message = cast("dict[str, Any]", one if isinstance(one, Mapping) else {})
        role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
        if ROLES.get(str(role)) is None:
            raise UserError(f"a message has the role {role!r}; use {SYSTEM}, {USER} and {ASSISTANT}")
        if not isinstance(content, str):
            raise UserError(f"a message of the {role} holds {type(content).__name__}, but text is asked for")
        out.append({"role": ROLES[str(role)], "content": content})
    return out


def asked(row: Row) -> Messages:
    """Returns what comes before the answers of a row. Raises UserError."""
    for name in ("messages", "conversations"):
        if row.get(name) is not None:
            return messages_of(row[name])
    if (prompt := row.get(PROMPT)) is not None:
        return messages_of(prompt) if isinstance(prompt, list | Mapping) else [{"role": USER, "content": str(prompt)}]
    if (instruction := row.get("instruction")) is not None:
        more = str(row.get("input") or "")
        first = [{"role": SYSTEM, "content": str(row["system"])}] if row.get("system") else []
        return [*first, {"role": USER, "content": f"{instruction}\n{more}" if more else str(instruction)}]
    raise UserError(f"there is no conversation; give columns named {FORMS}, or say which they are with data.columns")


def answer(value: Any, prompt: Messages) -> str:
    """Returns the text of an answer, which may be written as messages, with those of the prompt before it or without.

    Raises UserError where it begins with another prompt, or is no answer.
    """
    if isinstance(value, str):
        return value
    rows = messages_of(value)
    if len(rows) > 1 and rows[:-1] != prompt:
        raise UserError("an answer of several messages begins otherwise than its prompt")
    if rows[-1]["role"] != ASSISTANT:
        raise UserError(f"an answer is by the {rows[-1]['role']}, but the assistant answers")
    return rows[-1]["content"]


def opened(rows: Messages, system: str | None) -> Messages:
    """Returns messages with a system message before them, where there is none."""
    return rows if system is None or rows[0]["role"] == SYSTEM else [{"role": SYSTEM, "content": system}, *rows]


def whole(row: Row, system: str | None) -> str:
    """Returns the conversation of a row as JSON: what is asked and what is answered. Raises UserError."""
    rows, name = asked(row), next((n for n in (COMPLETION, "output", "response") if row.get(n) is not None), None)
    if row.get("messages") is None and row.get("conversations") is None:
        if name is None:
            raise UserError(f"there is a prompt, but no answer; give columns named {FORMS}")
        rows = [*rows, {"role": ASSISTANT, "content": answer(row[name], rows)}]
    if not any(one["role"] == ASSISTANT for one in rows):
        raise UserError(
            "the assistant says nothing, so there is nothing to learn from; remove the row, or mend its roles"
        )
    return json.dumps(opened(rows, system), ensure_ascii=False)


def prompt_of(row: Row, system: str | None) -> str:
    """Returns what is asked, as JSON; where the prompt is not given alone, what both answers begin with."""
    if row.get(PROMPT) is None and row.get("messages") is None and not ({"conversations", "instruction"} & set(row)):
        rows = messages_of(row.get(CHOSEN))[:-1]
        if not rows:
            raise UserError("there is no prompt before the answers; give a column named prompt")
    else:
        rows = asked(row)
        if rows[-1]["role"] == ASSISTANT:
            rows = rows[:-1]
    if not rows:
        raise UserError("nothing is asked; give a column named prompt")
    return json.dumps(opened(rows, system), ensure_ascii=False)


def preferred(name: str) -> Callable[[Row, str | None], str]:
    """Returns what reads the answer `chosen` or `rejected`."""

    def text(row: Row, system: str | None) -> str:
        if row.get(name) is None:
            raise UserError(
                f"there is no `{name}`; the columns are {', '.join(row)}, but a pair has chosen and rejected"
            )
        return answer(row[name], json.loads(prompt_of(row, None)))

    return text


def completed(row: Row, system: str | None) -> str:
    """Returns the answer of a row. Raises UserError."""
    name = next((n for n in (COMPLETION, "output", "response") if row.get(n) is not None), None)
    if name is None:
        raise UserError(f"there is no `{COMPLETION}`; the columns are {', '.join(row)}")
    return answer(row[name], json.loads(prompt_of(row, None)))


def tied(row: Row) -> bool:
    """Says whether both answers of a pair are equal."""
    return preferred(CHOSEN)(row, None) == preferred(REJECTED)(row, None)


READS: dict[str, Callable[[Row, str | None], Any]] = {
    MESSAGES: whole, PROMPT: prompt_of, CHOSEN: preferred(CHOSEN), REJECTED: preferred(REJECTED), COMPLETION: completed,
}  # fmt: skip
KNOWN = {
    "messages", "conversations", "prompt", "completion", "instruction", "input", "output", "response", "system",
    "chosen", "rejected", "label",
}  # fmt: skip
