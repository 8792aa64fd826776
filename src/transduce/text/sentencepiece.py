"""The file of a SentencePiece model: a list of pieces and a few settings.   Kudo 2018, arXiv:1808.06226.

The file is a protocol buffer, whose fields are read here; nothing has to be installed for it.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Regex, normalizers

from transduce.errors import UserError

UNIGRAM, BPE = 1, 2
UNKNOWN, CONTROL, USER, BYTE = 2, 3, 4, 6  # types of pieces; 1: normal
SPACE = "▁"
# Fields of the trainer's settings, by number.
TRAINER = {3: "kind", 35: "bytes_", 40: "unk", 41: "bos", 42: "eos"}
PIECES = {45: "unk_piece", 46: "bos_piece", 47: "eos_piece"}


class Piece(NamedTuple):
    text: str
    score: float
    type: int


class Proto(NamedTuple):
    """A .model or .spm file: its pieces, and the settings it was trained with.

    kind: UNIGRAM or BPE.
    charsmap: a table by which characters are normalised (empty: they are not).
    dummy: a space goes before every text.
    squeezed: spaces at the ends are dropped, and several count as one.
    bytes_: unknown characters are written byte by byte.
    """

    pieces: list[Piece]
    kind: int = UNIGRAM
    charsmap: bytes = b""
    dummy: bool = True
    squeezed: bool = True
    bytes_: bool = False
    unk: int = 0
    bos: int = 1
    eos: int = 2
    unk_piece: str = "<unk>"
    bos_piece: str = "<s>"
    eos_piece: str = "</s>"


def normalizer(proto: Proto) -> Any:
    """Returns what SentencePiece itself does to a text before it cuts it, a space at the beginning excepted."""
    steps: list[Any] = [normalizers.Precompiled(proto.charsmap)] if proto.charsmap else []
    if proto.squeezed:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)


def merges_of(ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Returns every way to join two tokens to a third, that of the lowest id first, as transformers 5 orders them."""
    pairs: list[tuple[tuple[int, int, int, int, int], str, str]] = []
    for name, i in ids.items():
        for cut in range(1, len(name)):
            left, right = name[:cut], name[cut:]
            if left in ids and right in ids:
                pairs.append(((i, len(left), len(right), ids[left], ids[right]), left, right))
    return [(left, right) for _, left, right in sorted(pairs)]


def merges(pieces: list[Piece]) -> list[tuple[str, str]]:
    """Returns every way to join two pieces to a third, that of the best score first: what the file does not write."""
    rank = {piece.text: i for i, piece in enumerate(pieces) if piece.type not in (UNKNOWN, CONTROL, USER, BYTE)}
    pairs: list[tuple[float, int, int, str, str]] = []
    for piece in pieces:
        for cut in range(1, len(piece.text)) if piece.text in rank else ():
            left, right = piece.text[:cut], piece.text[cut:]
            if left in rank and right in rank:
                pairs.append((-piece.score, rank[left], rank[right], left, right))
    return [(left, right) for *_, left, right in sorted(pairs)]


def parsed(path: Path) -> Proto:
    """Returns what a .model or .spm file says. Raises UserError."""
    try:
        proto = decoded(path.read_bytes())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise UserError(f"{path} is no SentencePiece model ({error}); download it again") from None
    names = [piece.text for piece in proto.pieces]
    if proto.kind not in (UNIGRAM, BPE):
        raise UserError(f"{path} is a SentencePiece model of words or characters; only unigram and BPE are read here")
    if not any(piece.type == UNKNOWN for piece in proto.pieces) or len(set(names)) < len(names):
        raise UserError(f"{path} is no SentencePiece model that can be read: its pieces repeat, or none is unknown")
    return proto


def decoded(data: bytes) -> Proto:
    """Returns the fields of a file that matter here. Raises ValueError, IndexError or struct.error."""
    proto = Proto([])
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            proto.pieces.append(piece(value))
        elif number == 2 and isinstance(value, bytes):
            settings = dict(fields(value))
            numbers = {name: settings[i] for i, name in TRAINER.items() if isinstance(settings.get(i), int)}
            numbers = {name: x - (1 << 64) if isinstance(x, int) and x >> 63 else x for name, x in numbers.items()}
            texts = {name: x.decode("utf-8") for i, name in PIECES.items() if isinstance(x := settings.get(i), bytes)}
            proto = proto._replace(**numbers, **texts)
        elif number == 3 and isinstance(value, bytes):
            settings = dict(fields(value))
            table = settings.get(2, b"")
            proto = proto._replace(
                charsmap=table if isinstance(table, bytes) else b"", dummy=bool(settings.get(3, 1)),
                squeezed=bool(settings.get(4, 1)),
            )  # fmt: skip
    return proto._replace(bytes_=bool(proto.bytes_))


def piece(data: bytes) -> Piece:
    """Returns one of the pieces. Raises ValueError, IndexError or struct.error."""
    size = data[1] if len(data) > 1 else 0
    if data[:1] == b"\x0a" and size < 128 and len(data) == size + 7 and data[size + 2] == 0x15:  # as nearly all are
        return Piece(data[2 : size + 2].decode("utf-8"), struct.unpack_from("<f", data, size + 3)[0], 1)
    text, score, type_ = "", 0.0, 1
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            type_ = value
    return Piece(text, score, type_)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (number, value) of every field of a protocol buffer: a whole number, or bytes.

    Raises ValueError or IndexError.
    """
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError(f"a number at byte {at} does not end")

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
            continue
        if key & 7 not in (1, 2, 5):
            raise ValueError(f"a field at byte {at} is of a type that does not exist")
        size = number() if key & 7 == 2 else (8 if key & 7 == 1 else 4)
        if size > len(data) - at:
            raise ValueError(f"a field at byte {at} is longer than the file")
        yield key >> 3, data[at : at + size]
        at += size
