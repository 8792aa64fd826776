from itertools import pairwise

import numpy as np
import pytest

from transduce.data.columns import Columns
from transduce.data.doctor import Bar, Token, examine, header, histogram, lengths, overlap
from transduce.data.examples import Ragged, overlong
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.tasks.language import Documents, LanguageConfig, Stream
from transduce.tasks.translate import Pairs, TranslateConfig
from transduce.text.byte import Byte
from transduce.text.char import Char


def pairs(sources: list[str], targets: list[str]) -> Columns:
    return Columns({"source": sources, "target": targets})


def texts(values: list[str]) -> Columns:
    return Columns({"text": values})


SPLITS = {
    "train": pairs(["ab", "ab", "ab", "same", " ", "long text"], ["x", "x", "y", "same", "z", "w"]),
    "valid": pairs(["ab", "new?"], ["x", "y"]),
}


def look(splits, tokenizer, stream=False, **values):
    task = TranslateConfig() if "source" in splits["train"].names else LanguageConfig(stream=stream)
    encoded = {name: task.examples(columns, Readers(tokenizer)) for name, columns in splits.items()}
    return examine(splits, encoded, tokenizer, BatchConfig(**values))


@pytest.fixture(scope="module")
def findings():
    return look(SPLITS, Char().train([*SPLITS["train"]["source"], *SPLITS["train"]["target"]]), max_length=8)


def test_repeats_copies_empty_and_long_texts_are_counted(findings):
    train = findings.splits["train"]
    assert (train.examples, train.duplicates, train.disagreeing, train.copies, train.overlong) == (6, 1, 1, 1, 1)
    assert train.columns["source"].empty == 1
    assert train.truncated == pytest.approx(1 / 6)
    assert findings.overlap == {("train", "valid"): 1}


def test_unknown_and_unused_tokens_are_counted(findings):
    assert findings.splits["train"].columns["source"].unknown == 0
    assert findings.splits["valid"].columns["source"].unknown == pytest.approx(1 / 6)  # the question mark
    assert findings.unused == 1  # <unk>
    assert look(SPLITS, Byte().train([])).unused == 260 - 3 - len(set("absame long textxyzw"))


def test_advice_names_what_to_do(findings):
    advice = findings.advice()
    assert any("16.7% of train is longer than batch.max_length; raise it" in line for line in advice)
    assert any("of the tokens of valid are <unk>; a byte or bpe tokeniser" in line for line in advice)
    assert any("train has 1 empty texts; remove their lines" in line for line in advice)
    assert any("1 targets of train are copies of their source" in line for line in advice)
    assert any("1 of 6 examples of train are repeats" in line for line in advice)
    assert any("1 examples of valid (50.0%) stand in train too" in line for line in advice)


def test_clean_data_needs_no_advice():
    splits = {"train": pairs(["a", "b"], ["c", "d"]), "valid": pairs(["c"], ["a"])}
    assert look(splits, Char().train("abcd")).advice() == []


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize(
    ("first", "looks"), [(("source", "target"), True), (("German", " English"), True), (("text", "a label"), False)]
)
def test_a_first_line_that_names_columns_is_seen(split, first, looks):
    splits = {"train": pairs(["a", "b"], ["c", "d"]), "valid": pairs(["e"], ["f"])}
    sources, targets = splits[split].values.values()
    splits[split] = pairs([first[0], *sources], [first[1], *targets])
    assert (header(splits) == first) is looks
    advice = look(splits, Byte().train([])).advice()
    assert any("looks like names of columns; set data.header=true" in line for line in advice) is looks
    assert header({"train": texts(["text"])}) is None


def test_the_preview_shows_what_is_trained():
    (row,) = look({"train": pairs(["ab"], ["xy"])}, Char().train("abxy")).preview
    assert row.source == (Token("a", False), Token("b", False), Token("</s>", False))
    assert row.target == (Token("<s>", False), Token("x", True), Token("y", True), Token("</s>", True))
    packed = look({"train": texts(["x", "y"])}, Char().train("xy"), packing=True).preview
    assert packed[0].source == ()
    assert [token.text for token in packed[0].target].count("<s>") == 2
    assert [token.trained for token in packed[0].target] == [False, True, True] * 2


def test_a_stream_is_examined_too():
    found = look({"train": Columns({"stream": ["abcdefgh" * 9]})}, Char().train("abcdefgh"), stream=True, max_length=8)
    assert list(found.splits["train"].columns) == ["stream"]
    assert found.splits["train"].overlong == 0
    assert found.padding == 0
    assert [token.trained for token in found.preview[0].target] == [False] + [True] * 8


def test_a_histogram_counts_every_text_once():
    lengths = np.array([3, 3, 4, 30, 31, 500], dtype=np.int64)
    bars = histogram(lengths)
    assert sum(bar.texts for bar in bars) == 6
    assert bars[0].low == 3
    assert bars[-1].high == 500
    assert all(left.high + 1 == right.low for left, right in pairwise(bars))
    assert all(bar.texts == int(((lengths >= bar.low) & (lengths <= bar.high)).sum()) for bar in bars)
    assert histogram(np.full(9, 7, dtype=np.int64)) == (Bar(7, 7, 9),)
    assert histogram(np.zeros(0, dtype=np.int64)) == ()


def test_lost_tokens_are_counted_as_they_are_lost():
    ids = Char().train("ab")
    examples = Pairs(Ragged.of([[5] * 9, [5]]), Ragged.of([[5] * 3, [5]]), ids)
    assert overlong(examples, BatchConfig(max_length=4)) == (1, pytest.approx(6 / 18))
    assert overlong(examples, BatchConfig(max_length=4, overlong="drop")) == (1, pytest.approx(14 / 18))
    long = Ragged.of([[5] * 99])
    assert overlong(Documents(long, ids), BatchConfig(max_length=4, packing=True)) == (0, 0.0)
    assert overlong(Stream(long), BatchConfig(max_length=4)) == (0, 0.0)
    assert overlong(Documents(long, ids), BatchConfig(max_length=4))[0] == 1


def test_no_text_has_no_lengths():
    assert lengths([], Ragged.of([]), 3).longest == 0
    assert overlap(texts(["a"]), texts(["a", "a", "b"])) == 2
