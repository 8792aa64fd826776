"""Word models and lost words: sentences, and experiments whose subject has been made wrong on purpose."""

import gzip
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from transduce.errors import UserError
from transduce.reproduce import sentences
from transduce.reproduce.ancestors import kneser_ney
from transduce.reproduce.experiments import imputation, word_models
from transduce.reproduce.fit import decoder
from transduce.reproduce.sentences import BOS, EOS, UNK, Sentences, batch_of, grammar, log_p, mean_loss, step_by_step

from .conftest import small
from .test_sabotage import missed, part_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = " \n = A title = \n\nThe cat sat . the DOG sat down .\nthe <unk> cat\none two three four five six\n"
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(train.encode()))
    (tmp_path / "valid.txt").write_text("the bird sat .\n", "utf-8")
    return tmp_path


def test_sentences_end_with_their_line_or_a_full_stop(folder: Path) -> None:
    text = Sentences.read(folder, 7, 5, (10, 10), 0)
    assert text.words == ["<s>", "</s>", "<unk>", "the", ".", "cat", "sat"]
    assert sorted(text.train) == [[3, UNK, 5], [3, UNK, 6, UNK, 4], [3, 5, 6, 4]]
    assert text.valid == [[3, UNK, 6, 4]]
    assert len(Sentences.read(folder, 7, 5, (2, 1), 0).train) == 2
    with pytest.raises(UserError, match="no sentence of 1 to 1 words; give one sentence per line"):
        Sentences.read(folder, 7, 1, (2, 1), 0)


def test_sentences_that_are_not_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give --data DIR, a folder with train\.txt and valid\.txt"):
        small("word-models").measure(0, None)
    with pytest.raises(UserError, match=r"train\.txt does not exist"):
        small("word-models").measure(0, tmp_path)


def test_a_batch_predicts_every_word_and_the_end() -> None:
    batch = batch_of([[5, 6, 7], [8]])
    assert batch.inputs.tolist() == [[BOS, 5, 6, 7], [BOS, 8, 0, 0]]
    assert batch.targets.tolist() == [[5, 6, 7, EOS], [8, EOS, -1, -1]]


def test_all_ways_of_reading_give_the_same() -> None:
    model, rows = decoder(9, 0, width=8, layers=1).eval(), [[3, 4, 5], [6, 3, 3]]
    steps = step_by_step(model, rows)
    assert log_p(model, torch.tensor(rows)).tolist() == pytest.approx(steps, abs=1e-5)
    assert mean_loss(model, [*rows, [7]], rows=2) == pytest.approx(-sum([*steps, *step_by_step(model, [[7]])]) / 10)


def test_a_grammar_is_a_distribution_of_sentences_that_agree() -> None:
    p = grammar(2, random.Random(0))
    assert sum(p.values()) == pytest.approx(1)
    assert len({word for sentence in p for word in sentence}) == 8 - 2 + 2 * (4 * 5 + 2 + 1)  # two prepositions
    articles = {sentence[0] for sentence in p}
    assert len(articles) == 2
    plural = {sentence[0] for sentence in p if sentence[1].endswith("s")}  # a noun right behind
    assert len(plural) == 1
    for sentence in p:  # no other words end in s
        verbs = {8: 1, 9: 1, 12: 2, 13: 2}[len(sentence)]
        assert sum(word.endswith("s") for word in sentence) == (1 if sentence[0] in plural else verbs)
    assert grammar(2, random.Random(0)) == p != grammar(2, random.Random(1))


def test_levenshtein_is_its_definition() -> None:
    source = random.Random(0)
    pairs = [["".join(source.choices("abc", k=source.randint(0, 8))) for _ in range(2)] for _ in range(1000)]
    for a, b in pairs:
        assert imputation.levenshtein(a, b) == imputation.definition(a, b) == table(a, b)
    assert imputation.levenshtein("kitten", "sitting") == 3


