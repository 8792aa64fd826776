"""SentencePiece models, written here field by field."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from transduce.errors import UserError
from transduce.text.published import published
from transduce.text.sentencepiece import BPE, UNIGRAM, parsed
from transduce.text.tokenizer import Tokenizer

from .hf_layouts import say
from .sentencepiece_files import BYTE, CONTROL, UNKNOWN, USER, model, piece

SPECIAL = [piece("<unk>", 0, UNKNOWN), piece("<s>", 0, CONTROL), piece("</s>", 0, CONTROL)]
LETTERS = "▁abcdehlorw,"
BYTES = [piece(f"<0x{b:02X}>", 0, BYTE) for b in range(256)]
MERGED = ["▁h", "el", "lo", "▁hel", "▁hello", "▁w", "or", "▁wor", "ld", "▁world"]


def bpe() -> bytes:
    merged = [piece(text, -float(i)) for i, text in enumerate(MERGED)]
    letters = [piece(c, -100.0 - i) for i, c in enumerate(LETTERS)]
    return model(BPE, [*SPECIAL, *BYTES, *letters, *merged], bytes_=True)


def unigram() -> bytes:
    words = [("▁hello", -2.0), ("▁", -3.0), ("hel", -4.0), ("lo", -4.5), ("▁world", -2.5)]
    letters = [piece(c, -8.0 - i / 10) for i, c in enumerate(LETTERS) if c != "▁"]
    return model(UNIGRAM, [*SPECIAL, *(piece(w, s) for w, s in words), *letters, piece("<sep>", 0, USER)])


def read(folder: Path, data: bytes, name: str, kind: str, **options: object) -> Tokenizer:
    (folder / name).write_bytes(data)
    say(folder, "tokenizer_config", tokenizer_class=kind, **options)
    return published(folder)


def tokens(made: Tokenizer, text: str) -> list[str]:
    return made.tokenizer.encode(text, add_special_tokens=False).tokens


def test_bpe_merges_what_was_merged_first_and_falls_back_to_bytes(tmp_path: Path):
    made = read(tmp_path, bpe(), "tokenizer.model", "LlamaTokenizer")
    assert tokens(made, "hello world") == ["▁hello", "▁world"]
    assert tokens(made, "é") == ["▁", "<0xC3>", "<0xA9>"]
    assert made.decode(made.encode("hello  é wor")) == "hello  é wor"


def test_unigram_takes_the_likeliest_pieces(tmp_path: Path):
    made = read(tmp_path, unigram(), "spiece.model", "XLNetTokenizer")
    assert tokens(made, "hello world") == ["▁hello", "▁world"]
    assert tokens(made, "  hel   lo ") == ["▁", "hel", "▁", "lo"]
    assert "<sep>" in tokens(made, "hello<sep>")
    assert made.decode(made.encode("hello world")) == "hello world"


def test_what_stands_around_a_text_is_that_of_its_class(tmp_path: Path):
    made = read(tmp_path, bpe(), "tokenizer.model", "LlamaTokenizer", add_bos_token=True)
    assert (made.marks.before, made.marks.after) == ((1,), ())
    (tmp_path / "tokenizer.model").unlink()
    made = read(tmp_path, unigram(), "spiece.model", "T5Tokenizer")
    assert (made.marks.before, made.marks.after) == ((), (2,))


def test_damaged_models_are_refused(tmp_path: Path):
    path, whole = tmp_path / "spm.model", unigram()
    random.seed(0)
    say(tmp_path, "tokenizer_config", tokenizer_class="DebertaV2Tokenizer")
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with suppress(UserError):
            parsed(path)
    for _ in range(300):
        data = bytearray(whole)
        data[random.randrange(len(data))] ^= random.randrange(1, 256)
        path.write_bytes(data)
        with suppress(UserError):
            published(tmp_path).encode("hello world")
    path.write_bytes(model(3, SPECIAL))
    with pytest.raises(UserError, match="only unigram and BPE"):
        published(tmp_path)
