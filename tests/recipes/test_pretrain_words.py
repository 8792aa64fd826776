"""A recipe of words, and its benchmark: perplexity is one number, however it is found, and of the same targets."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce.text.word import Word

TRAIN = [" ", "the cat sat on the mat", "", "the <unk> sat", "a cat saw the dog on a mat", "the dog sat"] * 3
VALID = ["the dog saw a <unk>", "", "a bird sat on the mat", "the cat"]  # bird is not in train
TARGETS = 6 + 1 + 7 + 3
SMALL: dict[str, Any] = {
    "model.width": 12, "batch.max_length": 5, "batch.batch_tokens": 5, "optimizer.learning_rate": 0.01,
    "train.max_steps": 4, "schedule.warmup_steps": 0, "train.samples": 0, "train.device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def words() -> Any:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("words", Path(__file__).parents[2] / "benchmarks" / "words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    for name, lines in (("train", TRAIN), ("valid", VALID)):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def shrink(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the benchmark train small models."""
    settings = words.settings

    def small(name: str, data: Path, vocabulary: int, steps: int) -> dict[str, Any]:
        return {**settings(name, data, vocabulary, steps), **SMALL, "train.max_steps": steps}

    monkeypatch.setattr(words, "settings", small)


@pytest.mark.parametrize("name", ["LSTM", "Transformer"])
@pytest.mark.parametrize("edges", [(), (4, 9)], ids=["softmax", "adaptive"])
def test_the_loss_of_a_training_is_that_of_scores_and_of_as_many_targets(
    words: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, edges: tuple[int, ...]
) -> None:
    lines = words.read(str(folder))
    assert (lines["train"], lines["valid"]) == (TRAIN, VALID)
    targets, _ = words.counted(lines, Word(split="whitespace").train(TRAIN))
    assert targets == TARGETS
    monkeypatch.setattr(words, "EDGES", edges)
    shrink(words, monkeypatch)
    monkeypatch.setitem(words.TRANSFORMER, "model.mixer", {"kind": "attention", "heads": 2, "window": 3})
    data = words.written(lines, tmp_path / "data")
    size, perplexity, count = words.learnt(name, data, 13, 4, tmp_path)
    assert count == targets
    run = td.load(tmp_path / name.lower(), device="cpu")
    assert size == sum(p.numel() for p in run.model.parameters())
    assert run.recipe.model.head.kind == ("adaptive" if edges else "linear")
    (scores,) = run.score([(data / "test.txt").read_text()])
    assert len(scores.tokens) == targets
    assert math.exp(-scores.total / targets) == pytest.approx(perplexity, rel=1e-5)
    evaluation = run.evaluate("test")
    assert evaluation.count == targets
    assert evaluation.values["perplexity"].value == pytest.approx(perplexity, rel=1e-6)


def test_sentences_apart_are_scored_with_their_end_and_without_their_start(folder: Path, tmp_path: Path) -> None:
    apart = {"data.path": str(folder), "data.unit": "line", "batch.carry": False, "name": "apart", **SMALL}
    apart |= {"batch.max_length": 9, "batch.batch_tokens": 20}  # no sentence is cut
    td.train("pretrain-words", apart, out=tmp_path, quiet=True)
    run = td.load(tmp_path / "apart", device="cpu")
    rows = [line for line in VALID if line]
    scores = run.score(rows)
    assert [len(one.tokens) for one in scores] == [len(row.split()) + 1 for row in rows]
    evaluation = run.evaluate("valid")
    assert evaluation.count == TARGETS - 1  # the empty line is no sentence
    assert -sum(one.total for one in scores) / evaluation.count == pytest.approx(evaluation.loss, rel=1e-5)


def test_counted_perplexity_is_that_of_words_one_by_one(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probability of each word from the distribution of all after what stands before it in its line."""
    from transduce.reproduce.ancestors.kneser_ney import KneserNey

    monkeypatch.setattr(words, "ORDERS", (3,))
    tokenizer = Word(split="whitespace").train(TRAIN)
    targets, perplexities = words.counted({"train": TRAIN, "valid": VALID}, tokenizer)
    grams, total = KneserNey(tokenizer.encode_batch(TRAIN), tokenizer.vocab_size, 3, tokenizer.bos, tokenizer.eos), 0.0
    for row in tokenizer.encode_batch(VALID):
        for t, word in enumerate([*row, tokenizer.eos]):
            total -= math.log(float(grams.next([tokenizer.bos, *row][: t + 1])[word]))
    ((order, perplexity),) = perplexities
    assert (order, perplexity) == (3, pytest.approx(math.exp(total / targets), rel=1e-9))


def test_one_table_has_them_all(
    words: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(words, monkeypatch)
    words.main(str(folder), 50, 4, 1e-9, tmp_path)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    names = [row[0].removeprefix("| ") for row in rows]
    assert names == ["model", "---", *(f"Kneser-Ney, order {n}" for n in range(2, 6)), "LSTM", "Transformer"]
    assert all(1 < float(row[-2]) < 100 for row in rows[2:])
    assert [row[2] for row in rows[-2:]] == ["1", "1"]  # updates in no time
