"""Hidden tokens: how many, which, what stands for them, and that measuring hides the same ones every time."""

from pathlib import Path

import pytest
import torch

import transduce as td
from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded
from transduce.model.models import Model
from transduce.objectives.language import NextTokenConfig
from transduce.objectives.masked import MaskedConfig, hidden, masked_loss
from transduce.text.char import Char

VOCAB, MASK, NEVER = 50, 3, (0, 1, 2)
CONFIG = MaskedConfig(mask=MASK, never=NEVER)
SMALL = {"width": 12, "layers": 1, "mixer": {"heads": 3}, "positions": "learned"}


def encoder() -> Model:
    return from_data(EncoderConfig, SMALL).build(VOCAB)


def batch(rows: int = 200, tokens: int = 60) -> Batch:
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(4, VOCAB, (rows, tokens), generator=g)
    ids[:, 0] = 1
    return Batch(ids, dense(rows, tokens), ids, examples=tuple(range(rows)))


@pytest.mark.parametrize("training", [True, False])
def test_the_shares_are_those_of_the_paper(training: bool) -> None:
    torch.manual_seed(0)
    given = batch()
    made = hidden(given, CONFIG, VOCAB, training)
    chosen = made.targets >= 0
    assert chosen.sum(1).unique().tolist() == [round(0.15 * 59)]
    assert not chosen[:, 0].any()  # <s> is never hidden
    assert torch.equal(made.targets[chosen], given.inputs[chosen])
    assert torch.equal(made.inputs[~chosen], given.inputs[~chosen])
    shown, were = made.inputs[chosen], given.inputs[chosen]
    share = [(shown == MASK).float().mean(), (shown == were).float().mean()]
    assert share == pytest.approx([0.8, 0.1], abs=0.03)
    assert len(shown[(shown != MASK) & (shown != were)].unique()) > 0.9 * VOCAB * 0.8
    assert chosen.float().mean(0)[1:].std() < 0.05  # no place is preferred


def test_measuring_hides_the_same_tokens_and_draws_nothing() -> None:
    given, before = batch(), torch.get_rng_state()
    first = hidden(given, CONFIG, VOCAB, False)
    assert torch.equal(before, torch.get_rng_state())
    again = hidden(
        Batch(given.inputs[5:9], dense(4, 60), given.targets[5:9], examples=(5, 6, 7, 8)), CONFIG, VOCAB, False
    )
    assert torch.equal(first.targets[5:9], again.targets)
    assert torch.equal(first.inputs[5:9], again.inputs)
    assert not torch.equal(first.targets >= 0, hidden(given, CONFIG, VOCAB, True).targets >= 0)


def test_padding_is_never_hidden_and_short_texts_lose_one_token() -> None:
    ids = torch.randint(4, VOCAB, (3, 7))
    layout = right_padded(torch.tensor([7, 2, 1]), 7)
    ids[:, 0] = 1
    made = hidden(Batch(ids, layout, ids), CONFIG, VOCAB, True)
    assert (made.targets >= 0).sum(1).tolist() == [1, 1, 0]
    assert not (made.targets >= 0)[~layout.valid].any()


def test_nothing_to_predict_is_a_zero_with_a_gradient() -> None:
    model, ids = encoder(), torch.ones(2, 1, dtype=torch.int64)
    loss = masked_loss(model, Batch(ids, dense(2, 1), ids), CONFIG)
    assert (loss.total.item(), int(loss.count)) == (0.0, 0)
    loss.total.backward()


def test_who_may_learn_what() -> None:
    tokenizer = Char().train(["abcdefgh" * 5])
    decoder = from_data(DecoderConfig, SMALL).build(tokenizer.vocab_size)
    none = from_data(EncoderConfig, {**SMALL, "head": "discriminator"}).build(tokenizer.vocab_size)
    made = from_data(EncoderConfig, SMALL).build(tokenizer.vocab_size)
    for model, objective, says in (
        (decoder, MaskedConfig(), "model.kind=encoder"),
        (none, MaskedConfig(), "model.head=transform"),
        (made, MaskedConfig(mask=99), "objective.mask=99"),
        (made, NextTokenConfig(), "objective=masked-lm"),
    ):
        with pytest.raises(UserError, match=says):
            objective.build_for(model, tokenizer)
    MaskedConfig().build_for(made, tokenizer)
    for wrong in ({"fraction": 0.0}, {"masked": 0.8, "random": 0.3}):
        with pytest.raises(UserError):
            MaskedConfig(**wrong)


def test_an_encoder_learns_goes_on_exactly_and_is_measured_alike(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat and the rat ran to the man\n" * 60)
    tiny = {
        "data.path": str(tmp_path / "t.txt"), "data.valid_fraction": 0.2, "model": "bert-base", "model.layers": 1,
        "model.width": 16, "model.mixer.heads": 2, "model.feedforward.hidden": 32, "batch.max_length": 16,
        "batch.batch_tokens": 128, "schedule.kind": "constant", "schedule.warmup_steps": 1, "objective": "masked-lm",
        "train.max_steps": 8, "train.validate_every": 4, "train.threads": 1,
    }  # fmt: skip
    once = td.train("shakespeare", tiny, out=tmp_path / "a", quiet=True)
    td.train("shakespeare", {**tiny, "train.max_steps": 4}, out=tmp_path / "b", quiet=True)
    twice = td.train("shakespeare", tiny, out=tmp_path / "b", quiet=True)
    assert once.result is not None
    assert twice.result is not None
    assert once.result["valid"]["loss"] == twice.result["valid"]["loss"]
    assert (once.last / "model.safetensors").read_bytes() == (twice.last / "model.safetensors").read_bytes()
    plan = td.plan("shakespeare", tiny, probe=False)
    assert plan.costs.state.per_token == 0
    with pytest.raises(UserError, match="objective=masked-lm"):
        td.train("shakespeare", {**tiny, "objective": "next-token"}, out=tmp_path / "c", quiet=True)
