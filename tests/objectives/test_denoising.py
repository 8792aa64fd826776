"""Denoising: what each of its changes does, how much of it, and that nothing but what was asked changes."""

from collections import Counter

import numpy as np
import pytest

from transduce.errors import UserError
from transduce.objectives.denoising import DenoisingConfig, deleted, infilled, lengths_of, masked, permuted, scattered
from transduce.objectives.sentences import endings, sentences
from transduce.text.tokenizer import Tokenizer

from .conftest import LENGTHS, TEXT

NONE = {"infill": 0.0, "permute": 0.0}


@pytest.mark.parametrize("size", LENGTHS)
@pytest.mark.parametrize("fraction", [0.15, 0.3, 1.0])
def test_spans_hold_exactly_so_many_tokens_and_lie_in_the_text(size: int, fraction: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lengths = lengths_of(size, fraction, 3.0, rng)
        spans = scattered(size, lengths, rng)
        assert sum(lengths) == round(size * fraction)
        assert sorted((spans[:, 1] - spans[:, 0]).tolist()) == sorted(lengths)
        assert not len(spans) or (spans[0, 0] >= 0 and spans[-1, 1] <= size)
        assert (spans[1:, 0] >= spans[:-1, 1]).all()


def test_lengths_are_those_of_poisson() -> None:
    drawn = [n for seed in range(50) for n in lengths_of(3000, 0.3, 3.0, np.random.default_rng(seed))[:-1]]
    assert np.mean(drawn) == pytest.approx(3.0, abs=0.05)
    assert np.var(drawn) == pytest.approx(3.0, abs=0.15)
    assert np.mean([n == 0 for n in drawn]) == pytest.approx(np.exp(-3), abs=0.01)


@pytest.mark.parametrize("size", LENGTHS)
def test_a_mask_stands_for_each_span(size: int, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    tokens, mask = stream[:size], tokenizer.mask
    for seed in range(20):
        source = infilled(tokens, mask, 0.3, 3.0, np.random.default_rng(seed))
        lengths = lengths_of(size, 0.3, 3.0, np.random.default_rng(seed))
        assert int((source == mask).sum()) == len(lengths)
        kept = source[source != mask].tolist()
        assert len(kept) == size - round(0.3 * size)
        rest = iter(tokens.tolist())
        assert all(token in rest for token in kept)  # in the order of the text


@pytest.mark.parametrize("size", LENGTHS)
def test_the_other_changes(size: int, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    tokens, ends = stream[:size], endings(tokenizer)
    rng = np.random.default_rng(0)
    assert len(deleted(tokens, 0.4, rng)) == size - min(round(0.4 * size), size - 1)
    hidden = masked(tokens, tokenizer.mask, 0.4, rng)
    assert int((hidden == tokenizer.mask).sum()) == round(0.4 * size)
    assert (hidden[hidden != tokenizer.mask] == tokens[hidden != tokenizer.mask]).all()
    moved = permuted(tokens, ends, rng)
    assert Counter(moved.tolist()) == Counter(tokens.tolist())
    turned, whole = DenoisingConfig(**NONE, rotate=1.0).corruption(tokenizer)(tokens, rng)
    assert Counter(turned.tolist()) == Counter(tokens.tolist())
    assert turned.tolist() in [np.roll(tokens, -i).tolist() for i in range(size)]
    assert np.array_equal(whole, tokens)
    same, _ = DenoisingConfig(**NONE).corruption(tokenizer)(tokens, rng)
    assert np.array_equal(same, tokens)


def test_sentences_are_permuted_whole(tokenizer: Tokenizer) -> None:
    tokens, ends = np.array(tokenizer.encode(TEXT)), endings(tokenizer)
    parts = sentences(tokens, ends)
    read = [tokenizer.decode(part.tolist()) for part in parts]
    assert [text.strip() for text in read[:3]] == [
        "The cat sat on the mat.", "It was warm there, and quiet!", "Who would not sleep?",
    ]  # fmt: skip
    assert "".join(read) == TEXT
    moved = [tuple(s.tolist()) for s in sentences(permuted(tokens, ends, np.random.default_rng(1)), ends)]
    assert Counter(moved) == Counter(tuple(part.tolist()) for part in parts)
    assert moved != [tuple(part.tolist()) for part in parts]


def test_the_target_is_the_whole_text(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    corrupt = DenoisingConfig(delete=0.1, mask=0.1, rotate=0.5).corruption(tokenizer)
    for size in (0, *LENGTHS):
        source, target = corrupt(stream[:size], np.random.default_rng(size))
        assert np.array_equal(target, stream[:size])
        assert (len(source) > 0) == (size > 0)


def test_what_has_no_meaning_is_refused() -> None:
    for keys in ({"infill": 1.1}, {"mean": 0.0}, {"rotate": -0.1}):
        with pytest.raises(UserError, match="must be"):
            DenoisingConfig(**keys)
