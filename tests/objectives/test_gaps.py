"""Gap sentences: which are chosen, and that the text comes back."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from transduce.objectives.gaps import GapSentencesConfig, rouge
from transduce.objectives.sentences import endings, sentences
from transduce.text.tokenizer import Tokenizer

from .conftest import LENGTHS


@pytest.mark.parametrize("size", [0, *LENGTHS])
@pytest.mark.parametrize("choose", ["principal", "random", "lead"])
def test_a_mask_stands_for_each_sentence_that_is_written(
    size: int, choose: Any, tokenizer: Tokenizer, stream: np.ndarray
) -> None:
    tokens = stream[:size]
    source, target = GapSentencesConfig(choose=choose).corruption(tokenizer)(tokens, np.random.default_rng(0))
    whole, written = sentences(tokens, endings(tokenizer)), sentences(target, endings(tokenizer))
    gaps = int((source == tokenizer.mask).sum())
    assert gaps == (max(round(0.3 * len(whole)), 1) if size else 0)
    assert len(source) - gaps + len(target) == size
    parts, back = iter(written), list[int]()
    for token in source.tolist():
        back += next(parts).tolist() if token == tokenizer.mask else [token]
    assert back == tokens.tolist()
    assert next(parts, None) is None


def test_rouge_is_that_of_its_definition() -> None:
    assert rouge(np.array([1, 2, 2, 3]), Counter([2, 2, 2, 4])) == pytest.approx(2 * (2 / 4 * 2 / 4) / (2 / 4 + 2 / 4))
    assert rouge(np.array([1]), Counter[int]()) == 0.0


def test_the_principal_sentence_says_most_of_the_rest(tokenizer: Tokenizer) -> None:
    text = "A dog and a cat ran in the park. Bees. The dog ran in the park with a cat. Rain fell. The cat sat."
    tokens = np.array(tokenizer.encode(text))
    made = GapSentencesConfig(fraction=0.2).corruption(tokenizer)(tokens, np.random.default_rng(0))
    assert tokenizer.decode(made.target.tolist()).strip() in (
        "A dog and a cat ran in the park.", "The dog ran in the park with a cat.",
    )  # fmt: skip
