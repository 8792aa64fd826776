"""A SentencePiece model as a tokeniser of ours: its file is a list of pieces and a few settings.   Kudo 2018.

The file is a protocol buffer, of which five kinds of fields are read here; nothing has to be installed for it.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from transduce.errors import UserError

UNIGRAM, BPE = 1, 2
UNKNOWN, CONTROL, USER = 2, 3, 4  # types of pieces; 1: normal, 6: one byte
SPACE = "▁"


class Piece(NamedTuple):
    text: str
    score: float
    type: int


def sentencepiece(path: Path) -> tokenizers.Tokenizer:
    """The tokeniser in a .model or .spm file. Raises UserError."""
    try:
        pieces, kind, charsmap, dummy, squeezed = parsed(path.read_bytes())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise UserError(f"{path} is no SentencePiece model ({error}); download it again") from None
    names = [piece.text for piece in pieces]
    unknown = next((i for i, piece in enumerate(pieces) if piece.type == UNKNOWN), None)
    if not pieces or unknown is None or len(set(names)) < len(names):
        raise UserError(f"{path} is no SentencePiece model that can be read: its pieces repeat, or none is unknown")
    bytes_too = any(piece.type == 6 for piece in pieces)
    if kind == UNIGRAM:
        model = models.Unigram([(p.text, p.score) for p in pieces], unknown, bytes_too)
    elif kind == BPE:
        ids = {name: i for i, name in enumerate(names)}
        model = models.BPE(ids, merges(pieces), unk_token=names[unknown], fuse_unk=True, byte_fallback=bytes_too)
    else:
        raise UserError(f"{path} is a SentencePiece model of words or characters; only unigram and BPE are read here")
    made = tokenizers.Tokenizer(model)
    steps = [normalizers.Precompiled(charsmap)] if charsmap else []
    scheme = "always" if dummy else "never"
    if squeezed:
        made.normalizer = normalizers.Sequence([*steps, normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=kind == UNIGRAM)
    else:  # every space counts, also the first
        steps += [normalizers.Prepend(SPACE)] if dummy else []
        made.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    if bytes_too:
        steps_back = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        made.decoder = decoders.Sequence([*steps_back, *([decoders.Strip(" ", 1, 0)] if dummy else [])])
    else:
        made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    made.add_special_tokens([AddedToken(p.text, normalized=False) for p in pieces if p.type in (UNKNOWN, CONTROL)])
    made.add_tokens([AddedToken(p.text, normalized=False) for p in pieces if p.type == USER])
    return made


def merges(pieces: list[Piece]) -> list[tuple[str, str]]:
    """Every way to join two pieces to a third, that of the best score first: what the file does not write down."""
    rank = {piece.text: i for i, piece in enumerate(pieces) if piece.type not in (UNKNOWN, CONTROL, USER, 6)}
    found: list[tuple[float, int, int, str, str]] = []
    for piece in pieces:
        for cut in range(1, len(piece.text)) if piece.text in rank else ():
            left, right = piece.text[:cut], piece.text[cut:]
            if left in rank and right in rank:
                found.append((-piece.score, rank[left], rank[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def parsed(data: bytes) -> tuple[list[Piece], int, bytes, bool, bool]:
    """Pieces, the kind of model, its table of characters, whether a space goes before, and whether spaces merge."""
    pieces, kind, charsmap, dummy, squeezed = list[Piece](), UNIGRAM, b"", True, True
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            text, score, type_ = "", 0.0, 1
            for inner, one in fields(value):
                if inner == 1 and isinstance(one, bytes):
                    text = one.decode("utf-8")
                elif inner == 2 and isinstance(one, bytes):
                    (score,) = struct.unpack("<f", one)
                elif inner == 3 and isinstance(one, int):
                    type_ = one
            pieces.append(Piece(text, score, type_))
        elif number == 2 and isinstance(value, bytes):
            kind = next((one for inner, one in fields(value) if inner == 3 and isinstance(one, int)), UNIGRAM)
        elif number == 3 and isinstance(value, bytes):
            found = dict(fields(value))
            table = found.get(2, b"")
            charsmap = table if isinstance(table, bytes) else b""
            dummy, squeezed = bool(found.get(3, 1)), bool(found.get(4, 1))
    return pieces, kind, charsmap, dummy, squeezed


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every field of a protocol buffer: a whole number, or bytes. Raises ValueError, IndexError."""
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