def table(a: str, b: str) -> int:
    """Wagner & Fischer 1974, the whole table."""
    d = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        d[i, j] = min(d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    return d[len(a), len(b)]


def test_the_words_that_are_tried_stand_in_their_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows one sentence."""
    words, original = ["<s>", "</s>", "a", "b", "c", "d"], [2, 4, 3, 5]

    def known(model: Any, rows: torch.Tensor) -> torch.Tensor:
        return torch.tensor([5.0 if row == original else 0.0 for row in rows.tolist()])

    monkeypatch.setattr(imputation, "log_p", known)
    model = decoder(6, 0, width=8, layers=1)
    q = imputation.by_model(model, words, ("a", "b", "d"))
    assert q.shape == (2, 6)
    assert float(q.sum()) == pytest.approx(1)
    assert float(q[:, :2].sum()) == 0  # <s> and </s> are no words
    assert float(q[0, 4]) == pytest.approx(float(q[1, 2]) * torch.e**5, rel=1e-4)
    assert imputation.restored(("a", "b", "d"), words, q, 1) == [("a", "c", "b", "d")]
    grammars = imputation.by_grammar({("a", "c", "b", "d"): 0.2, ("a", "b", "a", "d"): 0.1}, words, ("a", "b", "d"))
    assert grammars[0, 4] == pytest.approx(2 / 3)
    assert grammars[1, 2] == pytest.approx(1 / 3)


def test_of_sentences_far_from_each_other_the_one_between_is_nearest() -> None:
    words, q = ["<s>", "</s>", "aaaaaa", "bbbbbb"], torch.zeros(3, 4)
    given = ("k", "lmnopqrst", "uvwxyzcde", "f")
    q[0, 2], q[0, 3] = 0.5, 0.5  # 0 or 6 for either word, 7 for none
    assert imputation.least_expected(given, words, q, 2) == ("k", "aaaaaa", *given[1:])
    q[0, 3], q[0, 2], q[1, 2], q[2, 2] = 0, 0.34, 0.33, 0.33  # 14 for another gap, 7 for none
    assert imputation.least_expected(given, words, q, 3) == given


@pytest.fixture
def by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Transformer knows the grammar."""
    known, real = dict[str, Any](), imputation.grammar

    def remembered(topics: int, source: random.Random) -> Any:
        known["p"] = real(topics, source)
        return known["p"]

    monkeypatch.setattr(imputation, "grammar", remembered)
    monkeypatch.setattr(
        imputation, "by_model", lambda model, words, given: imputation.by_grammar(known["p"], words, given)
    )


@pytest.mark.usefixtures("by_heart")
@pytest.mark.parametrize(
    ("part", "wrong", "seen"),
    [
        ("restored", lambda given, words, q, count: [(*given, words[2])] * count, "distance, threshold / unchanged"),
        ("by_model", lambda model, words, given: torch.ones(len(given) - 1, len(words)), "gap found / chance"),
        ("levenshtein", lambda a, b: abs(len(a) - len(b)), "Levenshtein distances that differ from the definition"),
        ("levenshtein", lambda a, b: len(set(a) ^ set(b)), "distance, unchanged, off the mean length + 1 by"),
    ],
)
def test_a_wrong_part_of_imputation_is_seen(monkeypatch: pytest.MonkeyPatch, part: str, wrong: Any, seen: str) -> None:
    experiment = part_of("imputation", topics=2, tests=20, width=8, layers=1, steps=1, batch=2)
    assert not missed(experiment)
    monkeypatch.setattr(imputation, part, wrong)
    assert seen in missed(experiment)


def level(keys: torch.Tensor, counts: torch.Tensor, histories: int, symbols: int) -> Any:
    """Nothing is freed by discounting."""
    known = LEVEL(keys, counts, histories, symbols)
    return known._replace(left=torch.zeros_like(known.left))


def without_end(model: Any, ends: Any, targets: Any) -> Any:
    return SCORE(model, ends, targets=targets, ends=False)


def one_place_further(batch: int, tokens: int, start: int) -> Any:
    return DENSE(batch, tokens, start + 1)


LEVEL, SCORE, DENSE = kneser_ney.level, word_models.score, sentences.dense
SUMS, SCORES, STEPS = (mark.what for mark in word_models.WordModels.marks[1:])


@pytest.mark.parametrize(
    ("module", "part", "wrong", "seen"),
    [
        (kneser_ney, "level", level, SUMS),
        (word_models, "score", without_end, SCORES),
        (sentences, "dense", one_place_further, STEPS),
    ],
)
def test_a_wrong_part_of_word_models_is_seen(
    monkeypatch: pytest.MonkeyPatch, text: Path, module: Any, part: str, wrong: Any, seen: str
) -> None:
    experiment = small("word-models")
    assert not missed(experiment, text) & {SUMS, SCORES, STEPS}
    monkeypatch.setattr(module, part, wrong)
    assert missed(experiment, text) & {SUMS, SCORES, STEPS} == {seen}


def test_a_transformer_that_learns_nothing_is_worse_than_counting(text: Path) -> None:
    assert "perplexity, Transformer / Kneser-Ney" in missed(part_of("word-models", steps=0, width=16, layers=1), text)
