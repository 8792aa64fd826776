"""Objectives of preferences: equal to their formulas in float64, however rows are filled and updates are parted."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.config import from_data
from transduce.data.answers import Answers
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, left_padded
from transduce.objectives.dpo import DpoConfig
from transduce.objectives.kto import KtoConfig
from transduce.objectives.objective import ObjectiveConfig
from transduce.objectives.orpo import OrpoConfig
from transduce.tasks.judged import JudgedConfig
from transduce.tasks.prefer import PreferConfig
from transduce.text.char import Char

PROMPTS = ["hi", "what is it?", "a", "tell me more", "b b b"]
CHOSEN = ["hello", "", "a long answer, well", "x", "yes"]
REJECTED = ["no", "a stone", "b", "", "go away now"]
OBJECTIVES: dict[str, ObjectiveConfig] = {
    "dpo": DpoConfig(beta=0.3), "dpo, smoothed": DpoConfig(label_smoothing=0.2), "ipo": DpoConfig(loss="ipo"),
    "hinge": DpoConfig(loss="hinge", beta=0.5), "orpo": OrpoConfig(beta=0.4),
    "kto": KtoConfig(beta=0.2, wanted=1.5, unwanted=0.5, origin=0.1),
}  # fmt: skip


def asked(text: str) -> str:
    return json.dumps([{"role": "user", "content": text}])


def made(name: str) -> tuple[Answers, Readers]:
    """Answers with log p of a reference drawn at random."""
    prompts = [asked(text) for text in PROMPTS]
    if name == "kto":
        task: Any = JudgedConfig()
        columns = Columns({"prompt": prompts * 2, "completion": CHOSEN + REJECTED, "label": [True] * 5 + ["false"] * 5})
    else:
        task, columns = PreferConfig(), Columns({"prompt": prompts, "chosen": CHOSEN, "rejected": REJECTED})
    readers = Readers(Char().train(list(task.texts(columns))))
    answers = task.examples(columns, readers)
    drawn = np.random.default_rng(0).normal(-2.0, 1.0, len(answers.texts.flat)).astype(np.float32)
    return answers.referenced(drawn), readers


def model_of(readers: Readers) -> Any:
    config = from_data(DecoderConfig, {
        "width": 16, "layers": 1, "mixer": {"kind": "attention", "heads": 2},
        "residual": {"kind": "pre-norm", "dropout": 0.3},
    })  # fmt: skip
    return config.build(readers.text.vocab_size, 0).double()


def gradient(model: Any, objective: Any, batches: list[Batch]) -> tuple[Tensor, float]:
    """The gradient of an update over batches, divided once, and the loss."""
    model.zero_grad()
    losses = [objective(model, batch) for batch in batches]
    torch.stack([loss.total for loss in losses]).sum().backward()
    count = sum(float(loss.count) for loss in losses)
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return flat / count, sum(float(loss.total.detach()) for loss in losses) / count


def batches(answers: Answers, tokens: int, packing: bool = False) -> list[Batch]:
    rows = answers.rows(BatchConfig(batch_tokens=tokens, max_length=64, packing=packing), drop=False)
    groups = rows.plan(np.random.default_rng(1)) if packing else rows.fixed()
    return [rows.build(group) for group in groups]


def left(batch: Batch) -> Batch:
    """The same rows, padded on the left."""
    lengths = batch.layout.valid.sum(1)
    order = torch.arange(batch.inputs.shape[1]) - (batch.inputs.shape[1] - lengths)[:, None]

    def moved(x: Tensor, fill: float) -> Tensor:
        return x.gather(1, order.clamp(min=0)).masked_fill(order < 0, fill)

    layout = left_padded(lengths, batch.inputs.shape[1])
    extra = batch.extra._replace(place=moved(batch.extra.place, -1), reference=moved(batch.extra.reference, 0))
    return batch._replace(inputs=moved(batch.inputs, 0), targets=moved(batch.targets, -1), layout=layout, extra=extra)


def by_hand(model: Any, answers: Answers, value: Callable[[Tensor, Tensor, Tensor], Tensor]) -> tuple[Tensor, float]:
    """The gradient and the loss of a formula of log p, of that of the reference, and of tokens: answer by answer."""
    model.zero_grad()
    model.eval()
    log_p, reference, tokens = list[Tensor](), list[float](), list[int]()
    for i in range(len(answers.texts)):
        ids = torch.tensor(answers.texts[i].astype(np.int64))
        start, stop = answers.texts.offsets[i], answers.texts.offsets[i + 1]
        own = torch.tensor(answers.own[start:stop])[1:]
        layout = Layout(torch.arange(len(ids) - 1)[None])
        logits = model.head(model.features(Batch(ids[None, :-1], layout, ids[None, 1:])))[0]
        log_p.append(logits.log_softmax(-1).gather(1, ids[1:, None])[:, 0][own].sum())
        assert answers.reference is not None
        reference.append(float(answers.reference[start:stop][1:][own.numpy()].astype(np.float64).sum()))
        tokens.append(int(own.sum()))
    loss = value(torch.stack(log_p), torch.tensor(reference, dtype=torch.float64), torch.tensor(tokens)).mean()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), float(loss.detach())


def h_of(p: Tensor, r: Tensor) -> Tensor:
    gain = (p - r).reshape(-1, 2)
    return gain[:, 0] - gain[:, 1]


def odds_ratio(p: Tensor, n: Tensor) -> Tensor:
    mean = (p / n).reshape(-1, 2)
    odds = torch.log(mean.exp() / (1 - mean.exp()))
    return -mean[:, 0] - 0.4 * torch.log(torch.sigmoid(odds[:, 0] - odds[:, 1]))


def judged(p: Tensor, r: Tensor) -> Tensor:
    x = 0.2 * (p - r - 0.1)
    return torch.cat([1.5 * (1 - torch.sigmoid(x[:5])), 0.5 * (1 - torch.sigmoid(-x[5:]))])


FORMULAS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "dpo": lambda p, r, n: -torch.log(torch.sigmoid(0.3 * h_of(p, r))),
    "dpo, smoothed": lambda p, r, n: (
        -0.8 * torch.log(torch.sigmoid(0.1 * h_of(p, r))) - 0.2 * torch.log(torch.sigmoid(-0.1 * h_of(p, r)))
    ),
    "ipo": lambda p, r, n: (h_of(p, r) - 5) ** 2,
    "hinge": lambda p, r, n: F.relu(1 - 0.5 * h_of(p, r)),
    "orpo": lambda p, r, n: odds_ratio(p, n),
    "kto": lambda p, r, n: judged(p, r),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_is_its_formula_however_rows_are_filled(name: str) -> None:
    answers, readers = made(name)
    model, objective = model_of(readers), OBJECTIVES[name].build()
    expected, loss = by_hand(model, answers, FORMULAS[name])
    model.train()
    whole = batches(answers, 4096)
    assert len(whole) == 1
    ways = {
        "one batch": whole, "several": batches(answers, 160), "each alone": batches(answers, 64),
        "packed": batches(answers, 256, packing=True), "padded on the left": [left(batch) for batch in whole],
    }  # fmt: skip
    assert len(ways["several"]) > 1
    for way, some in ways.items():
        flat, value = gradient(model, objective, some)
        assert value == pytest.approx(loss, rel=1e-6), way
        assert float((flat - expected).norm() / expected.norm()) < 1e-6, way


def test_what_is_refused() -> None:
    answers, readers = made("dpo")
    with pytest.raises(UserError, match="reference model holds of these answers is not known"):
        DpoConfig().build()(model_of(readers), batches(replace(answers, reference=None), 4096)[0])
    for wrong, says in (
        ({"beta": 0.0}, "objective.beta=0.0 must be a positive number"),
        ({"label_smoothing": 0.5}, r"not in \[0, 0.5\)"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "is of loss=sigmoid"),
    ):
        with pytest.raises(UserError, match=says):
            DpoConfig(**wrong)
    with pytest.raises(UserError, match="must not be negative"):
        KtoConfig(wanted=-1.0)
    with pytest.raises(UserError, match=r"prompt 1 leaves its `chosen` no room: batch.max_length=16"):
        answers.rows(BatchConfig(batch_tokens=64, max_length=16), drop=False)
