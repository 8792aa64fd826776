"""Blank infilling: what is hidden comes back, and no token sees what it is asked for."""

from typing import Any

import numpy as np
import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.infilling import Blanks, InfillingConfig, blanked, filled, infilled
from transduce.text.tokenizer import Tokenizer

from .conftest import LENGTHS

GLM: dict[str, Any] = {
    "width": 12, "layers": 1, "mixer": {"heads": 3}, "residual": {"dropout": 0.0},
    "positions": {"kind": "learned", "inner": 40},
}  # fmt: skip


def decoder(tokenizer: Tokenizer, **keys: Any) -> Model:
    return from_data(DecoderConfig, {**GLM, **keys}).build(tokenizer.vocab_size).double().eval()


@pytest.mark.parametrize("size", [0, *LENGTHS])
@pytest.mark.parametrize("long", [0.0, 1.0])
def test_the_text_comes_back(size: int, long: float, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    config, tokens = InfillingConfig(long=long), stream[:size]
    for seed in range(20):
        made = config.corrupt(tokens, tokenizer.mask, np.random.default_rng(seed))
        assert filled(made) == tokens.tolist()
        hidden = sum(len(span) for _, span in made.spans)
        assert len(made.text) - len(made.spans) + hidden == size
        assert int((made.text == tokenizer.mask).sum()) == len(made.spans)
        if size:
            assert hidden >= size / 2 if long else hidden == max(round(0.15 * size), 1)
            assert not long or len(made.spans) == 1


def test_the_example_of_the_paper() -> None:
    """Figure 2 of Du et al. 2021: x3 and x5 x6 are hidden, the second is written first."""
    made = blanked(np.arange(1, 7), np.array([[2, 3], [4, 6]]), 50, [1, 0])
    assert made.text.tolist() == [1, 2, 50, 4, 50]
    assert [(place, span.tolist()) for place, span in made.spans] == [(4, [5, 6]), (2, [3])]
    batch = infilled([made], (), 60, 61, Batch(torch.zeros(1, 6), dense(1, 6), torch.zeros(1, 6)))
    assert batch.inputs.tolist() == [[1, 2, 50, 4, 50, 60, 5, 6, 60, 3]]
    assert batch.targets.tolist() == [[-1, -1, -1, -1, -1, 5, 6, 61, 3, 61]]
    assert batch.layout.place.tolist() == [[0, 1, 2, 3, 4, 4, 4, 4, 2, 2]]
    assert batch.layout.inner is not None
    assert batch.layout.inner.tolist() == [[0, 0, 0, 0, 0, 1, 2, 3, 1, 2]]


def test_no_prediction_sees_what_it_predicts(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    model, tokens = decoder(tokenizer), stream[:12]
    made = InfillingConfig(fraction=0.4, long=0.0).corrupt(tokens, tokenizer.mask, np.random.default_rng(1))
    given = Batch(torch.tensor(tokens[None]), dense(1, 12), torch.tensor(tokens[None]))
    batch = infilled([made], (1,), 1, 2, given)
    base, first = model.features(batch)[0], 1 + len(made.text)
    for slot in range(batch.inputs.shape[1]):
        inputs = batch.inputs.clone()
        inputs[0, slot] = (inputs[0, slot] + 1) % 200
        moved = (model.features(batch._replace(inputs=inputs))[0] - base).abs().amax(-1) > 1e-12
        expected = [True] * len(moved) if slot < first else [i >= slot for i in range(len(moved))]
        assert moved.tolist() == expected


def test_who_may_learn_it_and_how_far(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"objective=blank-infilling .*model.kind=decoder"):
        InfillingConfig().build_for(from_data(EncoderConfig, GLM).build(tokenizer.vocab_size), tokenizer)
    model = decoder(tokenizer, positions={"kind": "learned", "inner": 5})
    batch = Batch(torch.tensor(stream[None, :30]), dense(1, 30), torch.tensor(stream[None, :30]))
    with pytest.raises(UserError, match=r"model.positions.inner=5 has vectors for 3 .* batch.max_length \+ 2"):
        InfillingConfig(long=1.0).build_for(model, tokenizer)(model, batch)
    for keys in ({"fraction": 1.0}, {"mean": 0.0}, {"long": 1.5}):
        with pytest.raises(UserError):
            InfillingConfig(**keys)


def test_only_special_tokens_have_no_targets(tokenizer: Tokenizer) -> None:
    model, ids = decoder(tokenizer), torch.full((2, 1), tokenizer.bos)
    loss = InfillingConfig().build_for(model, tokenizer)(model, Batch(ids, dense(2, 1), ids))
    loss.total.backward()
    assert (loss.total.item(), int(loss.count)) == (0.0, 0)
    assert filled(Blanks(np.array([3]), [])) == [3]
