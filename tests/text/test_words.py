"""Ids of words that are looked up are the ids of the tokeniser, for every kind and every way of cutting a text."""

import sys
from collections.abc import Sequence
from unicodedata import category

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from transduce.data.examples import ids
from transduce.errors import UserError
from transduce.text import words
from transduce.text.bpe import Bpe
from transduce.text.byte import Byte
from transduce.text.char import Char
from transduce.text.tokenizer import Tokenizer, TokenizerConfig
from transduce.text.unigram import Unigram
from transduce.text.word import Word

TEXTS = ["The cat's hat sat; the dog didn't.", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich"]
CONFIGS: list[TokenizerConfig] = [
    Byte(), *(kind(normalise=form) for kind in (Char, Word, Bpe, Unigram) for form in ("nfc", "nfkc", "none")),
    Word(split="whitespace"), *(kind(lowercase=True) for kind in (Word, Bpe, Unigram)),
]  # fmt: skip
ODD = [c for c in map(chr, range(sys.maxunicode + 1)) if category(c)[0] in "ZM" or category(c) in ("Cc", "Cf")]
ALL = [c for c in map(chr, range(0, 0x20000, 31)) if category(c) != "Cs"]
MADE = {repr(config): config.train(TEXTS * 40) for config in CONFIGS}
GRAINS = ["a", "B", "'s", "é", "e", "\u0301", "ﬁ", "1", "!", " ", " ", "\n", "\n", "\t", "\r", "\xa0", "\u2003", "\x1c",
          "\x85", "ΣΣ", "İ", "</s>", "<pad>", "語", "\u0e33", "\U0001f600", "\u200d", "\xa8"]  # fmt: skip


def expected(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer.encode_batch(texts)


def looked_up(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    flat, lengths = tokenizer.encode_flat(texts)
    assert flat.dtype == np.int32
    assert len(flat) == lengths.sum()
    return [row.tolist() for row in np.split(flat, lengths.cumsum()[:-1])] if len(texts) else []


@pytest.mark.parametrize("name", MADE)
def test_what_is_looked_up_is_what_the_tokeniser_gives_for_every_character_beside_every_space(name: str) -> None:
    tokenizer = MADE[name]
    assert tokenizer.stretches == ("nfkc" not in name)
    spaces = [c for c in ODD if category(c)[0] in "ZC"]
    thorough = name in (repr(Bpe()), repr(Word()), repr(Char()))  # what a character is, no vocabulary decides
    for form in ("a{0}b {0}c\n{0} \n{0}{0}  {0}", "{0}"):
        texts = [form.format(c) for c in ([*ODD, *ALL] if thorough else spaces)]
        assert looked_up(tokenizer, texts) == expected(tokenizer, texts), form


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(GRAINS), max_size=30).map("".join), max_size=4), size=st.integers(1, 20))
def test_a_text_may_be_cut_where_two_stretches_meet(name: str, texts: list[str], size: int) -> None:
    tokenizer = MADE[name]
    assert looked_up(tokenizer, texts) == expected(tokenizer, texts)
    if tokenizer.stretches:
        for text in texts:
            parts = list(words.pieces(text, size))
            assert "".join(parts) == text
            assert [i for row in expected(tokenizer, parts) for i in row] == tokenizer.encode(text)


def test_words_are_forgotten_when_there_are_too_many_and_long_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Bpe().train(TEXTS)
    texts = [" ".join(f"{i * 7 % 1000} {word}\n" for i, word in enumerate(TEXTS[n % 2].split() * 9)) for n in range(9)]
    for most, part in ((10, 1 << 20), (1 << 18, 50), (30, 7)):
        monkeypatch.setattr(words, "MOST", most)
        monkeypatch.setattr(words, "PART", part)
        assert looked_up(tokenizer, texts) == expected(tokenizer, texts)
    assert looked_up(tokenizer, []) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.Metaspace()),
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        lambda t: setattr(t, "normalizer", normalizers.Prepend("_")),
        lambda t: setattr(t, "normalizer", normalizers.Replace(" ", "")),
        lambda t: t.add_tokens(["a cat"]),
        lambda t: t.enable_truncation(3),
        lambda t: t.enable_padding(length=5),
        lambda t: setattr(t.model, "dropout", 0.5),
    ],
)
def test_a_tokeniser_whose_words_depend_on_what_stands_around_them_reads_whole_texts(change) -> None:
    tokenizer = Bpe().train(TEXTS)
    change(tokenizer.tokenizer)
    assert not words.stretches(tokenizer.tokenizer)


def test_half_a_character_is_refused_by_the_number_of_its_text() -> None:
    with pytest.raises(UserError, match=r"text 1 holds '\\ud800', half of a character; remove it"):
        Bpe().train(TEXTS).encode_flat(["a b c", "d \ud800"])


@pytest.mark.parametrize(("before", "after"), [((), ()), ((1,), ()), ((1, 5), (2,)), ((), (2, 3))])
def test_tokens_stand_around_each_row(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    rows = ids(["a cat", "", "the hat"], Bpe().train(TEXTS))
    wrapped = rows.between(before, after)
    assert [wrapped[i].tolist() for i in range(3)] == [[*before, *rows[i].tolist(), *after] for i in range(3)]
