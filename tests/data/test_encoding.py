"""One reader for all text: whatever the bytes, the right text or a sentence that names what they are."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from transduce.data import encoding, read
from transduce.errors import UserError

LINES = ["red thing", "Ünïcode 上海 text", "of\u0085three\u2028lines", "", "a\0b", "end"]


def both(data: bytes, most: int = 1000) -> tuple[list[str], list[str]]:
    """The lines, read one by one and as a whole."""
    whole = encoding.text(io.BytesIO(data), "x").removesuffix("\n")
    return list(encoding.lines(io.BytesIO(data), "x", most)), [line.removesuffix("\r") for line in whole.split("\n")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_end_at_lf_and_crlf_alone_and_a_mark_is_no_text(end: str, mark: bytes, last: bool) -> None:
    data = mark + (end.join(LINES) + (end if last else "")).encode()
    assert both(data) == (LINES, LINES)


TEXTS = {
    "english": "red thing\nblue thing\n" * 20,
    "short": "ab\n",
    "one word": "hello",
    "russian": "кошка спит\nсобака\n" * 20,
    "chinese": "猫在上海 睡觉\n上上下下\n" * 20,
    "quotes": "“quoted” text – here…\n" * 20,
}


@pytest.mark.parametrize("name", list(TEXTS))
@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_utf16_and_utf32_are_told_by_their_marks_and_their_zeros(name: str, codec: str) -> None:
    data = TEXTS[name].encode(codec)
    expected = "UTF-32|UTF-16" if name == "one word" else codec[:6].upper()
    for read_it in (
        lambda: encoding.text(io.BytesIO(data), "x"),
        lambda: list(encoding.lines(io.BytesIO(data), "x", 99)),
    ):
        with pytest.raises(UserError, match=expected):
            read_it()


@pytest.mark.parametrize("text", ["o\0ne\tred\n" * 20, "a\0b c\n", "x" * 99 + "\0"])
def test_a_zero_in_utf8_is_text(text: str) -> None:
    assert both(text.encode())[0] == text.removesuffix("\n").split("\n")


REFUSED: dict[str, tuple[bytes, str]] = {
    "latin": ("one\ntwo\ncafé\n".encode("latin1"), "line 3 has the byte 0xe9 at offset 11; .* iconv -f latin1"),
    "cr": (b"one\rtwo\rthree\r", "ends its lines in CR alone"),
    "cr, one lf": (b"one\rtwo\rthree\n", "ends its lines in CR alone"),
    "gzip": (gzip.compress(b"text"), "is gzip, which its name does not say; rename it to x.gz"),
    "zip": (b"PK\x03\x04\x14\0\0", "is a zip archive, as spreadsheets are"),
    "xz": (b"\xfd7zXZ\x00\0\x04", "is xz"),
    "zeros": (bytes(100), "holds zeros, not text"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_utf8_text_is_named(name: str) -> None:
    data, told = REFUSED[name]
    with pytest.raises(UserError, match=f"^x .*{told}"):
        encoding.text(io.BytesIO(data), "x")
    with pytest.raises(UserError, match=f"^x .*{told}"):
        list(encoding.lines(io.BytesIO(data), "x", 99))


@pytest.mark.parametrize("max_chars", [1 << 62, 1 << 70])
def test_a_line_may_be_of_any_length(max_chars: int, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert [read.lines(tmp_path / name, max_chars) for name in ("a.txt", "b.txt")] == [["one", "two"]] * 2


def test_a_line_is_read_no_further_than_it_may_be_long() -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            self.taken += len(buffer)
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    stream = Endless()
    with pytest.raises(UserError, match="x, line 1, has more than 1,000 characters; split the line"):
        next(encoding.lines(io.BufferedReader(stream), "x", 1000))
    assert stream.taken < 1 << 16
    for cut in range(8):  # a character of several bytes may lie across the end of what is read
        with pytest.raises(UserError, match="more than 10 characters"):
            list(encoding.lines(io.BytesIO(b"x" * cut + "上".encode() * 99), "x", 10))
    assert list(encoding.lines(io.BytesIO("🙂".encode() * 10 + b"\r\n"), "x", 10)) == ["🙂" * 10]


@pytest.mark.parametrize(
    "reader", [read.text, lambda path: read.lines(path, 10**9), lambda path: list(read.each(path, 9))]
)
@pytest.mark.parametrize("line", [b"x", b"a\tb\n"])
def test_a_gz_file_that_unpacks_to_what_no_text_does_is_refused(
    write, monkeypatch: pytest.MonkeyPatch, reader: Callable[..., object], line: bytes
) -> None:
    monkeypatch.setattr(read, "INFLATED", 1 << 20)
    path = write("bomb.gz", line * (4 << 20))
    with pytest.raises(UserError, match=r"bomb\.gz has [\d,]+ bytes and unpacks to more than 1,048,576.*gunzip"):
        reader(path)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_more_text_than_memory_is_refused_by_name(write, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = write(name, "a\tb\n" * 5000)
    monkeypatch.setattr(read, "memory", lambda: 100_000)
    with pytest.raises(UserError, match=r"a\.txt(\.gz)? holds more text than half of this machine's memory"):
        read.lines(path, 100)
    monkeypatch.setattr(read, "memory", lambda: 30_000)
    with pytest.raises(UserError, match=r"a\.txt(\.gz)? (holds .* GB of memory|has .* and unpacks to more)"):
        read.text(path)
