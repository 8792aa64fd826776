"""Rows of two parts: what stands in them, how often they are exchanged, and that the class is learnt."""

from typing import Any, cast

import numpy as np
import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.corruption import Frame
from transduce.objectives.masked import MaskedConfig
from transduce.objectives.sentence_pairs import Pair, halves, paired
from transduce.objectives.sentences import endings
from transduce.text.tokenizer import Tokenizer

SMALL: dict[str, Any] = {
    "width": 12, "layers": 1, "mixer": {"heads": 3}, "positions": {"kind": "learned", "limit": 70},
    "heads": {"pair": {"kind": "classes", "classes": 2, "pool": ["first"], "hidden": True}},
    "embedding": {"kind": "table", "types": 2},
}  # fmt: skip


def encoder(tokenizer: Tokenizer, **keys: Any) -> Model:
    return from_data(EncoderConfig, {**SMALL, **keys}).build(tokenizer.vocab_size)


def batch_of(stream: np.ndarray, rows: int, tokens: int) -> Batch:
    ids = torch.tensor(stream[: rows * tokens].reshape(rows, tokens))
    return Batch(ids, dense(rows, tokens), ids, examples=tuple(range(rows)))


@pytest.mark.parametrize("pair", ["next", "order"])
def test_half_of_the_rows_are_changed_and_say_so(pair: Pair, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    batch, frame, ends = batch_of(stream, 30, 50), Frame.of(tokenizer, encoder(tokenizer)), endings(tokenizer)
    made, classes = paired(batch, frame, ends, pair, False)
    assert 6 < int(classes.sum()) < 24
    for row, text in enumerate(batch.inputs.numpy()):
        ids, types = made.inputs[row][made.layout.valid[row]], made.layout.types
        assert types is not None
        kind = types[row][made.layout.valid[row]]
        a, b = halves(text, ends)
        one, two = (ids[kind == which].tolist() for which in (0, 1))
        assert (one[0], one[-1], two[-1]) == (tokenizer.bos, tokenizer.eos, tokenizer.eos)
        first, second = one[1:-1], two[:-1]
        if int(classes[row]) == 0:
            assert (first, second) == (a.tolist(), b.tolist())
        elif pair == "order":
            assert (first, second) == (b.tolist(), a.tolist())
        else:
            assert first == a.tolist()
            rest = [halves(other, ends)[1] for i, other in enumerate(batch.inputs.numpy()) if i != row]
            others = [other[: len(b)].tolist() for other in rest]
            assert second in others


def test_texts_are_parted_at_a_sentence() -> None:
    ends = np.array([False, True])
    assert [part.tolist() for part in halves(np.array([0, 1, 0, 0, 1, 0, 0]), ends)] == [[0, 1], [0, 0, 1, 0, 0]]
    assert [part.tolist() for part in halves(np.array([0, 0, 0]), ends)] == [[0], [0, 0]]
    assert [len(part) for part in halves(np.array([0]), ends)] == [0, 1]


@pytest.mark.parametrize("pair", ["next", "order"])
@pytest.mark.parametrize("tokens", [1, 2, 70])
def test_awkward_lengths(pair: Pair, tokens: int, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    model = encoder(tokenizer)
    objective = MaskedConfig(pair=pair).build_for(model, tokenizer)
    for rows in (1, 3):
        loss = objective(model, batch_of(stream, rows, tokens))
        loss.total.backward()
        assert loss.total.isfinite()
    ids = torch.full((2, 1), tokenizer.bos)
    assert int(objective(model, Batch(ids, dense(2, 1), ids)).count) == 0


def test_the_order_of_halves_is_learnt(tokenizer: Tokenizer) -> None:
    """Texts that count upwards: halves in order are told from those that are not."""
    model = encoder(tokenizer, residual={"dropout": 0.0})
    objective = MaskedConfig(pair="order").build_for(model, tokenizer)
    adam, right = torch.optim.Adam(model.parameters(), lr=1e-2), list[float]()
    torch.manual_seed(0)
    for _ in range(120):
        ids = torch.randint(20, 40, (16, 1)) + torch.arange(0, 80, 10)
        loss = objective(model, Batch(ids, dense(16, 8), ids))
        (loss.total / loss.count).backward()
        adam.step()
        adam.zero_grad()
        right.append(float(loss.metrics["pair_accuracy"] / loss.count))
    assert np.mean(right[-10:]) > 0.95


def test_a_model_without_the_head_is_refused(tokenizer: Tokenizer) -> None:
    for heads in ({}, {"pair": {"kind": "classes", "classes": 3}}):
        with pytest.raises(UserError, match=r"set model.heads.pair.kind=classes"):
            MaskedConfig(pair="next").build_for(encoder(tokenizer, heads=cast(Any, heads)), tokenizer)
