"""SentencePiece models, written field by field, and a SentencePiece of our own to read them with, as a reference."""

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
UNIGRAM, BPE = 1, 2


def number(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(key: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return number(key << 3) + number(value)
    return number(key << 3 | 2) + number(len(value)) + value


def piece(text: str, score: float, type: int = NORMAL) -> bytes:
    inner = field(1, text.encode()) + number(2 << 3 | 5) + struct.pack("<f", score) + field(3, type)
    return field(1, inner)


def model(
    kind: int, pieces: Sequence[bytes], dummy: bool = True, charsmap: bytes = b"", bytes_: bool = False, unk: int = 0,
) -> bytes:  # fmt: skip
    trainer = field(3, kind) + field(35, int(bytes_)) + field(40, unk)
    table = field(2, charsmap) if charsmap else b""
    return b"".join([*pieces, field(2, trainer), field(3, table + field(3, int(dummy)) + field(4, 1))])


def charsmap(rules: Mapping[str, str]) -> bytes:
    """A table of replacements, as a double array: the children of a node lie in 256 places of their own."""
    nodes: list[dict[int, int]] = [{}]
    values: dict[int, int] = {}
    texts = b""
    for old, new in rules.items():
        at = 0
        for byte in old.encode():
            if byte not in nodes[at]:
                nodes[at][byte] = len(nodes)
                nodes.append({})
            at = nodes[at][byte]
        values[at] = len(texts)
        texts += new.encode() + b"\0"
    units = [0] * (256 * (len(nodes) + 1))
    units[0] = 256 << 10
    for i, children in enumerate(nodes):
        base = 256 * (i + 1)
        for byte, child in children.items():
            place = base ^ byte
            units[place] = (place ^ 256 * (child + 1)) << 10 | (child in values) << 8 | byte
        if i in values:
            units[base] = 1 << 31 | values[i]
    trie = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(trie)) + trie + texts


class Processor:
    """Cuts texts as SentencePiece does, in the plainest way. No table of characters."""

    def __init__(self, **_: Any) -> None:
        self.rows: list[tuple[str, float, int]] = []

    def Load(self, path: str) -> None:
        from pathlib import Path

        from transduce.text.sentencepiece import parsed

        proto = parsed(Path(path))
        assert not proto.charsmap
        self.rows, self.kind, self.dummy = [tuple(p) for p in proto.pieces], proto.kind, proto.dummy
        self.scores = {text: score for text, score, type in self.rows if type in (NORMAL, USER)}

    def encode(self, text: str, out_type: type = str) -> list[str]:
        words = [word for word in text.split(" ") if word]
        if not words:
            return []
        text = "▁" * self.dummy + "▁".join(words)
        cut = self.likeliest(text) if self.kind == UNIGRAM else self.joined(text)
        out: list[str] = []
        strange = False
        for one in cut:
            if strange and one not in self.scores:
                out[-1] += one
            else:
                out.append(one)
            strange = one not in self.scores
        return out

    def likeliest(self, text: str) -> list[str]:
        low = min(self.scores.values()) - 10
        best: list[tuple[float, list[str]]] = [(0.0, [])]
        for end in range(1, len(text) + 1):
            ways = [
                (best[at][0] + self.scores.get(text[at:end], low), [*best[at][1], text[at:end]])
                for at in range(end)
                if text[at:end] in self.scores or end - at == 1
            ]
            best.append(max(ways, key=lambda way: way[0]))
        return best[-1][1]

    def joined(self, text: str) -> list[str]:
        parts = list(text)
        while True:
            ways = [
                (self.scores[a + b], -i) for i, (a, b) in enumerate(pairwise(parts))
                if a + b in self.scores
            ]  # fmt: skip
            if not ways:
                return parts
            i = -max(ways)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]

    def decode(self, pieces: Sequence[str]) -> str:
        text = "".join(pieces)
        return (text[1:] if text.startswith("▁") else text).replace("▁", " ")

    decode_pieces = decode
