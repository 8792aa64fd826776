"""Causally masked language models: moved spans come back, names are read and not predicted."""

import numpy as np
import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.causal_masked import CausalMaskedConfig, apart, following, moved
from transduce.objectives.corruption import Frame
from transduce.objectives.spans import filled
from transduce.text.byte import Byte
from transduce.text.tokenizer import Tokenizer

from .conftest import LENGTHS


@pytest.mark.parametrize("size", LENGTHS)
def test_the_text_comes_back(size: int, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    names, tokens = tokenizer.sentinels, stream[:size]
    for seed in range(40):
        text = CausalMaskedConfig(mean=3.0).corrupt(tokens, names, np.random.default_rng(seed)).tolist()
        count = sum(token in names for token in text) // 2
        assert 1 <= count <= 16
        assert len(text) == size + 2 * count
        assert [token for token in text if token in names] == [*names[:count], *names[:count]]
        second = [i for i, token in enumerate(text) if token == names[0]][1]
        assert filled(text[:second], text[second:], names) == tokens.tolist()


def test_the_number_of_spans_is_that_of_the_paper() -> None:
    spans = [apart(100, 1, np.random.default_rng(i))[0] for i in range(2000)]
    sizes = [stop - start for start, stop in (one.tolist() for one in spans)]
    assert np.mean(sizes) == pytest.approx(101 / 3, rel=0.05)  # of two different places of 101, drawn evenly
    assert min(sizes) == 1
    many = apart(100, 16, np.random.default_rng(0))
    assert (many[1:, 0] > many[:-1, 1]).all()


def test_names_are_not_predicted(tokenizer: Tokenizer) -> None:
    model = from_data(DecoderConfig, {"width": 12, "layers": 1, "mixer": {"heads": 3}}).build(tokenizer.vocab_size)
    names = tokenizer.sentinels
    text = moved(np.array([10, 11, 12, 13]), np.array([[1, 3]]), names)
    assert text.tolist() == [10, names[0], 13, names[0], 11, 12]
    given = Batch(torch.zeros(1, 4, dtype=torch.int64), dense(1, 4), torch.zeros(1, 4))
    batch = following(given, [[text]], Frame.of(tokenizer, model), names)
    assert batch.inputs.tolist() == [[tokenizer.bos, *text.tolist()]]
    assert batch.targets.tolist() == [[10, -1, 13, -1, 11, 12, tokenizer.eos]]
    objective = CausalMaskedConfig().build_for(model, tokenizer)
    assert int(objective(model, given._replace(inputs=torch.full((1, 4), 9))).count) >= 5


def test_a_tokeniser_without_names_is_refused() -> None:
    tokenizer = Byte(sentinels=3).train([])
    model = from_data(DecoderConfig, {"width": 12, "layers": 1, "mixer": {"heads": 3}}).build(tokenizer.vocab_size)
    with pytest.raises(UserError, match=r"objective=causal-masked needs 16 tokens .* has 3"):
        CausalMaskedConfig().build_for(model, tokenizer)
    CausalMaskedConfig(most=3).build_for(model, tokenizer)
    with pytest.raises(UserError, match="must be"):
        CausalMaskedConfig(mean=0.0)
