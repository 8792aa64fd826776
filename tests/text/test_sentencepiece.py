"""SentencePiece models, written here field by field."""

import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from transduce.errors import UserError
from transduce.text.published import published
from transduce.text.sentencepiece import BPE, UNIGRAM, sentencepiece

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6


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


def model(kind: int, pieces: list[bytes], dummy: bool = True) -> bytes:
    return b"".join([*pieces, field(2, field(3, kind)), field(3, field(3, int(dummy)) + field(4, 1))])


SPECIAL = [piece("<unk>", 0, UNKNOWN), piece("<s>", 0, CONTROL), piece("</s>", 0, CONTROL)]
LETTERS = "▁abcdehlorw,"
BYTES = [piece(f"<0x{b:02X}>", 0, BYTE) for b in range(256)]
MERGED = ["▁h", "el", "lo", "▁hel", "▁hello", "▁w", "or", "▁wor", "ld", "▁world"]


def bpe() -> bytes:
    merged = [piece(text, -float(i)) for i, text in enumerate(MERGED)]
    return model(BPE, [*SPECIAL, *BYTES, *merged, *(piece(c, -100.0 - i) for i, c in enumerate(LETTERS))])


def unigram() -> bytes:
    words = [("▁hello", -2.0), ("▁", -3.0), ("hel", -4.0), ("lo", -4.5), ("▁world", -2.5)]
    letters = [piece(c, -8.0 - i / 10) for i, c in enumerate(LETTERS) if c != "▁"]
    return model(UNIGRAM, [*SPECIAL, *(piece(w, s) for w, s in words), *letters, piece("<sep>", 0, USER)])


def test_bpe_merges_what_the_scores_say_and_falls_back_to_bytes(tmp_path: Path):
    (tmp_path / "tokenizer.model").write_bytes(bpe())
    made = sentencepiece(tmp_path / "tokenizer.model")
    assert made.encode("hello world").tokens == ["▁hello", "▁world"]
    assert made.encode("é").tokens == ["▁", "<0xC3>", "<0xA9>"]
    assert made.decode(made.encode("hello  é wor", add_special_tokens=False).ids) == "hello é wor"


def test_unigram_takes_the_likeliest_pieces(tmp_path: Path):
    (tmp_path / "spiece.model").write_bytes(unigram())
    made = sentencepiece(tmp_path / "spiece.model")
    assert made.encode("hello world").tokens == ["▁hello", "▁world"]
    assert made.encode("  hel   lo ").tokens == ["▁", "hel", "▁", "lo"]
    assert "<sep>" in made.encode("hello<sep>").tokens
    assert made.decode(made.encode("hello world").ids) == "hello world"


def test_what_stands_around_a_text_is_that_of_its_kind(tmp_path: Path):
    (tmp_path / "tokenizer.model").write_bytes(bpe())
    said = '{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"%s}'
    (tmp_path / "tokenizer_config.json").write_text(said % ', "add_bos_token": true')
    assert (published(tmp_path).marks.before, published(tmp_path).marks.after) == ((1,), ())
    (tmp_path / "tokenizer.model").write_bytes(unigram())
    (tmp_path / "tokenizer_config.json").write_text(said % "")
    assert (published(tmp_path).marks.before, published(tmp_path).marks.after) == ((), (2,))


def test_damaged_models_are_refused(tmp_path: Path):
    path, whole = tmp_path / "spm.model", unigram()
    random.seed(0)
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with suppress(UserError):
            sentencepiece(path)
    for _ in range(300):
        data = bytearray(whole)
        data[random.randrange(len(data))] ^= random.randrange(1, 256)
        path.write_bytes(data)
        with suppress(UserError):
            sentencepiece(path).encode("hello world")
    path.write_bytes(model(3, SPECIAL))
    with pytest.raises(UserError, match="only unigram and BPE"):
        sentencepiece(path)
