import re
from pathlib import Path

import pytest

from transduce.data import read
from transduce.errors import UserError


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_lines_end_at_line_feeds_only(write, name):
    path = write(name, "one\u0085still one\u2028still one\ntwo\r\nthree\x0b\n\nfive")
    assert read.lines(path, 100) == ["one\u0085still one\u2028still one", "two", "three\x0b", "", "five"]


def test_a_last_line_end_makes_no_line_of_its_own(write):
    assert read.lines(write("a", "x\ny\n"), 9) == read.lines(write("b", "x\ny"), 9) == ["x", "y"]
    assert read.lines(write("c", "\n"), 9) == [""]


def test_a_byte_order_mark_is_no_text(write):
    assert read.lines(write("a.txt", b"\xef\xbb\xbfone\ntwo\n"), 9) == ["one", "two"]


def test_a_missing_file_names_the_nearest(write, tmp_path: Path):
    write("train.de", "x")
    with pytest.raises(UserError, match=r"trian\.de does not exist; the nearest name there is `train\.de`"):
        read.text(tmp_path / "trian.de")


def test_a_name_without_gz_finds_the_packed_file_where_there_is_no_other(write, tmp_path: Path):
    write("a.txt.gz", "packed")
    assert read.text(tmp_path / "a.txt") == "packed"
    write("a.txt", "plain")
    assert read.text(tmp_path / "a.txt") == "plain"


def test_a_missing_folder_is_named(write, tmp_path: Path):
    write("corpus/train.de", "x")
    with pytest.raises(UserError, match=r"there is no `corpsu` in .*; the nearest name there is `corpus`"):
        read.text(tmp_path / "corpsu" / "sub" / "train.de")


def test_an_empty_file_is_refused(write):
    with pytest.raises(UserError, match=r"train\.de is empty; give a file with text in it"):
        read.text(write("train.de", ""))
    with pytest.raises(UserError, match=r"train\.de\.gz is empty"):
        read.text(write("train.de.gz", ""))


def test_text_that_is_not_utf8_is_refused_with_its_place(write):
    with pytest.raises(UserError, match="latin is not UTF-8: line 2 has the byte 0xf0 at offset 6; convert it"):
        read.text(write("latin", b"four\nx\xf0y\n"))


def test_a_line_beyond_the_limit_is_refused(write):
    path = write("long", "ab\nabcdef\n")
    with pytest.raises(UserError, match="line 2, has more than 5 characters; split the line, or raise"):
        read.lines(path, 5)
    assert len(read.lines(path, 6)) == 2


def test_a_broken_gz_is_refused(write, tmp_path: Path):
    whole = write("a.gz", "text " * 1000).read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"cut\.gz is not a whole gzip file"):
        read.text(tmp_path / "cut.gz")
    with pytest.raises(UserError, match=r"plain\.gz is not a whole gzip file"):
        read.text(write("plain", "text").rename(tmp_path / "plain.gz"))


def test_gz_that_is_not_named_so_is_refused(write, tmp_path: Path):
    packed = write("a.gz", "text").rename(tmp_path / "train.de")
    with pytest.raises(UserError, match=r"train\.de is gzip, .*; rename it to train\.de\.gz"):
        read.text(packed)


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read.text(tmp_path)


def test_names_are_found_with_extensions_and_packed(write, tmp_path: Path):
    for name in ("train.txt.gz", "valid", "b1.txt", "b2.txt", "b10.txt"):
        write(name, "x")
    assert [p.name for p in read.expand(tmp_path, "train", (".jsonl", ".txt"))] == ["train.txt.gz"]
    assert [p.name for p in read.expand(tmp_path, "valid", (".txt",))] == ["valid"]
    assert [p.name for p in read.expand(tmp_path, "b*.txt")] == ["b1.txt", "b10.txt", "b2.txt"]
    assert [p.name for p in read.expand(Path("/"), f"{tmp_path}/b1*")] == ["b1.txt", "b10.txt"]
    assert read.expand(tmp_path, "test") == []
    with pytest.raises(UserError, match=r"tra\*\*: \*\* stands for folders"):
        read.expand(tmp_path, "tra**")
    with pytest.raises(UserError, match=re.escape("no file matches") + r".*c\*\.txt; check data\.path"):
        read.required(tmp_path, "c*.txt")
    for name in ("test", "test.txt"):
        with pytest.raises(UserError, match=r"test\.txt does not exist"):
            read.required(tmp_path, name, (".tsv", ".txt") if "." in name else (".txt",))
