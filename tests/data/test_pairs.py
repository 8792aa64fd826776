import json

import pytest

from transduce.config import from_data
from transduce.data import table
from transduce.data.pairs import Pairs
from transduce.errors import UserError


def load(path, **values):
    return from_data(Pairs, {"path": str(path), "valid_fraction": 0, **values}).load()


def both(texts):
    return list(zip(texts["source"], texts["target"], strict=True))


def test_tsv_columns_by_number_with_literal_quotes(write):
    path = write("a.tsv", 'x\t"one" a\ty1\nx\ttwo\ty2\n')
    assert both(load(path, source_field=1, target_field=2)["train"]) == [('"one" a', "y1"), ("two", "y2")]


def test_columns_by_name_come_from_the_first_line(write):
    path = write("a.tsv.gz", "id\ten\tde\n1\tcat\tKatze\n")
    assert both(load(path, source_field="de", target_field="en")["train"]) == [("Katze", "cat")]
    path = write("a.csv", "id,en,de\n1,cat,Katze\n")
    assert both(load(path, source_field="de", target_field=1)["train"]) == [("Katze", "cat")]
    assert both(load(path, source_field=2, target_field=1, header=True)["train"]) == [("Katze", "cat")]


def test_csv_quotes_hold_commas_quotes_and_line_ends(write):
    path = write("a.csv", '"a, ""b""","two\nlines"\r\nc,d\r\n\r\n')
    assert both(load(path)["train"]) == [('a, "b"', "two\nlines"), ("c", "d")]


