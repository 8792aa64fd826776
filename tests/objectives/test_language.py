"""Losses are sums: padding, batching and empty batches change nothing."""

import pytest
import torch
import torch.nn.functional as F

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, left_padded, right_padded
from transduce.model.models import Model
from transduce.objectives.language import NextTokenConfig, TranslationConfig

VOCAB = 17


def model() -> Model:
    data = {"width": 12, "layers": 2, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}, "positions": "learned"}
    return from_data(DecoderConfig, data).build(VOCAB).double()


def gradients(lm: Model, batches: list[Batch]) -> list[torch.Tensor]:
    lm.zero_grad()
    objective = NextTokenConfig(label_smoothing=0.1).build()
    losses = [objective(lm, batch) for batch in batches]
    for loss in losses:
        loss.total.backward()
    total = torch.stack([loss.total.detach() for loss in losses]).sum()
    return [total, *(p.grad.clone() for p in lm.parameters() if p.grad is not None)]


@pytest.mark.parametrize("side", ["right", "left"])
def test_padded_is_unpadded_is_alone(side: str) -> None:
    torch.manual_seed(0)
    lm, lengths = model(), [7, 3, 5]
    ids, targets = torch.randint(0, VOCAB, (3, 7)), torch.randint(0, VOCAB, (3, 7))
    layout = (right_padded if side == "right" else left_padded)(torch.tensor(lengths), 7)
    together = Batch(ids, layout, torch.where(layout.valid, targets, -1))
    alone = [
        Batch(ids[[b]][:, layout.valid[b]], dense(1, n), targets[[b]][:, layout.valid[b]])
        for b, n in enumerate(lengths)
    ]
    for a, b in zip(gradients(lm, [together]), gradients(lm, alone), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_total_is_smoothed_and_nll_is_not() -> None:
    lm, ids = model(), torch.randint(0, VOCAB, (2, 6))
    batch = Batch(ids, dense(2, 6), ids.roll(-1, 1))
    loss = TranslationConfig(label_smoothing=0.2).build()(lm, batch)
    logits, wanted = lm.head(lm.features(batch)).flatten(0, 1), batch.targets.flatten()
    torch.testing.assert_close(loss.total, F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=0.2))
    torch.testing.assert_close(loss.metrics["nll"], F.cross_entropy(logits, wanted, reduction="sum"))
    assert loss.count.item() == 12


def test_a_batch_without_targets_has_a_loss_of_nothing() -> None:
    lm, ids = model(), torch.randint(0, VOCAB, (2, 4))
    loss = NextTokenConfig().build()(lm, Batch(ids, dense(2, 4), torch.full((2, 4), -1)))
    loss.total.backward()
    assert loss.count.item() == 0
    assert loss.total.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in lm.parameters())


def test_a_smoothing_of_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"label_smoothing=1.0 is not in \[0, 1\); use 0.1, or 0"):
        NextTokenConfig(label_smoothing=1.0).build()
