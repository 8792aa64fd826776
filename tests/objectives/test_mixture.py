"""The mixture of denoisers: each as likely, its mode in front, and as corrupted as the table says."""

from collections import Counter

import numpy as np
import pytest

from transduce.errors import UserError
from transduce.objectives.mixture import DENOISERS, MixtureConfig
from transduce.objectives.spans import filled
from transduce.text.byte import Byte
from transduce.text.tokenizer import Tokenizer

from .conftest import LENGTHS


@pytest.mark.parametrize("size", LENGTHS)
def test_the_text_comes_back_and_the_mode_says_how(size: int, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    corrupt, tokens = MixtureConfig().corruption(tokenizer), stream[:size]
    modes = {tokenizer.tokenizer.token_to_id(name): name for name in ("[R]", "[S]", "[X]")}
    seen, shares = Counter[str](), list[float]()
    for seed in range(210):
        source, target = corrupt(tokens, np.random.default_rng(seed))
        mode = modes[int(source[0])]
        seen[mode] += 1
        rest = source[1:].tolist()
        if mode == "[S]":
            assert rest + target.tolist() == tokens.tolist()
            shares.append(len(target) / size)
        else:
            assert filled(rest, target.tolist(), tokenizer.sentinels) == tokens.tolist()
    assert seen["[R]"] / 210 == pytest.approx(2 / 7, abs=0.1)
    assert seen["[X]"] / 210 == pytest.approx(4 / 7, abs=0.1)
    if size > 60:
        assert np.mean(shares) == pytest.approx(0.25, abs=0.08)


def test_there_are_the_seven_of_the_table() -> None:
    table = [(d.mode, d.mean, d.fraction) for d in DENOISERS]
    assert table == [
        ("[R]", 3, 0.15), ("[R]", 8, 0.15), ("[S]", None, 0.25), ("[X]", 3, 0.5), ("[X]", 8, 0.5), ("[X]", 64, 0.15),
        ("[X]", 64, 0.5),
    ]  # fmt: skip


def test_a_tokeniser_without_modes_is_refused() -> None:
    with pytest.raises(UserError, match=r"no \[R\]; set tokenizer.specials"):
        MixtureConfig().corruption(Byte(sentinels=100).train([]))