def test_jsonl_fields_by_name_and_by_path(write):
    rows = [{"text": "a\u0085\u2028b", "translation": {"de": "x", "en": "y"}}]
    path = write("a.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) + "\n")
    assert both(load(path, source_field="text", target_field="translation.en")["train"]) == [("a\u0085\u2028b", "y")]


def test_a_folder_with_files_by_split(write, tmp_path):
    write("train.tsv", "a\tb\n")
    write("valid.tsv.gz", "c\td\n")
    assert {name: both(texts) for name, texts in load(tmp_path).items()} == {
        "train": [("a", "b")],
        "valid": [("c", "d")],
    }
    write("dev.tsv", "e\tf\n")
    assert both(load(tmp_path, valid="dev.tsv")["valid"]) == [("e", "f")]


def test_globs_and_holding_out(write, tmp_path):
    for i in range(4):
        write(f"p{i}.tsv", "".join(f"s{i}{j}\tt{i}{j}\n" for j in range(10)))
    out = load(f"{tmp_path}/p*.tsv", valid_fraction=0.1)
    assert {name: len(texts["target"]) for name, texts in out.items()} == {"train": 36, "valid": 4}


def test_too_few_columns_are_refused(write):
    with pytest.raises(UserError, match=r"a\.tsv has 1 column, but column 1 \(counted from 0\) is asked for; set data"):
        load(write("a.tsv", "a\nc\n"))
    with pytest.raises(UserError, match=r"a\.tsv, line 2, has 1 column, but 1 of 2 rows have 2; remove the tab"):
        load(write("a.tsv", "a\tb\nc\n"))
    with pytest.raises(UserError, match=r"a\.csv, line 4, has 1 column,"):
        load(write("a.csv", '"a\n1\n2",b\nc\n'))


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.csv", ","), ("a.tsv.gz", "\t")])
@pytest.mark.parametrize("place", [0, 3, 9])
@pytest.mark.parametrize("header", [False, True])
def test_a_column_too_many_or_too_few_is_refused_with_its_line(write, name, mark, place, header):
    rows = [mark.join(("red", "dog")) for _ in range(10)]
    for bad, count in ((mark.join("abc"), "3 columns"), ("a", "1 column")):
        lines = [*(["x" + mark + "y"] if header else []), *rows[:place], bad, *rows[place:]]
        with pytest.raises(UserError, match=rf"a\..*, line {place + 1 + header}, has {count}, but "):
            load(write(name, "\n".join(lines)), header=header)
    with pytest.raises(UserError, match=r"line 1, has 3 columns, but 10 of 12 rows have 2 \(2 rows differ\)"):
        load(write(name, "\n".join([mark.join("abc"), *rows, "a"])))


def test_columns_that_all_rows_have_may_be_more_than_are_used(write):
    path = write("a.tsv", "a\tb\tc\n" * 3)
    assert len(load(path)["train"]["target"]) == 3
    assert table.remarks(path, (0, 1), False, 99) == [f"1 of 3 columns of {path} are not used: 2"]
    path = write("a.csv", "x,y,z\n1,2,3\n")
    assert table.remarks(path, ("z", "x"), False, 99) == [f"1 of 3 columns of {path} are not used: y"]


@pytest.mark.parametrize(("name", "mark", "told"), [
    ("a.csv", ";", "semicolons seem to part them: convert them to commas"),
    ("a.csv", "\t", "tabs seem to part them: name the file .tsv"),
    ("a.tsv", ",", "commas seem to part them: name the file .csv"),
    ("a.txt", "|", "bars seem to part them: convert them to tabs"),
])  # fmt: skip
def test_columns_parted_by_something_else_are_told_by_name(write, name, mark, told):
    lines = [f"source{mark}target", *(f"text {i}{mark}other {i}" for i in range(9))]
    for fields in ({}, {"source_field": "source", "target_field": "target"}):
        with pytest.raises(UserError, match=told):
            load(write(name, "\n".join(lines)), **fields)
    if mark == ";":
        with pytest.raises(UserError, match="but 9 of 10 rows have 1; semicolons seem to part them"):
            load(write(name, "\n".join([*lines[:9], "a, b;c"])))
        path = write(name, "\n".join(["a, b;c"] * 9))
        assert any("every row of" in told for told in table.remarks(path, (0, 1), False, 99))


@pytest.mark.parametrize(("name", "content"), [
    ("a.tsv", "source\ttarget\n"), ("a.csv", "source,target"), ("a.csv", "\n\n"), ("a.jsonl", "\n \n"),
    ("a.tsv", b"\xef\xbb\xbf"), ("a.csv", b"\xef\xbb\xbf"), ("a.csv.gz", ""),
])  # fmt: skip
def test_a_table_without_rows_is_refused(write, name, content):
    for values in ({"header": True}, {"source_field": "source", "target_field": "target"}):
        with pytest.raises(UserError, match=r"has no rows|has no line that names its columns|is empty"):
            load(write(name, content), **values)


def test_a_missing_jsonl_field_is_refused(write):
    path = write("a.jsonl", '{"src": "a", "tgt": "b"}\n{"src": "c", "target": "d"}\n')
    with pytest.raises(UserError, match=r"line 2, has no field `tgt`; its fields are src, target"):
        load(path, source_field="src", target_field="tgt")
    with pytest.raises(UserError, match=r"line 1, has no field `src\.de`; its fields are none, for it is \"a\""):
        load(path, source_field="src.de", target_field="tgt")
    with pytest.raises(UserError, match=r"line 1, has no field `0`; its fields are src, tgt"):
        load(path)


def test_jsonl_that_is_no_json_or_no_text_is_refused(write):
    fields = {"source_field": "a", "target_field": "b"}
    with pytest.raises(UserError, match=r"line 2, is not JSON: .* at column 6"):
        load(write("a.jsonl", '{"a": "x", "b": "y"}\n{"a":\n'), **fields)
    with pytest.raises(UserError, match="line 1: the field `b` is 3; it must be text"):
        load(write("b.jsonl", '{"a": "x", "b": 3}\n'), **fields)
    with pytest.raises(UserError, match=r"its fields are none, for it is \[1\]"):
        load(write("c.jsonl", "[1]\n"), **fields)
    for n, row in enumerate(("[" * 10**5, '{"a": "x", "b": ' + "1" * 5000 + "}")):
        with pytest.raises(UserError, match=rf"d{n}\.jsonl, line 2, is not JSON: "):
            load(write(f"d{n}.jsonl", f'{{"a": "x", "b": "y"}}\n{row}\n'), **fields)
    with pytest.raises(UserError, match=r"e\.jsonl, line 1: the field `b` holds '\\ud83d', half of a character"):
        load(write("e.jsonl", r'{"a": "x", "b": "so funny \ud83d"}' + "\n"), **fields)


def test_a_missing_column_name_is_refused(write):
    path = write("a.tsv", "english\tgerman\ncat\tKatze\n")
    with pytest.raises(UserError, match=r"no column `germn` in its first line; did you mean `german`\?"):
        load(path, source_field="germn", target_field="english")
    with pytest.raises(UserError, match="no column `x` in its first line; its columns are english, german"):
        load(path, source_field="x", target_field="english")


def test_broken_csv_is_refused(write):
    with pytest.raises(UserError, match=r"a\.csv, line 2, is not CSV: .*; quote the field and double its quotes"):
        load(write("a.csv", 'a,b\n"c"d,e\n'))
    with pytest.raises(UserError, match=r"b\.csv, line 2, is not CSV"):
        load(write("b.csv", 'a,b\n"c,e\nf,g\n'))


def test_a_field_beyond_the_limit_is_refused(write):
    with pytest.raises(UserError, match=r"a\.csv, line 2, has more than 4 characters"):
        load(write("a.csv", "a,b\nc,12345\n"), max_chars=4)
    assert len(load(write("b.csv", f"a,{'x' * 200_000}\n"), max_chars=1_000_000)["train"]["target"][0]) == 200_000


def test_an_unknown_format_and_missing_files_are_refused(write, tmp_path):
    with pytest.raises(UserError, match=r"ends in '\.xlsx'; tables are read from \.tsv, \.csv and \.jsonl"):
        load(write("a.xlsx", "x"))
    with pytest.raises(UserError, match=r"train\.tsv does not exist"):
        load(tmp_path)
    with pytest.raises(UserError, match="~nosuchuser/a begins with the home of a user who is unknown here"):
        load("~nosuchuser/a")
    for values in ({"source_field": -1}, {"target_field": -2}):
        with pytest.raises(UserError, match=r"_field=-\d is negative; columns are counted from 0"):
            load(tmp_path, **values)
    path = write("b.tsv", "a\tb\n")
    with pytest.raises(UserError, match=r"b\.tsv is not a folder, but `valid` names files to find in it"):
        load(path, valid="dev.tsv")


def test_real_tables_are_read(shared):
    out = load(shared / "data/icons_captioned/captions_train.tsv", source_field="file", target_field="caption")["train"]
    assert len(out["target"]) == 807
    gsm = load(shared / "data/instructions/gsm8k", source_field="question", target_field="answer")
    assert len(gsm["train"]["target"]) == 6940
