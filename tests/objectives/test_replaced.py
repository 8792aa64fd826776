"""Replaced-token detection: what is replaced, that gradients stay apart, and that both parts learn."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.architecture.electra import ElectraConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded
from transduce.model.models import Model
from transduce.objectives.replaced import ReplacedConfig, replaced, sampled
from transduce.text.tokenizer import Tokenizer

SMALL: dict[str, Any] = {
    "width": 12, "layers": 1, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}, "generator_width": 6,
}  # fmt: skip


def electra(tokenizer: Tokenizer, **keys: Any) -> Model:
    return from_data(ElectraConfig, {**SMALL, **keys}).build(tokenizer.vocab_size)


def texts(rows: int = 4, tokens: int = 40) -> Batch:
    ids = torch.randint(5, 300, (rows, tokens), generator=torch.Generator().manual_seed(0))
    return Batch(ids, dense(rows, tokens), ids, examples=tuple(range(rows)))


def test_draws_are_those_of_softmax() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0, -30.0])
    drawn = sampled(logits.expand(40_000, -1), torch.rand(40_000)).bincount(minlength=4) / 40_000
    torch.testing.assert_close(drawn, logits.softmax(0), atol=0.01, rtol=0)
    assert sampled(logits[None], torch.tensor([1 - 2**-24])).item() < 4


def test_a_token_drawn_as_it_was_is_no_replacement() -> None:
    ids, hidden = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[-1, 6, -1, 8]])
    made, wrong = replaced(Batch(ids, dense(1, 4), hidden), ids, torch.tensor([6, 9]))
    assert made.tolist() == [[5, 6, 7, 9]]
    assert wrong.tolist() == [[False, False, False, True]]


def test_the_loss_is_that_of_the_paper(tokenizer: Tokenizer) -> None:
    model, batch = electra(tokenizer).eval(), texts()
    torch.nn.init.zeros_(model.head.out.weight)  # so that every logit is 0
    loss = ReplacedConfig(weight=7.0).build_for(model, tokenizer)(model, batch)
    count = 4 * 40
    assert int(loss.count) == count
    own, generated = loss.metrics["detector_nll"], loss.metrics["generator_nll"]
    torch.testing.assert_close(loss.total, 7.0 * own + generated)
    assert 0 < int(loss.metrics["replaced"]) <= 4 * 6  # 15 % of 40 tokens
    assert (own / count).item() == pytest.approx(math.log(2))
    again = ReplacedConfig(weight=7.0).build_for(model, tokenizer)(model, batch)
    assert again.total.item() == loss.total.item()


def test_no_gradient_leads_to_the_generator(tokenizer: Tokenizer) -> None:
    model, batch = electra(tokenizer).eval(), texts()
    gradients = list[dict[str, torch.Tensor]]()
    for weight in (1.0, 50.0):
        model.zero_grad()
        ReplacedConfig(weight=weight).build_for(model, tokenizer)(model, batch).total.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    own = [name for name in gradients[0] if name.startswith("generator.")]
    assert own
    for name in own:
        torch.testing.assert_close(gradients[0][name], gradients[1][name])
    assert not torch.allclose(gradients[0]["embed.weight"], gradients[1]["embed.weight"])  # which both share


def test_padding_is_not_told_apart(tokenizer: Tokenizer) -> None:
    model, whole = electra(tokenizer).double().eval(), texts(1, 9)
    targets = F.pad(whole.targets, (0, 5), value=-1)
    padded = Batch(F.pad(whole.inputs, (0, 5)), right_padded(torch.tensor([9]), 14), targets, examples=(0,))
    objective = ReplacedConfig().build_for(model, tokenizer)
    one, two = objective(model, whole), objective(model, padded)
    assert int(one.count) == int(two.count) == 9
    torch.testing.assert_close(one.total, two.total)
    ids = torch.full((2, 1), tokenizer.bos)
    assert objective(model, Batch(ids, dense(2, 1), ids)).total.isfinite()


def test_both_learn(tokenizer: Tokenizer) -> None:
    """Rows that count up by one: what is drawn is soon right, and what is wrong is told."""
    model = electra(tokenizer, width=24, layers=2, generator_width=12).train()
    objective, adam = ReplacedConfig().build_for(model, tokenizer), torch.optim.Adam(model.parameters(), lr=5e-3)
    torch.manual_seed(0)
    rows = list[list[float]]()
    for _ in range(200):
        ids = torch.randint(20, 40, (16, 1)) + torch.arange(12)
        loss = objective(model, Batch(ids, dense(16, 12), ids))
        (loss.total / loss.count).backward()
        adam.step()
        adam.zero_grad()
        means = {name: float(value / loss.count) for name, value in loss.metrics.items()}
        rows.append([means["generator_nll"], means["detected"], means["replaced"]])
    generated, detected, wrong = (sum(column) / 20 for column in zip(*rows[-20:], strict=True))
    assert generated < rows[0][0] - 3
    assert detected > 1 - wrong + 0.03  # more than saying that none is replaced


def test_who_may_learn_it(tokenizer: Tokenizer) -> None:
    plain = from_data(EncoderConfig, {"width": 12, "layers": 1, "mixer": {"heads": 3}}).build(tokenizer.vocab_size)
    with pytest.raises(UserError, match=r"objective=replaced-tokens .*model.kind=electra"):
        ReplacedConfig().build_for(plain, tokenizer)
    with pytest.raises(UserError, match=r"objective=replaced-tokens .*model.head=discriminator"):
        ReplacedConfig().build_for(electra(tokenizer, head="transform"), tokenizer)
    with pytest.raises(UserError, match="weight=0"):
        ReplacedConfig(weight=0.0)
