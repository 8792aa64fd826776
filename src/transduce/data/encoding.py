"""Decodes bytes to text, the same way for every file and for standard input: UTF-8, lines that end at LF or CRLF.

A byte order mark of UTF-8 is left out. Everything else is refused with its name, since it would be a wrong text if it
was read as UTF-8: UTF-16 and UTF-32 (recognised by their marks, or by their zeros), other encodings, packed files, and
lines that end in CR.
"""

import io
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath
from typing import BinaryIO, cast

from transduce.errors import UserError

HEAD = 1 << 14  # bytes that are looked at
READ = 1 << 20  # bytes, and the rest of their last line, that are read at once
LAST_PLANE = 0x10  # of Unicode: the third byte of a character in UTF-32
UTF8_MARK = b"\xef\xbb\xbf"
MARKS = (  # UTF-32 first, whose mark begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
PACKED = (
    (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "a zip archive, as spreadsheets are"), (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh91AY&SY", "bzip2"), (b"PAR1\x15", "Parquet"),
)  # fmt: skip


def text(stream: BinaryIO, name: str) -> str:
    """Returns the text of a stream.

    Raises UserError where it is not UTF-8 (with the line and the byte), or where its lines end in CR.
    """
    data = stream.read()
    require_plain(data[:HEAD], name)
    data = data.removeprefix(UTF8_MARK)
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise not_utf8(name, line, error.start, data) from None
    if whole.find("\n", 0, -1) < 0:
        require_no_cr(whole, name)
    return whole


def parts(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yields the text of a stream in parts of whole lines. Raises UserError where `text` does."""
    line, offset = 1, 0
    while data := stream.read(READ) + stream.readline():
        if not offset:
            require_plain(data[:HEAD], name)
            data = data.removeprefix(UTF8_MARK)
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line += data.count(b"\n", 0, error.start)
            raise not_utf8(name, line, offset + error.start, data, data[error.start]) from None
        if not offset and whole.find("\n", 0, -1) < 0:
            require_no_cr(whole, name)
        line, offset = line + data.count(b"\n"), offset + len(data)
        yield whole


def lines(stream: BinaryIO, name: str, max_chars: int, hint: str = "split the line") -> Iterator[str]:
    """Yields the lines of a stream without their ends.

    hint: the advice of the error for a line of more than `max_chars`. The rest of such a line is not read.
    Raises UserError where `text` does.
    """
    stream = cast("io.BufferedReader", stream)
    stream = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    head = stream.peek(HEAD)[:HEAD]
    require_plain(head, name)
    most = min(4 * max_chars + 8, sys.maxsize)
    first = stream.readline(most).removeprefix(UTF8_MARK)
    offset, rest = 0, iter(lambda: stream.readline(most), b"")
    for number, raw in enumerate(chain([first] if first else [], rest), 1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if len(raw) <= 4 * max_chars:  # else a character may be cut
                raise not_utf8(name, number, offset + error.start, head, raw[error.start]) from None
            line = raw.decode("utf-8", "replace")
        offset += len(raw)
        line = line.removesuffix("\n").removesuffix("\r")
        if number == 1 and "\r" in line and (len(line) > max_chars or not stream.peek(1)):
            require_no_cr(line, name)
        require_short(line, f"{name}, line {number},", max_chars, hint)
        yield line


def require_short(line: str, where: str, max_chars: int, hint: str) -> None:
    """Raises UserError where a line is longer than the limit, most often because the file is the wrong one."""
    if len(line) > max_chars:
        raise UserError(f"{where} has more than {max_chars:,} characters; {hint}")


def require_no_cr(whole: str, name: str) -> None:
    """Raises UserError where CR, and not LF, ends the lines. whole: a text without LF, but for one at its end."""
    if "\r" in whole.removesuffix("\n").removesuffix("\r"):
        raise UserError(f"{name} ends its lines in CR alone, as old Macintosh files do; convert it: tr '\\r' '\\n'")


def require_plain(head: bytes, name: str) -> None:
    """Raises UserError where the beginning of a stream shows that it is packed, or UTF-16, or UTF-32."""
    for mark, what in PACKED:
        if head.startswith(mark):
            stays = what != "gzip" or name == "standard input" or name.endswith(".gz")
            way = "unpack it first" if stays else f"rename it to {PurePath(name).name}.gz"
            raise UserError(f"{name} is {what}, which its name does not say; {way}")
    if head and not head.strip(b"\0"):
        raise UserError(f"{name} holds zeros, not text; copy it again")
    encoding = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None) or wide(head)
    if encoding is not None:
        plain = encoding.upper().removesuffix("LE").removesuffix("BE")
        raise UserError(f"{name} is {plain}, not UTF-8; convert it: iconv -f {encoding} -t utf-8")


def wide(head: bytes) -> str | None:
    """Returns UTF-16 or UTF-32 for a text without a mark whose zeros show it, else None.

    In UTF-16 white space of ASCII has a zero beside it, always on the same side, where most zeros are. A stray zero in
    UTF-8 has neither property. Decoding is no proof: Russian in UTF-16 is valid UTF-8, too.
    """
    zeros = head.count(b"\0")
    if not zeros:
        return None
    for encoding, top, next_ in (("utf-32le", 3, 2), ("utf-32be", 0, 1)):
        if len(head) > 3 and not any(head[top::4]) and max(head[next_::4]) <= LAST_PLANE:
            return encoding
    for encoding, first in (("utf-16le", 1), ("utf-16be", 0)):  # first: of the bytes that are zero in ASCII
        beside = [
            high == 0 for high, low in zip(head[first::2], head[1 - first :: 2], strict=False) if low in b" \t\n\r"
        ]
        if head[first::2].count(0) > 0.75 * zeros and (sum(beside) > 0.2 * len(beside) or 2 * zeros > 0.9 * len(head)):
            return encoding
    return None


def not_utf8(name: str, line: int, offset: int, data: bytes, byte: int | None = None) -> UserError:
    """Returns the error for a byte that is not UTF-8. Zeros in the file make UTF-16 the likely encoding."""
    likely = "utf-16" if b"\0" in data[:HEAD] else "latin1"
    byte = data[offset] if byte is None else byte
    return UserError(
        f"{name} is not UTF-8: line {line} has the byte 0x{byte:02x} at offset {offset}; "
        f"convert it, for example with iconv -f {likely} -t utf-8"
    )
