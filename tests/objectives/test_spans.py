"""Span corruption: shares and spans as in the paper, sentinels in order, nothing lost, nothing shown."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import transduce as td
from transduce.errors import UserError
from transduce.objectives.corruption import ids
from transduce.objectives.spans import SpanCorruptionConfig, filled, hidden_spans, named
from transduce.text.byte import Byte
from transduce.text.tokenizer import Tokenizer

from .conftest import LENGTHS


def test_the_example_of_the_paper() -> None:
    """Figure 2 of Raffel et al. 2020: two spans, three sentinels."""
    text = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    tokens, names = np.arange(len(text)), [100, 101, 102]
    made = named(tokens, np.array([[2, 4], [8, 9]]), names)
    shown = [text[i] if i < 100 else f"<{'XYZ'[i - 100]}>" for i in made.source.tolist()]
    written = [text[i] if i < 100 else f"<{'XYZ'[i - 100]}>" for i in made.target.tolist()]
    assert " ".join(shown) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(written) == "<X> for inviting <Y> last <Z>"


@pytest.mark.parametrize("size", LENGTHS)
@pytest.mark.parametrize(("fraction", "mean"), [(0.15, 3.0), (0.5, 1.0), (0.5, 8.0), (0.9, 64.0)])
def test_nothing_is_lost_and_nothing_shown(
    size: int, fraction: float, mean: float, tokenizer: Tokenizer, stream: np.ndarray
) -> None:
    corrupt = SpanCorruptionConfig(fraction=fraction, mean=mean).corruption(tokenizer)
    tokens, names = stream[:size], tokenizer.sentinels
    for seed in range(20):
        source, target = corrupt(tokens, np.random.default_rng(seed))
        assert filled(source.tolist(), target.tolist(), names) == tokens.tolist()
        shown, written = (np.isin(x, names) for x in (source, target))
        count = int(shown.sum())
        assert source[shown].tolist() == list(names[:count])  # in order, each once
        assert target[written].tolist() == list(names[: count + 1])
        hidden = len(target) - count - 1
        assert len(source) - count + hidden == size  # a token is shown or written, never both
        assert hidden == min(max(round(size * fraction), 1), max(size - 1, 1))
        again = corrupt(tokens, np.random.default_rng(seed))
        assert np.array_equal(again.source, source)


def test_what_is_hidden_changes_nothing_that_is_shown(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    corrupt = SpanCorruptionConfig().corruption(tokenizer)
    for seed in range(20):
        tokens, other = stream[:80], stream[:80].copy()
        spans = hidden_spans(80, 0.15, 3.0, np.random.default_rng(seed))
        for start, stop in spans.tolist():
            other[start:stop] = stream[200]
        one, two = (corrupt(x, np.random.default_rng(seed)) for x in (tokens, other))
        assert np.array_equal(one.source, two.source)
        assert not np.array_equal(one.target, two.target)


def test_spans_do_not_touch_and_every_place_is_hidden_alike() -> None:
    lengths, places = list[int](), np.zeros(512)
    for seed in range(300):
        spans = hidden_spans(512, 0.15, 3.0, np.random.default_rng(seed))
        assert (spans[1:, 0] > spans[:-1, 1]).all()
        lengths += (spans[:, 1] - spans[:, 0]).tolist()
        for start, stop in spans.tolist():
            places[start:stop] += 1
    assert np.mean(lengths) == pytest.approx(77 / 26)  # 77 tokens in 26 spans, exactly
    assert min(lengths) == 1
    inner = places[20:480].reshape(10, -1).mean(1) / 300
    assert inner == pytest.approx(np.full(10, 0.15), abs=0.03)


def test_too_few_sentinels_are_told_with_their_number(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"objective=span-corruption needs 2 .* set tokenizer.sentinels=100"):
        SpanCorruptionConfig().corruption(Byte().train([]))
    corrupt = SpanCorruptionConfig(fraction=0.5, mean=1.0).corruption(Byte(sentinels=5).train([]))
    with pytest.raises(UserError, match=r"needs 51 tokens .* has 5"):
        corrupt(stream[:100], np.random.default_rng(0))


@pytest.mark.parametrize("keys", [{"fraction": 0.0}, {"fraction": 1.0}, {"mean": 0.5}, {"mean": float("nan")}])
def test_what_has_no_meaning_is_refused(keys: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be"):
        SpanCorruptionConfig(**keys)


def test_no_tokens_give_no_targets(tokenizer: Tokenizer) -> None:
    source, target = SpanCorruptionConfig().corruption(tokenizer)(ids(), np.random.default_rng(0))
    assert (len(source), len(target)) == (0, 0)


def test_the_statistics_on_real_text(shared: Path) -> None:
    with gzip.open(shared / "data" / "wikitext-2" / "valid.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read(200_000)
    tokenizer = Byte(sentinels=100).train([])
    stream = np.array(tokenizer.encode(text), dtype=np.int64)
    corrupt, hidden, spans, total = SpanCorruptionConfig().corruption(tokenizer), 0, 0, 0
    for i, start in enumerate(range(0, len(stream) - 512, 512)):
        source, _ = corrupt(stream[start : start + 512], np.random.default_rng(i))
        count = int(np.isin(source, tokenizer.sentinels).sum())
        hidden, spans, total = hidden + 512 - (len(source) - count), spans + count, total + 512
    assert hidden / total == pytest.approx(0.15, abs=0.001)
    assert hidden / spans == pytest.approx(3.0, abs=0.05)


def test_an_encoder_decoder_learns_goes_on_exactly_and_fills_blanks(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat and the rat ran to the man\n" * 60)
    tiny = {
        "data.path": str(tmp_path / "t.txt"), "data.valid_fraction": 0.2, "model.layers": 1, "model.width": 16,
        "model.mixer.heads": 2, "model.feedforward.hidden": 32, "tokenizer.vocab_size": 280, "batch.max_length": 32,
        "batch.batch_tokens": 128, "schedule.kind": "constant", "schedule.warmup_steps": 1, "train.max_steps": 8,
        "train.validate_every": 4, "train.threads": 1, "generate.max_new_tokens": 8, "train.samples": 2,
        "optimizer.learning_rate": 0.01,
    }  # fmt: skip
    once = td.train("pretrain-t5", tiny, out=tmp_path / "a", quiet=True)
    td.train("pretrain-t5", {**tiny, "train.max_steps": 4}, out=tmp_path / "b", quiet=True)
    twice = td.train("pretrain-t5", tiny, out=tmp_path / "b", quiet=True)
    assert once.result is not None
    assert twice.result is not None
    assert once.result["valid"]["loss"] == twice.result["valid"]["loss"]
    assert (once.last / "model.safetensors").read_bytes() == (twice.last / "model.safetensors").read_bytes()
    model = td.load(once.path)
    [answer] = model.predict(["the <mask> sat"])
    assert answer.text.startswith("the")
    assert answer.text.endswith(" sat")
    with pytest.raises(UserError, match="301 blanks"):
        model.predict(["<mask> " * 301])
    with pytest.raises(UserError, match="fills in blanks; use predict"):
        next(model.stream("the cat"))
