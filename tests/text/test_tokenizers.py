"""Laws of every tokeniser that discovery finds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.text.tokenizer import SPECIALS, Tokenizer, TokenizerConfig

CORPUS = [
    "Zwei junge weiße Männer sind im Freien, in der Nähe vieler Büsche.",
    "Two young, White males are outside near many bushes.\nA second line, with  two spaces.",
    "年月日 — 20 ноября 2026 г. ✓ 🙂👩‍👧 e\u0301 \u0085 \u2028 ",
    "<s> is a tag, <unk> and </s> and <pad> too",
] * 3
KINDS = {name: kind for name, kind in kinds("transduce.text").items() if name != "file"}  # which is there already
LOSSLESS = ["byte", "bpe", "unigram"]
SIZES = {"bpe": {"vocab_size": 400}, "unigram": {"vocab_size": 400}}


def config(kind: str, **values: object) -> TokenizerConfig:
    return from_data(KINDS[kind], {**SIZES.get(kind, {}), **values})


TRAINED = {kind: config(kind).train(CORPUS) for kind in KINDS}
AS_IT_STANDS = {kind: config(kind, normalise="none").train(CORPUS) for kind in ("bpe", "unigram", "char")}
AS_IT_STANDS["byte"] = TRAINED["byte"]


@pytest.fixture(params=list(KINDS))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return TRAINED[request.param]


def test_the_kinds_are_found_by_walking_the_folder():
    assert list(kinds("transduce.text")) == ["bpe", "byte", "char", "file", "unigram", "word"]


def test_bpe_merges_what_is_seen_often_enough():
    """Of "ab", seen three times, and "cd", seen once."""
    trained = [config("bpe", min_count=n).train(["ab", "ab", "ab", "cd"]) for n in (1, 2, 3, 4)]
    tokens = [tuple(len(tokenizer.encode(text)) for text in ("ab", "cd")) for tokenizer in trained]
    assert tokens == [(1, 1), (1, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=st.text())
def test_decoding_undoes_encoding_of_any_text(kind: str, text: str):
    tokenizer = AS_IT_STANDS[kind]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
@pytest.mark.parametrize("kind", ["bpe", "char", "unigram", "word"])
def test_ways_of_writing_a_character_are_one_to_a_tokeniser_that_normalises(kind: str, form: str):
    """Whichever of them it was trained on, and whichever it reads."""
    texts = ["café naïve Ünïcode 한국어 Việt", "ﬁne ① Ｗide ½", "ड़ क़ שׁ"]
    for written in ("NFC", "NFD"):
        tokenizer = config(kind, normalise=form).train([normalize(written, text) for text in texts])
        ids = tokenizer.encode_batch([normalize(form.upper(), text) for text in texts])
        for other in ("NFC", "NFD", *(["NFKC", "NFKD"] if form == "nfkc" else [])):
            assert tokenizer.encode_batch([normalize(other, text) for text in texts]) == ids
        assert tokenizer.unk not in {i for row in ids for i in row}
        assert tokenizer.folds is (form == "nfkc")
        if kind != "word":
            assert tokenizer.decode_batch(ids) == [normalize(form.upper(), text) for text in texts]


@pytest.mark.parametrize("kind", ["bpe", "char", "unigram", "word"])
def test_without_normalising_a_text_is_read_as_it_stands_and_stays_so_when_saved(kind: str, tmp_path: Path):
    tokenizer = config(kind, normalise="none").train(["café", "naïve"])
    assert json.loads(tokenizer.tokenizer.to_str())["normalizer"] is None
    assert tokenizer.encode(normalize("NFD", "café")) != tokenizer.encode("café")
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    for text in ("café", normalize("NFD", "café")):
        assert loaded.encode(text) == tokenizer.encode(text)
    with pytest.raises(UserError, match="`normalise` is 'nfx', but must be one of nfc, nfkc, none"):
        config(kind, normalise="nfx")


def test_a_megabyte_survives_bpe():
    """Of words in many scripts, most of which the tokeniser has never seen."""
    random = Random(0)
    scripts = ["".join(map(chr, range(*ends))) for ends in ((97, 123), (224, 383), (1072, 1104), (20000, 20900))]
    words = ["".join(random.choices(script, k=random.randint(1, 9))) for script in scripts for _ in range(2000)]
    text = " ".join(random.choices([*words, *CORPUS, "\n", "  ", "🙂", "\u0000", "42"], k=100_000))
    assert len(text.encode()) > 1_000_000
    tokenizer = AS_IT_STANDS["bpe"]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=st.text(alphabet=sorted(set("".join(CORPUS)))))
def test_decoding_undoes_encoding_of_known_characters(text: str):
    tokenizer = AS_IT_STANDS["char"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(text)


@pytest.mark.parametrize("text", ["", " ", "\n", "  a", "a\r\n", "</s>", "<s><pad>", "a</s>b", "\ufffd", "\x00", "Ġ▁"])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_awkward_texts_survive(kind: str, text: str):
    tokenizer = TRAINED[kind]
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_special_token_in_the_text_is_text(tokenizer: Tokenizer):
    ids = tokenizer.encode("a</s>b <s> <pad></s>")
    assert not {tokenizer.pad, tokenizer.bos, tokenizer.eos} & set(ids)


def test_words_cut_at_white_space_cannot_forge_special_tokens_but_may_be_unknown():
    tokenizer = config("word", split="whitespace").train(["a b , </s> <unk> <s>"])
    ids = tokenizer.encode("a </s> <s> <pad> <unk> a, ,")
    assert not {tokenizer.pad, tokenizer.bos, tokenizer.eos} & set(ids)
    assert tokenizer.encode("<unk>") == [tokenizer.unk] == [3]
    assert sorted(tokenizer.tokenizer.get_vocab().values()) == list(range(tokenizer.vocab_size))
    assert tokenizer.encode("a ,")[1] == tokenizer.encode(",")[0]


def test_special_tokens_are_the_first_ids(tokenizer: Tokenizer):
    assert (tokenizer.pad, tokenizer.bos, tokenizer.eos, tokenizer.unk) == (0, 1, 2, 3)
    assert tokenizer.pieces([0, 1, 2, 3]) == SPECIALS
    assert len(tokenizer.tokenizer.get_vocab()) == tokenizer.vocab_size


def test_decoding_is_silent_about_padding_start_and_end(tokenizer: Tokenizer):
    ids = tokenizer.encode("Two young males")
    assert tokenizer.decode([1, *ids, 2, 0, 0]) == tokenizer.decode(ids)


def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer):
    batch = tokenizer.encode_batch(CORPUS)
    assert batch == [tokenizer.encode(text) for text in CORPUS]
    assert tokenizer.decode_batch(batch) == [tokenizer.decode(ids) for ids in batch]


def test_training_twice_gives_the_same_file(tokenizer: Tokenizer):
    kind = next(k for k, t in TRAINED.items() if t is tokenizer)
    for _ in range(3):
        assert config(kind).train(CORPUS).tokenizer.to_str() == tokenizer.tokenizer.to_str()


@given(ids=st.data())
@settings(max_examples=300)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_stream_gives_what_decoding_all_gives(kind: str, ids: st.DataObject):
    tokenizer = TRAINED[kind]
    row = ids.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    stream = tokenizer.stream()
    parts = [stream.push(i) for i in row]
    assert "".join(parts) + stream.finish() == tokenizer.decode(row)


@given(text=st.text(max_size=60))
@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_stream_never_gives_half_a_character(kind: str, text: str):
    tokenizer, given_so_far = AS_IT_STANDS[kind], ""
    stream = tokenizer.stream()
    for i in tokenizer.encode(text):
        given_so_far += stream.push(i)
        assert text.startswith(given_so_far)
    assert given_so_far + stream.finish() == text
    assert given_so_far.rstrip("\ufffd") == text.rstrip("\ufffd")  # nothing but U+FFFD itself waits for the end


def test_a_saved_tokeniser_is_the_same(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = Tokenizer.load(tmp_path / "new" / "folder")
    assert loaded.encode_batch(CORPUS) == tokenizer.encode_batch(CORPUS)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert (loaded.pad, loaded.bos, loaded.eos, loaded.unk) == (0, 1, 2, 3)
    assert loaded.decode(loaded.encode("a</s>b")) == tokenizer.decode(tokenizer.encode("a</s>b"))


def test_transformers_reads_the_same_ids_and_text(tokenizer: Tokenizer, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    texts = [text for text in CORPUS if "<" not in text]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(texts)
    for ids in tokenizer.encode_batch(texts):
        assert theirs.decode(ids, clean_up_tokenization_spaces=False) == tokenizer.decode(ids)


def test_byte_ids_are_the_bytes():
    assert TRAINED["byte"].encode("aé") == [4 + b for b in "aé".encode()]
    assert TRAINED["byte"].vocab_size == 260


def test_pieces_show_parts_of_characters_as_bytes():
    tokenizer = TRAINED["byte"]
    assert tokenizer.pieces(tokenizer.encode("aé ")) == ["a", r"\xc3", r"\xa9", " "]


def test_rare_characters_can_be_left_unknown():
    tokenizer = config("char", min_count=2).train(["aab"])
    assert tokenizer.encode("ab") == [4, 3]
    assert tokenizer.decode([4, 3]) == "a<unk>"


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word"])
def test_lower_case_is_an_option(kind: str):
    tokenizer = config(kind, lowercase=True).train(CORPUS)
    assert tokenizer.encode("Two") == tokenizer.encode("two")


def test_words_are_joined_by_spaces_and_line_ends_are_words():
    tokenizer = config("word").train(["a b, c\n"])
    assert tokenizer.decode(tokenizer.encode("a  b, c\nd")) == "a b , c \n <unk>"


def test_no_text_at_all_still_gives_a_tokeniser():
    for kind in KINDS:
        assert config(kind).train([]).vocab_size >= 4


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_vocabulary_too_small_for_the_bytes_is_refused(kind: str):
    with pytest.raises(UserError, match=r"vocab_size=100 is less than the 260 of 256 bytes.*tokenizer\.kind=byte"):
        config(kind, vocab_size=100)


def test_other_impossible_sizes_are_refused():
    with pytest.raises(UserError, match="vocab_size=4 leaves no room for words"):
        config("word", vocab_size=4)
    with pytest.raises(UserError, match="min_count=0 must be at least 1"):
        config("char", min_count=0)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(UserError, match=r"text 0 holds '\\ud800', half of a character"):
        TRAINED["byte"].encode("a\ud800")


def test_a_missing_or_broken_file_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"tokenizer\.json does not exist"):
        Tokenizer.load(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": "1.0", "model')
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokeniser"):
        Tokenizer.load(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        Tokenizer.load(tmp_path)
    TRAINED["byte"].save(tmp_path)
    data = json.loads(path.read_text())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] != "</s>"]
    del data["model"]["vocab"]["</s>"]
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="has no token </s>; it needs <pad>, <s> and </s>"):
        Tokenizer.load(tmp_path)


def test_ids_beyond_the_number_of_tokens_are_refused(tmp_path: Path):
    TRAINED["char"].save(tmp_path)
    path = tmp_path / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"]["a"] = 5000
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"the tokeniser has the id 5000, but only \d+ tokens, whose ids must be 0 to"):
        Tokenizer.load(tmp_path)


def test_forking_after_parallel_work_warns_of_nothing():
    code = (
        "import os\nfrom transduce.text.byte import Byte\nt = Byte().train([])\nt.encode_batch(['a'] * 100)\n"
        "pid = os.fork()\nif pid == 0:\n    t.encode_batch(['a'] * 2)\n    os._exit(0)\nos.waitpid(pid, 0)"
    )
    env = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
