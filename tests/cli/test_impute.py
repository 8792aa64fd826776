"""Sentences that have lost a word: p by n-grams against its definition, and what the command prints."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from transduce.api.imputing import Imputer, imputer
from transduce.generate.score import Scores

TEXT = ["the cat sat on the mat", "the dog sat on the rug", "a cat ran to the dog", "the dog ran to a mat"] * 3


class Fair:
    """A model that finds all texts of one length alike."""

    def score(self, texts: list[str]) -> list[Scores]:
        return [Scores(-2.0 * len(text.split()), []) for text in texts]


@pytest.fixture(scope="module")
def small() -> Imputer:
    model: Any = Fair()
    return Imputer(model, TEXT, vocabulary=20, proposals=500)


def test_what_n_grams_find_is_the_probability_of_the_whole_sentence(small: Imputer) -> None:
    sentence = ("the", "sat", "on", "the", "mat")
    guess = small.by_grams(sentence)
    rows = [(gap, word) for gap in range(1, len(sentence)) for word in small.names[3:]]
    whole = [[*sentence[:gap], word, *sentence[gap:]] for gap, word in rows]
    log_p = small.grams.log_p([small.numbers(words) for words in whole])
    total = sum(map(math.exp, log_p))
    exact = {row: math.exp(one) / total for row, one in zip(rows, log_p, strict=True)}
    ours = dict(zip(zip(guess.gaps, guess.words, strict=True), guess.p, strict=True))
    assert ours.keys() == exact.keys()
    for row, p in exact.items():
        assert ours[row] == pytest.approx(p, rel=1e-9)
    assert sum(guess.p) == pytest.approx(1)


def test_a_model_shares_what_n_grams_propose(small: Imputer) -> None:
    guess = small.by_model([("the", "sat", "on")])[0]
    assert guess.p == pytest.approx([1 / len(guess.p)] * len(guess.p))
    done = small.impute(["the sat on the mat", "the", "", "a  b"], threshold=1.1)
    assert [one.text for one in done] == ["the sat on the mat", "the", "", "a  b"]
    put = small.impute(["the sat on the mat"], threshold=0.0)[0]
    assert len(put.text.split()) == 6


def test_rows_are_measured_on_the_same_sentences(small: Imputer) -> None:
    nothing, grams, model, always = small.measure([*TEXT, "too short"], 0.3)
    assert nothing.distance == pytest.approx(sum(len(word) + 1 for word in ("cat",)) * 1.0, abs=2)
    assert grams.gaps is not None
    assert grams.gaps >= 3 * grams.chance
    assert grams.distance < nothing.distance
    assert model.inserted == 0.0
    assert model.distance == nothing.distance
    assert always.inserted == 1.0
    assert (always.gaps, always.words) == (model.gaps, model.words)
    assert always == small.measure(TEXT, 0.0)[2]._replace(name=always.name)
    assert always.distance == small.measure(TEXT, 0.0)[1].distance  # what is alike to it stays in the order of n-grams
    assert small.measure(TEXT, 0.3) == small.measure(TEXT, 0.3)


def test_the_command(cli: Any, letters: Path, dates: Path) -> None:
    texts = ["the quick fox jumps", "the", "", "over lazy dog"]
    found = cli("impute", letters, stdin=("\n".join(texts) + "\n").encode())
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert len(lines) == 4
    assert lines[1:3] == ["the", ""]
    made = [json.loads(line) for line in cli("impute", letters, *texts[:1], "--json").out.splitlines()]
    assert made[0]["gap"] in (1, 2, 3)
    assert 0 <= made[0]["probability"] <= 1
    Path("some.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 3)
    table = cli("impute", letters, "--file", "some.txt", "--measure")
    assert all(name in table.out for name in ("nothing is done", "3-grams", "the model", "the model, always"))
    rows = json.loads(cli("impute", letters, "--file", "some.txt", "--measure", "--json").out)["rows"]
    assert rows[1]["gaps"] == 1.0
    for words, sentence in (
        ([dates, "a b"], "trained for task=translate|score"),
        ([letters, "a", "--file", "some.txt"], "there are texts and a file; give one of them"),
        ([letters, "a b", "--words", "empty.txt"], "there is no word in the texts"),
        ([letters, "x", "--measure"], "no line has three words or more"),
        ([letters, "a b", "--proposals", "0"], "--proposals"),
    ):
        Path("empty.txt").write_text("\n")
        answer = cli("impute", *words)
        assert answer.code != 0
        assert "Traceback" not in answer.err
        assert len(answer.err.strip().splitlines()[-1:]) == 1
        assert any(part in answer.err for part in sentence.split("|")), answer.err
    assert imputer(letters, words="some.txt").names[3:5] == ["the", "quick"]
