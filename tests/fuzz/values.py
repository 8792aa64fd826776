"""Values that people and accidents put where something else is wanted."""

from random import Random
from typing import Any

LOOKS = [
    "", " ", "0", "-1", "1", "1.10", "007", "010", "12:30", "1e4", "1e400", "no", "on", "true", "null", "~",
    "2021-05-03",
    "2021-13-45", "exp #2", "'x'", '"x"', "[", "[a]", "[1, 2]", "[[1], {a: b}]", "{a: b}", "{kind: [x]}",
    "{kind: {a: b}}",
    "a: b", "*a", "&a", "!!int 3", "!!python/name:os.system", "=", "<<", "|", "nan", ".inf", "-.inf", "none", "auto",
    "x" * 300,
    "9" * 30, "9" * 5000, "ä", "a\u0301", "\u2028", "\x00", "\x1b[31m", "\ud800", "a\nb", "../x", "a/b", ".",
    "~nobody/x", "%s",
    "[a] * 1000000000000", "²", "٣", "1_000", "0x" + "f" * 40, "step-²",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 3, 5, 7, 8, 16, 31, 64, 100, 255, 1000, 4096, 20_000, 10**6, 10**9, 2**31 - 1, 2**31, 2**32, 10**12,
    2**53, 2**62, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**19, 10**400, 0.0, 0.1, 0.5, 1.0, 1.5, -0.5, 1e-30, 1e30,
    float("inf"), float("-inf"), float("nan"),
]  # fmt: skip


def number(random: Random) -> int | float:
    return random.choice(NUMBERS)


def text(random: Random) -> str:
    """Returns a look, or a few random characters."""
    if random.random() < 0.7:
        return random.choice(LOOKS)
    ranges = ((32, 126), (0, 31), (0xA0, 0x2FF), (0x300, 0x36F), (0x900, 0x97F), (0x4E00, 0x4E80), (0x1F600, 0x1F640))
    return "".join(chr(random.randint(*random.choice(ranges))) for _ in range(random.randint(0, 12)))


def value(random: Random, depth: int = 2) -> Any:
    """Returns plain data of any type."""
    sort = random.choice(["number", "number", "text", "text", "none", "bool", "list", "mapping"])
    if sort == "number":
        return number(random)
    if sort == "text" or depth == 0:
        return text(random)
    if sort == "list":
        return [value(random, depth - 1) for _ in range(random.randint(0, 3))]
    if sort == "mapping":
        keys = ["kind", "a", "layers", "path", "times", "mixer", "1"]
        return {random.choice(keys): value(random, depth - 1) for _ in range(random.randint(0, 3))}
    return None if sort == "none" else random.random() < 0.5


def spoilt(random: Random, content: bytes) -> bytes:
    """Returns the bytes of a file, damaged."""
    way = random.choice(["flip", "flip", "letter", "cut", "drop", "double", "insert", "empty", "zeros", "random"])
    at = random.randrange(len(content) + 1)
    end = min(len(content), at + random.choice([1, 2, 7, 100]))
    if way == "flip" and content:
        at = min(at, len(content) - 1)
        return content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]
    if way == "letter" and content:
        at = min(at, len(content) - 1)
        return (
            content[:at]
            + random.choice([b"x", b"0", b"9", b"-", b'"', b"[", b"{", b":", b" ", b"\n"])
            + content[at + 1 :]
        )
    if way == "cut":
        return content[:at]
    if way == "drop":
        return content[:at] + content[end:]
    if way == "double":
        return content[:end] + content[at:]
    if way == "insert":
        return content[:at] + text(random).encode("utf-8", "surrogatepass") + content[at:]
    if way == "zeros":
        return content[:at] + bytes(end - at) + content[end:]
    return b"" if way == "empty" else random.randbytes(random.randint(1, 64))
