import pytest

from transduce.config import from_data
from transduce.data.text import Text
from transduce.errors import UserError


def load(path, **values):
    return from_data(Text, {"path": str(path), **values}).load()


def test_a_file_is_one_stream_and_its_end_is_held_out(write):
    path = write("book.txt", "0123456789" * 10)
    out = load(path, valid_fraction=0.1)
    assert out["train"].given == ["0123456789" * 9]
    assert out["valid"].given == ["0123456789"]
    assert out["train"].names == ("stream",)
    assert from_data(Text, {"path": "x"}).gives == ("stream",)


def test_a_folder_with_files_by_split(write, tmp_path):
    write("train.txt", "a\n\nb\n")
    write("valid.txt.gz", "c\n")
    assert load(tmp_path)["train"].given == ["a\n\nb\n"]
    assert list(load(tmp_path)) == ["train", "valid"]


def test_lines_and_paragraphs_are_documents(write):
    path = write("a.txt", "\n\none\ntwo\n  \nthree\n\n")
    assert load(path, unit="line", valid_fraction=0)["train"].given == ["one", "two", "three"]
    assert load(path, unit="paragraph", valid_fraction=0)["train"].given == ["one\ntwo", "three"]
    assert from_data(Text, {"path": "x", "unit": "line"}).gives == ("text",)


def test_documents_are_held_out_by_hash(write):
    path = write("a.txt", "".join(f"line {i}\n" for i in range(100)))
    out = load(path, unit="line")
    assert {name: len(texts.given) for name, texts in out.items()} == {"train": 95, "valid": 5}


def test_jsonl_rows_are_documents(write):
    path = write("a.jsonl.gz", '{"text": "a\\nb"}\n{"text": "c"}\n')
    assert load(path, unit="line", valid_fraction=0)["train"].given == ["a\nb", "c"]
    with pytest.raises(UserError, match=r"holds one document per row; set data\.unit=line"):
        load(path)
    with pytest.raises(UserError, match="line 1, has no field `body`; its fields are text"):
        load(path, unit="line", field="body")


def test_several_files_and_globs(write, tmp_path):
    write("a1.txt", "one")
    write("a2.txt.gz", "two")
    assert load(f"{tmp_path}/a*", valid_fraction=0)["train"].given == ["one", "two"]
    assert load(tmp_path, train=["a2.txt", "a1.txt"], valid_fraction=0)["train"].given == ["two", "one"]


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".jsonl"])
def test_a_folder_of_files_without_the_names_of_splits_is_all_train(write, tmp_path, ending):
    content = '{"text": "%s"}\n' if ending == ".jsonl" else "%s"
    for name in ("book", "a novel", "übung"):
        write(name + ending, content % name)
    write("notes.md", "x")
    config = from_data(Text, {"path": str(tmp_path), "unit": "line", "valid_fraction": 0})
    assert config.load()["train"].given == ["a novel", "book", "übung"]
    assert config.remarks() == [f"train is all 3 files of {tmp_path}, since none is named train"]
    write("valid.txt", "x")  # now one is
    with pytest.raises(UserError, match=r"train\.txt does not exist"):
        config.load()


def test_a_folder_of_folders_is_told_the_glob(write, tmp_path):
    write("deep/a.txt", "x")
    with pytest.raises(UserError, match=r"has no train\.txt, nor other data of .*data\.path='.*/\*\*/\*\.txt'"):
        load(tmp_path)
    assert load(f"{tmp_path}/**/*.txt", valid_fraction=0)["train"].given == ["x"]


def test_missing_files_and_long_lines_are_refused(write, tmp_path):
    write("trian.txt", "x")
    with pytest.raises(UserError, match=r"train\.txt does not exist; the nearest name there is `trian\.txt`"):
        load(tmp_path)
    with pytest.raises(UserError, match="line 1, has more than 8 characters"):
        load(write("a.txt", "123456789"), unit="line", max_chars=8)


def test_an_unknown_unit_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="`unit` is 'lines', but must be one of file, line, paragraph; did you mean `line`"
    ):
        load(tmp_path, unit="lines")


def test_real_text_is_read(shared):
    out = load(shared / "data/tinyshakespeare")
    assert {name: sum(map(len, t.given)) for name, t in out.items()} == {"train": 1_003_854, "valid": 55_828}
    assert len(load(shared / "data/imdb/unsup.jsonl.gz", unit="line", valid_fraction=0)["train"].given) == 11_994
