"""Which column is which: told, or recognised, and said; else one sentence."""

import json

import pytest

from transduce.config import from_data
from transduce.data.tables import Table
from transduce.errors import UserError

WANTED = ("text", "label")
ROWS = [("ham", f"see you at {i}, dear") for i in range(20)] + [("spam", f"win {i} prizes now") for i in range(9)]


def load(path, **values):
    return from_data(Table, {"path": str(path), "valid_fraction": 0, **values}).load(WANTED)["train"]


def remarks(path, **values):
    return from_data(Table, {"path": str(path), **values}).remarks(WANTED)


def quoted(text: str) -> str:
    return '"' + text + '"'


FORMS = {
    "tsv": ("a.tsv", "".join(f"{label}\t{text}\n" for label, text in ROWS)),
    "tsv with names": ("a.tsv", "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in ROWS)),
    "other names": ("a.tsv", "id\tMessage\tCategory\n" + "".join(f"7\t{t}\t{x}\n" for x, t in ROWS)),
    "csv": ("a.csv", "".join(f"{quoted(text)},{label}\n" for label, text in ROWS)),
    "jsonl": ("a.jsonl", "".join(json.dumps({"text": t, "label": x}) + "\n" for x, t in ROWS)),
    "packed": ("a.tsv.gz", "".join(f"{label}\t{text}\n" for label, text in ROWS)),
    "label and a space": ("a.txt", "".join(f"{label} {text}\n" for label, text in ROWS)),
    "tabs in plain text": ("a.txt", "".join(f"{text}\t{label}\n" for label, text in ROWS)),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_gives_the_same_rows(form: str, write) -> None:
    path = write(*FORMS[form])
    columns = load(path)
    assert list(zip(columns["label"], columns["text"], strict=True)) == ROWS
    said = [line for line in remarks(path) if "data.columns" in line]
    assert len(said) == 2, "what is recognised is said"


def test_parquet_gives_the_same_rows(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"text": [t for _, t in ROWS], "label": [x for x, _ in ROWS]})
    parquet.write_table(table, tmp_path / "a.parquet")
    columns = load(tmp_path / "a.parquet")
    assert list(zip(columns["label"], columns["text"], strict=True)) == ROWS
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="is not a Parquet file"):
        load(tmp_path / "b.parquet")


WITH = ("text", "other", "negative")
THREE = [("a", "A", "x"), ("b", "B", ""), ("c", "C", "y")]


def triples(path, **values):
    table = from_data(Table, {"path": str(path), "valid_fraction": 0, **values})
    splits = table.load(WITH)
    names = splits["train"].names
    rows = {split: list(zip(*(c[name] for name in c.names), strict=True)) for split, c in splits.items()}
    return names, rows


@pytest.mark.parametrize("form", ["keys", "null", "late", "csv", "other names", "stated", "parquet"])
def test_a_column_that_a_row_may_lack_is_read_where_there_is_one(form: str, tmp_path, write) -> None:
    names = ("query", "pos", "hard") if form == "stated" else ("anchor", "positive", "negative")
    names = (*names[:2], "Hard Negative") if form == "other names" else names
    rows = THREE[1:] + THREE[:1] if form == "late" else THREE
    if form in ("csv", "other names"):
        path = write("a.csv", "\n".join(",".join(row) for row in (names, *rows)) + "\n")
    elif form == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        columns = dict(zip(names, ([x or None for x in column] for column in zip(*rows, strict=True)), strict=True))
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path := tmp_path / "a.parquet")
    else:
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        some = objects if form == "null" else [{k: x for k, x in one.items() if x} for one in objects]
        some = [{k: x or None for k, x in one.items()} for one in some]
        path = write("a.jsonl", "".join(json.dumps(one) + "\n" for one in some))
    stated = {"columns": dict(zip(WITH, names, strict=True))} if form == "stated" else {}
    assert triples(path, **stated) == (WITH, {"train": rows})
    assert len(from_data(Table, {"path": str(path), **stated}).remarks(WITH)) == (0 if stated else 3)


@pytest.mark.parametrize(
    ("names", "unread"),
    [
        (("anchor", "positive", "negative", "negative_1"), "negative_1 of a.csv is not read"),
        (("anchor", "positive", "negative_1", "Negative 2"), "negative_1, Negative 2 of a.csv are not read"),
        (("anchor", "positive", "negative"), ""),
    ],
)
def test_further_columns_of_that_name_are_told(names: tuple[str, ...], unread: str, write) -> None:
    path = write("a.csv", "".join(",".join(row) + "\n" for row in (names, [f"{c}1" for c in "abcd"][: len(names)])))
    lines = [line for line in from_data(Table, {"path": str(path)}).remarks(WITH) if "not read" in line]
    way = ": a row has one negative at most; data.columns.negative=... says which"
    assert lines == ([f"{unread}{way}"] if unread else [])


