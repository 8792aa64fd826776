"""Batches of changed texts: padded or packed they hold the same, in training they differ, in measuring they do not."""

import numpy as np
import pytest
import torch

from transduce.config import from_data
from transduce.data import pieces
from transduce.data.examples import Ragged
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.corruption import Frame, Ids, continuations, generators, pairs, parts, restorations, rows_of
from transduce.objectives.spans import SpanCorruptionConfig
from transduce.text.tokenizer import Tokenizer

SMALL = {"width": 12, "layers": 1, "mixer": {"heads": 3}, "positions": {"kind": "learned", "limit": 40}}


def frame(tokenizer: Tokenizer, limit: int | None = None) -> Frame:
    model = from_data(EncoderDecoderConfig, SMALL).build(tokenizer.vocab_size)
    made = Frame.of(tokenizer, model)
    assert made.limit == 40
    return Frame(made.before, made.after, made.opens, made.end, made.pad, made.silent, limit)


def batches(tokenizer: Tokenizer, stream: np.ndarray, sizes: list[int]) -> tuple[Batch, Batch]:
    """The same documents, one to a row, and packed into one row."""
    rows = Ragged.of([stream[i : i + n] for i, n in enumerate(sizes)])
    made, every = pieces.whole(rows, tokenizer, 1000, False), np.arange(len(sizes))
    return made.padded(every), made.packed([every])


def decoded(tokenizer: Tokenizer, batch: Batch) -> list[list[int]]:
    layout = batch.layout
    names = torch.zeros_like(layout.positions) if layout.segments is None else layout.segments
    return [
        batch.targets[row][layout.valid[row] & (names[row] == n)].tolist()
        for row in range(len(names))
        for n in names[row][layout.valid[row]].unique()
    ]


@pytest.mark.parametrize("kind", ["pairs", "continuations"])
def test_padded_and_packed_hold_the_same(kind: str, tokenizer: Tokenizer, stream: np.ndarray) -> None:
    around, corrupt = frame(tokenizer), SpanCorruptionConfig().corruption(tokenizer)
    asked = {"pairs": pairs, "continuations": continuations}[kind]
    padded, packed = batches(tokenizer, stream, [7, 1, 30, 2])
    one, two = (asked(x, restorations(x, around, corrupt, False), around) for x in (padded, packed))
    assert decoded(tokenizer, one) == decoded(tokenizer, two)
    assert int((one.targets >= 0).sum()) == int((two.targets >= 0).sum()) > 0
    assert one.tokens == two.tokens
    if kind == "pairs":
        wanted = [[t for t in row if t != tokenizer.eos] for row in decoded(tokenizer, one)]
        given = one.inputs[one.layout.valid].tolist()
        assert sorted(given) == sorted([tokenizer.bos] * 4 + [t for row in wanted for t in row])


def test_a_decoder_sees_of_what_it_writes_only_what_came_before(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    """In float64: a change of a target moves no prediction of it or of what is before it."""
    model = from_data(DecoderConfig, {**SMALL, "residual": {"dropout": 0.0}}).build(tokenizer.vocab_size).double()
    around, corrupt = frame(tokenizer), SpanCorruptionConfig(fraction=0.3).corruption(tokenizer)
    given = Batch(torch.tensor(stream[None, :20]), dense(1, 20), torch.tensor(stream[None, :20]))
    batch = continuations(given, restorations(given, around, corrupt, False), around)
    assert isinstance(batch.layout.reach, torch.Tensor)
    base, wanted = model.features(batch), (batch.targets[0] >= 0).nonzero()[:, 0].tolist()
    for slot in range(wanted[0] + 1, batch.inputs.shape[1]):
        inputs = batch.inputs.clone()
        inputs[0, slot] = (inputs[0, slot] + 1) % 200
        moved = (model.features(batch._replace(inputs=inputs)) - base)[0].abs().amax(-1) > 1e-12
        assert not moved[:slot].any()
    inputs = batch.inputs.clone()
    inputs[0, wanted[0] - 1] = 7  # of the prefix
    assert (model.features(batch._replace(inputs=inputs)) - base)[0, 0].abs().amax() > 1e-12  # which sees itself whole


def test_what_is_too_long_for_the_model_is_cut_to_its_positions(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    around, corrupt = frame(tokenizer, 20), SpanCorruptionConfig(fraction=0.5, mean=1.0).corruption(tokenizer)
    given = Batch(torch.tensor(stream[None, :90]), dense(1, 90), torch.tensor(stream[None, :90]))
    batch = pairs(given, restorations(given, around, corrupt, False), around)
    assert batch.source is not None
    assert (batch.source.shape[1] <= 20, batch.inputs.shape[1] <= 20) == (True, True)
    assert batch.source[0, -1] == tokenizer.eos
    assert batch.targets.shape == batch.inputs.shape


def test_only_special_tokens_have_no_targets(tokenizer: Tokenizer) -> None:
    around, corrupt = frame(tokenizer), SpanCorruptionConfig().corruption(tokenizer)
    given = Batch(torch.full((3, 1), tokenizer.bos), dense(3, 1), torch.full((3, 1), tokenizer.eos))
    for asked in (pairs, continuations):
        batch = asked(given, restorations(given, around, corrupt, True), around)
        assert (batch.targets < 0).all()
        assert batch.inputs.shape[1] >= 1


def test_training_draws_anew_and_measuring_by_the_names_of_examples(tokenizer: Tokenizer, stream: np.ndarray) -> None:
    given = Batch(torch.tensor(stream[:60].reshape(3, 20)), dense(3, 20), torch.zeros(3, 20), examples=(5, 6, 7))

    def draws(batch: Batch, training: bool) -> list[float]:
        return [rng.random() for rng in generators(batch, len(batch.inputs), training)]

    torch.manual_seed(0)
    first, second = draws(given, True), draws(given, True)
    torch.manual_seed(0)
    assert draws(given, True) == first != second
    before = torch.get_rng_state()
    measured = draws(given, False)
    assert torch.equal(torch.get_rng_state(), before)
    assert draws(given._replace(inputs=given.inputs[1:], examples=(6, 7)), False) == measured[1:]


def test_rows_of_several_texts_say_where_they_sit() -> None:
    rows: list[list[Ids]] = [[np.array([4, 5]), np.array([6])], [np.array([], dtype=np.int64)]]
    ids, layout = rows_of(rows, 0, torch.device("cpu"))
    assert ids.tolist() == [[4, 5, 6], [0, 0, 0]]
    assert layout.positions.tolist() == [[0, 1, 0], [-1, -1, -1]]
    assert layout.segments is not None
    assert layout.segments[0].tolist() == [0, 0, 1]


def test_parts_are_every_way_of_cutting() -> None:
    drawn = {tuple(parts(5, 3, np.random.default_rng(i)).tolist()) for i in range(300)}
    assert drawn == {(a, b, 5 - a - b) for a in (1, 2, 3) for b in (1, 2, 3) if a + b < 5}
    assert parts(4, 1, np.random.default_rng(0)).tolist() == [4]
