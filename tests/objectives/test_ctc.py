"""The loss of labels and blank: a sum over all ways, torch's own, alone as in a batch, and finite for what is short."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.heads.ctc import CtcHead
from transduce.model.layout import Layout, dense, packed, right_padded
from transduce.model.ops.ctc import log_p, spellable, steps_needed
from transduce.objectives.ctc import CtcConfig, ctc_loss

LABELS, BLANK = 2, 2


def spelt(way: tuple[int, ...]) -> tuple[int, ...]:
    """What a way reads: equal neighbours are one, blanks are nothing."""
    return tuple(x for i, x in enumerate(way) if x != BLANK and (i == 0 or way[i - 1] != x))


def by_hand(logs: Tensor) -> dict[tuple[int, ...], Tensor]:
    """The probability of every text: the sum over all ways of the product of their steps."""
    out: dict[tuple[int, ...], Tensor] = {}
    for way in product(range(LABELS + 1), repeat=len(logs)):
        p = torch.stack([logs[t, c] for t, c in enumerate(way)]).sum().exp()
        out[spelt(way)] = out.get(spelt(way), torch.tensor(0.0)) + p
    return out


def logits_of(steps: int, rows: int = 1) -> Tensor:
    return torch.randn(rows, steps, LABELS + 1, generator=torch.Generator().manual_seed(steps)).double()


@pytest.mark.parametrize("steps", range(1, 7))
def test_it_is_the_sum_over_all_ways(steps: int) -> None:
    logits = logits_of(steps).requires_grad_()
    texts = by_hand(logits[0].log_softmax(-1))
    assert sum(texts.values()).item() == pytest.approx(1, abs=1e-12)
    for text in product(range(LABELS), repeat=min(steps, 4)):
        for own in (text, text[: len(text) // 2]):
            targets, count = torch.tensor([[*own, -1]]), torch.tensor([steps])
            assert bool(spellable(count, targets)) == (own in texts)
            if own not in texts:
                assert log_p(logits, count, targets, BLANK).item() == -torch.inf
                continue
            ours = log_p(logits, count, targets, BLANK)
            torch.testing.assert_close(ours[0], texts[own].log(), rtol=1e-10, atol=1e-10)
            (mine,) = torch.autograd.grad(ours.sum(), logits, retain_graph=True)
            (hand,) = torch.autograd.grad(texts[own].log(), logits, retain_graph=True)
            torch.testing.assert_close(mine, hand, rtol=1e-8, atol=1e-8)


class Learner(nn.Module):
    """Hidden states as they are given, with a head of labels and blank."""

    def __init__(self) -> None:
        super().__init__()
        self.head = CtcHead(4, 5, 0.0).double()

    def features(self, batch: Batch) -> Tensor:
        return batch.inputs

    def arranged(self, layout: Layout) -> Layout:
        return layout


SOUNDS, TEXTS = [9, 4, 6, 1], [[1, 1, 3], [0, 4, 2, 1], [], [2]]


def batch_of(rows: list[int]) -> tuple[Batch, list[Tensor]]:
    generator = torch.Generator().manual_seed(3)
    sounds = [torch.randn(n, 4, generator=generator).double() for n in SOUNDS]
    wide, long = max(SOUNDS[i] for i in rows), max(1, *(len(TEXTS[i]) for i in rows))
    inputs = torch.stack([F.pad(sounds[i], (0, 0, 0, wide - SOUNDS[i]), value=7.0) for i in rows])
    targets = torch.tensor([[*TEXTS[i], *[-1] * (long - len(TEXTS[i]))] for i in rows])
    layout = right_padded(torch.tensor([SOUNDS[i] for i in rows]), wide)
    return Batch(inputs, layout, targets), sounds


def test_the_loss_is_that_of_torch_and_of_each_sound_alone() -> None:
    torch.manual_seed(0)
    learner: Any = Learner()
    batch, sounds = batch_of([0, 1, 2, 3])
    loss = ctc_loss(learner, batch)
    theirs = nn.CTCLoss(blank=5, reduction="sum")
    alone = [
        theirs(learner.head(x).log_softmax(-1), torch.tensor(text, dtype=torch.int64), torch.tensor(len(x)),
               torch.tensor(len(text)))
        for x, text in zip(sounds, TEXTS, strict=True)
    ]  # fmt: skip
    torch.testing.assert_close(loss.total, sum(alone), rtol=1e-12, atol=1e-12)
    assert loss.count.item() == 3 + 4 + 1 + 1
    for row, own in enumerate(alone):
        torch.testing.assert_close(ctc_loss(learner, batch_of([row])[0]).total, own, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(loss.total, learner.head.parameters())
    for mine, parts in zip(gradients, torch.autograd.grad(sum(alone), learner.head.parameters()), strict=True):
        torch.testing.assert_close(mine, parts, rtol=1e-10, atol=1e-10)


def test_a_sound_shorter_than_its_text_is_skipped_and_counted() -> None:
    learner: Any = Learner()
    batch, _ = batch_of([0, 1])
    short = batch._replace(targets=torch.tensor([[1, 1, 3, -1], [0, 0, 2, 1]]))  # the second needs a blank, a 5th step
    loss, whole = ctc_loss(learner, short), ctc_loss(learner, batch_of([0])[0])
    torch.testing.assert_close(loss.total, whole.total, rtol=1e-12, atol=1e-12)
    assert (loss.count.item(), loss.metrics["skipped"].item()) == (3, 4)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())
    nothing = ctc_loss(learner, short._replace(targets=torch.full((2, 10), 1)))
    assert (nothing.total.item(), nothing.count.item(), nothing.metrics["skipped"].item()) == (0, 0, 20)


def test_steps_that_are_needed() -> None:
    texts = [[], [3], [3, 3], [3, 3, 3, 1], [1, 2, 1, 2]]
    rows = torch.tensor([[*text, *[-1] * (5 - len(text))] for text in texts])
    assert steps_needed(rows).tolist() == [0, 1, 3, 6, 4]
    assert spellable(torch.tensor([0, 1, 2, 6, 3]), rows).tolist() == [False, True, False, True, False]


def test_packed_rows_are_refused() -> None:
    learner: Any = Learner()
    batch = Batch(torch.zeros(1, 9, 4).double(), packed([[5, 4]], 9), torch.tensor([[1]]))
    with pytest.raises(UserError, match="objective=ctc reads one sound per row"):
        CtcConfig().build()(learner, batch)
    assert CtcConfig().build()(learner, batch._replace(layout=dense(1, 9))).count == 1