def test_without_it_two_columns_are_read_and_a_split_may_lack_it(tmp_path) -> None:
    def lines(rows, width):
        keys = WITH[:width]
        return "".join(json.dumps(dict(zip(keys, row, strict=False))) + "\n" for row in rows)

    (tmp_path / "train.jsonl").write_text(lines(THREE, 2))
    pairs = [row[:2] for row in THREE]
    assert triples(tmp_path) == (("text", "other"), {"train": pairs})
    assert triples(tmp_path / "train.jsonl", columns={"text": "text"}) == (("text", "other"), {"train": pairs})
    (tmp_path / "train.jsonl").write_text(lines(THREE, 3))
    (tmp_path / "valid.jsonl").write_text(lines(THREE, 2))
    assert triples(tmp_path) == (WITH, {"train": THREE, "valid": [(*row, "") for row in pairs]})
    (tmp_path / "valid.jsonl").write_text(lines(THREE, 1))
    with pytest.raises(UserError, match=r"the columns of .*valid\.jsonl have other names"):
        triples(tmp_path)
    (tmp_path / "valid.jsonl").unlink()
    (tmp_path / "train.jsonl").write_text(lines([(*row[:2], " ") for row in THREE], 3))
    with pytest.raises(UserError, match=r"every negative of train is blank"):
        triples(tmp_path)
    with pytest.raises(UserError, match="no column `nowhere`"):
        triples(tmp_path, columns={"negative": "nowhere"})


def test_values_of_json_keep_their_type(write) -> None:
    rows = "".join(json.dumps({"text": f"t{i}", "label": i % 2 == 0, "n": i}) + "\n" for i in range(6))
    assert list(load(write("a.jsonl", rows), columns={"label": "n"})["label"]) == list(range(6))
    assert list(load(write("a.jsonl", rows))["label"]) == [True, False] * 3


@pytest.mark.parametrize(
    ("content", "values", "sentence"),
    [
        ("x\ty\n" * 9, {"columns": {"txt": 1}}, "data.columns.txt names a column .* did you mean `text`"),
        ("text\tlabel\na\tb\n", {"columns": {"text": "tekst"}}, "no column `tekst`; did you mean `text`"),
        ("a\tb\n" * 9, {"columns": {"text": 7, "label": 0}}, "has 2 columns, but column 7"),
        ("a\tb\tc\n" * 9, {}, "no column that is surely the text; set data.columns.text"),
        ("ham\tone\nspam\ttwo\tthree\nham\tfour\n", {"columns": {"label": 0, "text": 1}}, "line 2, has 3 columns"),
        ("label\ttext\n", {}, "has no rows"),
        ("ham\t\nspam\t \n" * 5, {"columns": {"label": 0, "text": 1}}, "every text of train is blank"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(content: str, values: dict, sentence: str, write) -> None:
    with pytest.raises(UserError, match=sentence):
        load(write("a.tsv", content), **values)


def test_files_of_other_names_or_another_order(write) -> None:
    write("train.jsonl", "".join(json.dumps({"text": t, "label": x}) + "\n" for x, t in ROWS))
    folder = write("valid.jsonl", json.dumps({"label": "ham", "text": "b", "id": 3}) + "\n").parent
    splits = from_data(Table, {"path": str(folder)}).load(WANTED)
    assert [splits["valid"]["text"], splits["valid"]["label"]] == [["b"], ["ham"]]
    write("valid.jsonl", json.dumps({"kind": "ham", "text": "b"}) + "\n")
    with pytest.raises(UserError, match="have other names than those of the first file"):
        from_data(Table, {"path": str(folder)}).load(WANTED)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ([1, 2], r'has a value that is a list, .*; write it as text, as "\[1, 2\]", for a reader to take apart'),
        ({"a": 1}, r"a dict, .*; write it as text, as .*, for a reader to take apart"),
        (None, r"line 2, .* empty \(null\), .*; fill it in, or remove the row"),
    ],
)
def test_a_cell_that_is_no_value_says_how_to_write_it(cell: object, told: str, tmp_path) -> None:
    rows = [{"text": "x", "label": "a"}, {"text": cell, "label": "b"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=told):
        Table(path=str(tmp_path / "t.jsonl")).load(("text", "label"))


def test_the_names_of_the_columns_themselves_are_a_header(write) -> None:
    path = write("a.tsv", "question\tpassage\nwho?\tme\nwhere?\there\n")
    columns = from_data(Table, {"path": str(path), "valid_fraction": 0}).load(("question", "passage"))["train"]
    assert list(columns["question"]) == ["who?", "where?"]
