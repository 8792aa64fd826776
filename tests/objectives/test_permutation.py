"""The permutation objective: what it draws, that it leaks nothing, and that a model learns from it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, Marks, dense, left_padded, packed, right_padded
from transduce.model.models import EncoderOnly
from transduce.objectives.permutation import PermutationConfig, drawn, two_streams

VOCAB, TOKENS = 17, 12
XLNET = {
    "width": 12, "layers": 2, "mixer": {"heads": 3}, "residual": {"kind": "post-norm", "dropout": 0.0},
    "head": "linear", "positions": {"kind": "transformer-xl", "segments": True},
    "embedding": {"kind": "table", "blank": True},
}  # fmt: skip


def encoder(**keys: Any) -> EncoderOnly:
    model = from_data(EncoderConfig, {**XLNET, **keys}).build(VOCAB, seed=0).double()
    assert isinstance(model, EncoderOnly)
    return model


def ids(rows: int, tokens: int = TOKENS) -> Tensor:
    return torch.randint(0, VOCAB, (rows, tokens), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", [right_padded, left_padded])
@pytest.mark.parametrize("fraction", [1 / 6, 0.5, 1.0])
def test_the_last_of_a_random_order_are_predicted(make: Any, fraction: float) -> None:
    lengths = torch.tensor([12, 7, 1, 0])
    layout = make(lengths, TOKENS)
    order, wanted = drawn(layout, fraction)
    for row, n in enumerate(lengths.tolist()):
        count = min(n, max(1, round(n * fraction)))
        slots = wanted[row][wanted[row] >= 0]
        assert slots.shape[0] == count
        assert layout.valid[row, slots].all()
        assert order[row, slots].tolist() == list(range(1, count + 1))
        assert int((order[row] > 0).sum()) == count
    again = drawn(layout, fraction, torch.Generator().manual_seed(3))
    torch.testing.assert_close(again, drawn(layout, fraction, torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("positions", [XLNET["positions"], "rotary", "sinusoidal"], ids=["xl", "rotary", "sinusoidal"])
def test_a_prediction_depends_on_what_comes_before_it_only(positions: Any) -> None:
    model, tokens = encoder(positions=positions), ids(1)
    order, wanted = drawn(dense(1, TOKENS), 0.5)
    base = two_streams(model, tokens, dense(1, TOKENS), order, wanted)
    for slot in range(TOKENS):
        changed = tokens.clone()
        changed[0, slot] = (changed[0, slot] + 1) % VOCAB
        moved = (two_streams(model, changed, dense(1, TOKENS), order, wanted) - base)[0].abs().amax(-1) > 1e-12
        assert moved.tolist() == [bool(order[0, slot] < order[0, w]) for w in wanted[0]]


def alone(layout: Layout) -> list[tuple[int, Tensor]]:
    """Row and slots of every document."""
    segments = torch.zeros_like(layout.positions) if layout.segments is None else layout.segments
    found = list[tuple[int, Tensor]]()
    for row in range(layout.positions.shape[0]):
        for number in segments[row][layout.valid[row]].unique():
            found.append((row, (layout.valid[row] & (segments[row] == number)).nonzero()[:, 0]))
    return found


LAYOUTS = [
    right_padded(torch.tensor([12, 7]), TOKENS), left_padded(torch.tensor([12, 7]), TOKENS),
    packed([[5, 6], [12]], TOKENS),
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=["right", "left", "packed"])
def test_padding_and_packing_change_nothing(layout: Layout) -> None:
    model, tokens = encoder(), ids(2)
    layout = layout._replace(marks=Marks(torch.arange(TOKENS).expand(2, -1) // 4))
    order, wanted = drawn(layout, 0.5)
    y = two_streams(model, tokens, layout, order, wanted)
    for row, slots in alone(layout):
        assert layout.types is not None
        mine = torch.isin(wanted[row], slots)
        inside = torch.searchsorted(slots, wanted[row][mine])
        own = dense(1, slots.shape[0])._replace(marks=Marks(layout.types[row, slots][None]))
        expected = two_streams(model, tokens[row, slots][None], own, order[row, slots][None], inside[None])
        torch.testing.assert_close(y[row][mine], expected[0], atol=1e-10, rtol=0)


def test_the_loss_is_a_sum_and_evaluation_draws_nothing() -> None:
    model, tokens = encoder().eval(), ids(3)
    batch, before = Batch(tokens, dense(3, TOKENS), tokens), torch.get_rng_state()
    loss = PermutationConfig(fraction=0.25).build()(model, batch)
    assert torch.equal(torch.get_rng_state(), before)
    order, wanted = drawn(batch.layout, 0.25, torch.Generator().manual_seed(0))
    logits = model.head(two_streams(model, tokens, batch.layout, order, wanted))
    expected = F.cross_entropy(logits.flatten(0, 1), tokens.gather(1, wanted).flatten(), reduction="sum")
    assert int(loss.count) == 9
    torch.testing.assert_close(loss.total.double(), expected, atol=1e-5, rtol=1e-6)
    again = PermutationConfig(fraction=0.25).build()(model, batch)
    assert again.total.item() == loss.total.item()


def test_training_predicts_other_tokens_each_time() -> None:
    """In training of the generator that checkpoints keep; in evaluation the same ones."""
    model, tokens = encoder(), ids(3)
    batch = Batch(tokens, dense(3, TOKENS), tokens)
    objective = PermutationConfig(fraction=0.25).build()
    torch.manual_seed(0)
    losses = [float(objective(model.train(), batch).total.detach()) for _ in range(4)]
    assert len(set(losses)) == 4
    torch.manual_seed(0)
    assert [float(objective(model, batch).total.detach()) for _ in range(4)] == losses
    assert len({float(objective(model.eval(), batch).total.detach()) for _ in range(4)}) == 1


def test_a_model_learns_from_it() -> None:
    """Rows that count up modulo 17 from anywhere: one token that is seen tells all others."""
    model = encoder(width=24, layers=1).float().train()
    torch.manual_seed(0)
    objective, adam, losses = PermutationConfig().build(), torch.optim.Adam(model.parameters(), lr=5e-3), list[float]()
    for _ in range(250):
        tokens = (torch.randint(0, VOCAB, (16, 1)) + torch.arange(TOKENS)) % VOCAB
        loss = objective(model, Batch(tokens, dense(16, TOKENS), tokens))
        (loss.total / loss.count).backward()
        adam.step()
        adam.zero_grad()
        losses.append(float(loss.total.detach()) / int(loss.count))
    assert sum(losses[-10:]) / 10 < 0.3, losses[::25]


@pytest.mark.parametrize(
    ("keys", "fraction", "message"),
    [
        ({"embedding": "table"}, 0.5, "model.embedding.blank=true"),
        ({}, 0.0, "fraction=0.0 must be above 0"),
        ({"mixer": "gru", "positions": "none"}, 0.5, "sees tokens in their order only"),
    ],
)
def test_what_has_no_meaning_is_refused(keys: dict[str, Any], fraction: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PermutationConfig(fraction=fraction).build()(encoder(**keys), Batch(ids(2), dense(2, TOKENS), ids(2)))
