"""Every command that takes text in, with every kind of bytes, from a file, packed, or on standard input.

What comes in is the right text, or is refused in one sentence: the same for all commands, since all have one reader.
The commands are those of the app. A new one is in the list of those that take text, or of those that do not: else the
first test fails.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import pytest
import typer

import transduce
from transduce import api
from transduce.cli.main import app
from transduce.config import kinds
from transduce.data.columns import Columns
from transduce.data.source import DataConfig
from transduce.data.walk import Piece
from transduce.errors import UserError
from transduce.tasks.task import TaskConfig
from transduce.text.tokenizer import SPECIALS, Tokenizer

ROWS = [["red dog", "rot"], ["blue cat", "blau"], ["green fox", "grün"]]
LONG = "x" * 10_000_000


class Case(NamedTuple):
    """Rows, how they become bytes, and what must be said of them; told: "" where they must be read as they are."""

    rows: list[list[str]]
    encode: Callable[[list[str]], bytes] = lambda lines: "".join(f"{line}\n" for line in lines).encode()
    told: str = ""


def first(change: Callable[[str], str]) -> list[list[str]]:
    return [[change(ROWS[0][0]), ROWS[0][1]], *ROWS[1:]]


def whole(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


CASES = {
    "plain": Case(ROWS),
    "bom": Case(ROWS, lambda lines: whole(lines).encode("utf-8-sig")),
    "crlf": Case(ROWS, lambda lines: whole(lines).replace("\n", "\r\n").encode()),
    "cr": Case(ROWS, lambda lines: whole(lines).replace("\n", "\r").encode(), "ends its lines in CR alone"),
    "nul": Case(first(lambda text: text.replace("d", "\0"))),
    "nel": Case(first(lambda text: text.replace(" ", "\u0085"))),
    "u2028": Case(first(lambda text: text.replace(" ", "\u2028"))),
    "utf-16": Case(ROWS, lambda lines: whole(lines).encode("utf-16"), "is UTF-16, not UTF-8; convert it: iconv"),
    "utf-16 without a mark": Case(ROWS, lambda lines: whole(lines).encode("utf-16-le"), "is UTF-16, not UTF-8"),
    "latin-1": Case(ROWS, lambda lines: whole(lines).encode("latin-1"), "is not UTF-8: line 3 has the byte 0xfc"),
    "nfd": Case([[normalize("NFD", text) for text in row] for row in ROWS]),
    "empty": Case([]),
    "one line": Case(ROWS[:1]),
    "a column too many": Case([*ROWS[:2], [*ROWS[2], "more"]]),
    "a column too few": Case([*ROWS[:2], ROWS[2][:1]]),
    "no newline at the end": Case(ROWS, lambda lines: whole(lines).removesuffix("\n").encode()),
    "a line of 10 MB": Case([*ROWS[:2], [LONG, "y"]]),
}


class Stop(UserError):
    """Raised in the place of the work, once it is known which text came in."""


class Input(NamedTuple):
    """A way for text to come in.

    words: of the command line; FILE is the file. lines: rows as lines. texts: rows as the texts they are.
    told: what is said of a case, where it is not the same for all inputs. stdin: words where the text comes that way.
    """

    words: list[str]
    lines: Callable[[list[list[str]]], list[str]]
    texts: Callable[[list[list[str]]], Any]
    file: str | None = None
    stdin: list[str] | None = None
    told: dict[str, str] = {}  # noqa: RUF012


def plain(rows: list[list[str]]) -> list[str]:
    return [" ".join(row) for row in rows]


def tabbed(rows: list[list[str]]) -> list[str]:
    return ["\t".join(row) for row in rows]


def objects(rows: list[list[str]]) -> list[str]:
    return [json.dumps(dict(zip("abc", row, strict=False)), ensure_ascii=False) for row in rows]


def pairs(rows: list[list[str]]) -> Columns:
    return Columns({"source": [row[0] for row in rows], "target": [row[1] for row in rows]})


def stream(rows: list[list[str]]) -> Columns:
    return Columns({"stream": ["\n".join(plain(rows))]})


def both(rows: list[list[str]]) -> Columns:
    return Columns({"source": plain(rows), "target": plain(rows)})


def labelled(rows: list[list[str]]) -> Columns:
    return Columns({"text": [row[0] for row in rows], "label": [row[1] for row in rows]})


def talks(rows: list[list[str]]) -> Columns:
    turns = ([{"role": "user", "content": row[0]}, {"role": "assistant", "content": row[1]}] for row in rows)
    return Columns({"messages": [json.dumps(one, ensure_ascii=False) for one in turns]})


TOLD = ("data.columns.text=0", "data.columns.label=1", "data.header=false")
TOO_LONG = {"a line of 10 MB": r"line 3, has more than [\d,]+ characters"}
EMPTY = {"empty": "is empty; give a file with text in it"}
COLUMNS = {
    **TOO_LONG, **EMPTY, "a column too many": "line 3, has 3 columns, but 2 of 3 rows have 2",
    "a column too few": "line 3, has 1 column, but 2 of 3 rows have 2",
}  # fmt: skip
FIELDS = {
    **TOO_LONG, **EMPTY, "a column too few": "line 3, has no field `b`; its fields are a",
}  # fmt: skip
TABS = {
    **TOO_LONG, "a column too many": "line 3: there are 2 tabs", "a column too few": "line 3: there are 0 tabs",
}  # fmt: skip
DATA = {
    "pairs": [
        Input(["pairs", "data.path=FILE"], tabbed, pairs, "a.tsv", told=COLUMNS),
        Input(["pairs", "data.path=FILE"], lambda rows: [",".join(row) for row in rows], pairs, "a.csv", told=COLUMNS),
        Input(["pairs", "data.path=FILE", "data.source_field=a", "data.target_field=b"], objects, pairs, "a.jsonl",
              told=FIELDS),
    ],
    "text": [
        Input(["text", "data.unit=line", "data.path=FILE"], plain, lambda rows: Columns({"text": plain(rows)}), "a.txt",
              told={**TOO_LONG, **EMPTY}),
        Input(["text", "data.unit=file", "data.path=FILE"], plain, stream,
              "a.txt", told=EMPTY),
    ],
    "table": [
        Input(["classify", *TOLD, "data.path=FILE"], tabbed, labelled, "a.tsv", told=COLUMNS),
        Input(["classify", "data.path=FILE", "data.columns.text=a", "data.columns.label=b"], objects, labelled,
              "a.jsonl", told=FIELDS),
    ],
    "chats": [
        Input(["sft", "data.path=FILE", "data.columns.prompt=a", "data.columns.completion=b"], objects, talks,
              "a.jsonl", told={**TOO_LONG, **EMPTY, "a column too few": "row 3, has no column `b`"}),
    ],
    "parallel": [
        Input(["pairs", "data.kind=parallel", "data.source=de", "data.target=en", "data.path=FOLDER"], plain,
              both, "train.de", told={**TOO_LONG, **EMPTY}),
    ],
}  # fmt: skip
WITHOUT_TEXT = {
    "reproduce": "reads what its experiment is made for", "import": "reads a published model",
    "average": "reads runs",
    "export": "reads a run", "quantise": "reads a run", "parity": "has its texts on the command line",
    "act": "acts", "draw": "draws", "label": "asks", "inspect": "has its text on the command line",
    "serve": "takes requests", "explain": "prints", "runs ls": "prints", "runs show": "prints",
    "runs compare": "prints", "runs rm": "removes",
    "transcribe": "reads sounds", "caption": "reads pictures",
    "recipes ls": "prints", "recipes show": "prints", "recipes cp": "copies", "recipes schema": "prints",
    "parts": "prints", "parts ls": "prints", "parts show": "prints", "parts check": "computes",
    "catalogue ls": "prints", "catalogue show": "prints", "catalogue params": "prints",
    "catalogue counts": "prints", "catalogue tree": "prints", "catalogue diff": "prints",
}  # fmt: skip


def same(rows: list[list[str]]) -> list[str]:
    return plain(rows)


def characters(rows: list[list[str]]) -> set[str]:
    return set(normalize("NFC", "".join(plain(rows))))


WITH_TEXT = {
    "train": [data for inputs in DATA.values() for data in inputs],
    "plan": DATA["pairs"][:1],
    "lr-find": DATA["pairs"][:1],
    "doctor": DATA["pairs"][1:2],
    "prepare": [one._replace(words=[*one.words, "out=made"]) for one in (*DATA["text"], *DATA["pairs"][:1])],
    "evaluate": [
        Input(["RUN", "--split", "train", "data.kind=pairs", "data.path=FILE"], tabbed, pairs, "a.tsv", told=COLUMNS)
    ],
    "translate": [Input([], plain, same, stdin=["RUN", "--json"], told=TOO_LONG)],
    "predict": [Input(["RUN", "--json", "--file", "FILE"], plain, same, "lines", ["RUN", "--json"], told=TOO_LONG)],
    "generate": [Input([], plain, lambda rows: "\n".join(plain(rows)), stdin=["RUN", "-"], told=TOO_LONG)],
    "chat": [Input([], plain, same, stdin=["RUN", "--json"], told=TOO_LONG)],
    "score": [Input(["RUN", "FILE"], tabbed, tabbed, "lines", ["RUN"], told=TABS)],
    "classify": [
        Input(["LABELS", "--json", "--file", "FILE"], plain, same, "lines", ["LABELS", "--json"], told=TOO_LONG)
    ],
    "tag": [Input(["TAGS", "--json", "--file", "FILE"], plain, same, "lines", ["TAGS", "--json"], told=TOO_LONG)],
    "regress": [
        Input(["GRADES", "--json", "--file", "FILE"], plain, same, "lines", ["GRADES", "--json"], told=TOO_LONG)
    ],
    "rank": [
        Input(["ORDER", "who?", "--json", "--top", "99", "--passages", "FILE"], plain, same, "lines", told=TOO_LONG)
    ],
    "answer": [
        Input([], plain, same, stdin=["ANSWERS", "--json", "--context", "red dog"], told=TOO_LONG),
    ],
    "embed": [Input(["ENCODER", "--file", "FILE"], plain, same, "lines", ["ENCODER"], told=TOO_LONG)],
    "impute": [Input(["LETTERS", "--json", "--file", "FILE"], plain, same, "lines", told=TOO_LONG)],
    "tokenizer train": [
        Input(["FILE", "--kind", "char", "--out", "made"], plain, characters, "a.txt", told={**TOO_LONG, **EMPTY})
    ],
    "tokenizer show": [Input([], plain, same, stdin=["RUN"], told=TOO_LONG)],
}  # fmt: skip


def commands(command: Any, name: str = "") -> list[str]:
    """The full names of all commands that can be run."""
    if not hasattr(command, "commands"):
        return [name]
    own = [name] if name and command.invoke_without_command else []
    return own + [leaf for key, one in command.commands.items() for leaf in commands(one, f"{name} {key}".strip())]


def test_every_command_says_whether_it_takes_text_in() -> None:
    assert sorted(commands(typer.main.get_command(app))) == sorted([*WITH_TEXT, *WITHOUT_TEXT])
    assert set(kinds(DataConfig.folder)) - set(DATA) == {
        "captions",
        "chorales",
        "dates",
        "games",
        "imported",
        "images",
        "episodes",
        "mixture",
        "pictures",
        "ring",
        "sounds",
        "sums",
        "transcripts",
        "tunes",
    }  # which read no text, or text of a form of its own


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, dates: Path) -> dict[str, Any]:
    """What came in, under "in": the work itself is left out where it takes long, and what it is given is kept."""
    found: dict[str, Any] = {}

    def stop(_: object, splits: dict[str, Columns], *__: object, **___: object) -> None:
        values = splits["train"].values.items()  # a whole file keeps its last end
        found["in"] = Columns({name: [text.removesuffix("\n") for text in column] for name, column in values})
        raise Stop("stop")

    def first_split(self: TaskConfig, name: str, columns: Columns, *_: object) -> None:
        stop(None, {"train": columns})

    def walked(_: object, __: object, pieces: Iterable[Piece], names: tuple[str, ...], *___: object) -> None:
        rows, going = list[tuple[Any, ...]](), False
        for piece in (piece for piece in pieces if piece.split == "train"):
            rows[-1:] = [(rows[-1][0] + piece.values[0],)] if going else [*rows[-1:], piece.values]
            going = piece.more
        stop(None, {"train": Columns({name: [row[i] for row in rows] for i, name in enumerate(names)})})

    load, model = api.load, api.load(dates)
    monkeypatch.setattr("transduce.data.prepared.writing.write", walked)
    monkeypatch.setattr("transduce.training.train.record_data", stop)
    monkeypatch.setattr("transduce.api.planning.examine", lambda splits, *_, **__: stop(None, splits))
    monkeypatch.setattr(TaskConfig, "split", first_split)
    monkeypatch.setattr(
        "transduce.api.load",
        lambda path, **more: load(path, **more) if more.get("overrides") or path != dates else model,
    )
    monkeypatch.setattr(transduce.Transducer, "stream", lambda *_, **__: iter(()))
    monkeypatch.setattr(transduce.Transducer, "chat_stream", lambda *_, **__: iter(()))
    monkeypatch.setattr("transduce.cli.show.tokens", lambda _, line: sys.stdout.write(f"{line}\n"))
    return found


def came_in(command: str, out: str, taken: dict[str, Any]) -> Any:
    """What text a command took in, by what it printed or was stopped at."""
    lines = out.split("\n")[:-1]
    if command == "generate":
        return out.removesuffix("\n")
    if command == "score":
        return [line.split("\t", 3)[3] for line in lines]
    if command == "chat":
        return [json.loads(line)["prompt"] for line in lines]
    if command == "translate":
        return [json.loads(line)["source"] for line in lines]
    if command == "predict":
        return [json.loads(line)["input"] for line in lines]
    if command == "rank":
        found = [row for line in lines for row in json.loads(line)["passages"]]
        return [row["text"] for row in sorted(found, key=lambda row: row["line"])]
    if command == "answer":
        return [json.loads(line)["question"] for line in lines]
    if command in ("embed", "classify", "tag", "regress", "impute"):
        return [json.loads(line)["text"] for line in lines]
    if command == "tokenizer train":
        return set(Tokenizer.load("made").tokenizer.get_vocab()) - set(SPECIALS)
    return taken.get("in", lines)


PARAMETERS = [
    pytest.param(command, number, channel, case, id=f"{command}-{number}-{channel}-{case}")
    for command, inputs in WITH_TEXT.items()
    for number, one in enumerate(inputs)
    for channel in ([*(["file", "gz"] if one.file else []), *(["stdin", "gz on stdin"] if one.stdin else [])])
    for case in CASES
    if channel != "gz on stdin" or case == "plain"
]


@pytest.mark.parametrize(("command", "number", "channel", "name"), PARAMETERS)
def test_the_right_text_comes_in_or_one_sentence_comes_out(
    cli: Any,
    taken: dict[str, Any],
    dates: Path,
    encoder: Path,
    labels: Path,
    tags: Path,
    answers: Path,
    grades: Path,
    order: Path,
    letters: Path,
    tmp_path: Path,
    command: str,
    number: int,
    channel: str,
    name: str,
) -> None:  # fmt: skip
    one, case = WITH_TEXT[command][number], CASES[name]
    data, words = case.encode(one.lines(case.rows)), one.words
    told = one.told.get(name, case.told) if one.file or name != "empty" else ""
    runs = {
        "RUN": str(dates),
        "ENCODER": str(encoder),
        "LABELS": str(labels),
        "TAGS": str(tags),
        "ANSWERS": str(answers),
        "GRADES": str(grades),
        "ORDER": str(order),
        "LETTERS": str(letters),
    }
    if channel in ("file", "gz"):
        assert one.file is not None
        file = f"{one.file}.gz" if channel == "gz" else one.file
        for path in ("train.de", "train.en") if one.file == "train.de" else (one.file,):
            content = gzip.compress(data) if channel == "gz" else data
            (tmp_path / f"{path}{'.gz' if channel == 'gz' else ''}").write_bytes(content)
        where = {"FILE": file, "FOLDER": ".", **runs}
    else:
        assert one.stdin is not None
        words, where = one.stdin, runs
        if channel == "gz on stdin":
            data, told = gzip.compress(data), "standard input is gzip, which its name does not say; unpack it first"
    if any("data.path" in word for word in words):
        words = [*words, "data.valid_fraction=0", *([] if command == "evaluate" else ["tokenizer=char"])]
    words = [re.sub("|".join(where), lambda match: where[match[0]], word) for word in words]

    found = cli(*command.split(), *words, stdin=b"" if channel in ("file", "gz") else data)

    assert "Traceback" not in found.err
    if told:
        assert found.code == 2
        last = found.err.splitlines()[-1]
        assert last.startswith("transduce: ")
        assert re.search(told, last), last
    else:
        assert found.code == (2 if "in" in taken else 0), found.err
        assert came_in(command, found.out, taken) == one.texts(case.rows)
