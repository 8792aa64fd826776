"""The gradient of several batches of pairs is that of one with all of them, and each loss is what its paper says."""

from contextlib import nullcontext
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.towers import TowersConfig
from transduce.model.batch import Batch
from transduce.model.heads.joint import Joint
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.contrastive import ContrastiveConfig, Negatives, softmax_contrast
from transduce.objectives.objective import ObjectiveConfig
from transduce.objectives.sigmoid_contrast import SigmoidContrastConfig
from transduce.training.gathered import backward

OFFSET = {"kind": "joint", "scale": 10, "offset": -10}
MANY = 128


def towers(head: dict[str, Any], dropout: float = 0.0, seed: int = 0, **more: Any) -> Model:
    data = {
        "width": 16, "layers": 1, "channels": 1, "mixer": {"kind": "attention", "heads": 2},
        "embedding": {"kind": "patches", "patch": 2, "picture": [4, 4]}, "head": head,
        "residual": {"kind": "pre-norm", "dropout": dropout}, **more,
    }  # fmt: skip
    return from_data(TowersConfig, data).build(50, seed).train()


def pairs(count: int = MANY, repeated: int = 7, hard: bool = False) -> Batch:
    """hard: every third pair of the first three quarters has a hard negative, of which one is the second of pair 9."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randn(count, 1, 4, 4, generator=generator)
    ids = torch.randint(0, 50, (count, 5), generator=generator)
    which = torch.arange(count)
    which[:repeated] = 0
    extra = None
    if hard:
        wrong = torch.arange(0, 3 * count // 4, 3) + count
        wrong[-1] = which[min(9, count - 1)]
        texts = torch.randint(0, 50, (len(wrong), 4), generator=generator)
        extra = Negatives(texts, dense(len(wrong), 4), wrong)
    return Batch(pictures, dense(count, 1), which, ids, dense(count, 5), extra=extra)


def part(batch: Batch, rows: slice) -> Batch:
    count, extra = len(batch.targets[rows]), batch.extra
    if extra is not None:
        own = slice(-(-rows.start // 3), -(-rows.stop // 3))
        texts, which = extra.inputs[own], extra.which[own]
        extra = Negatives(texts, dense(len(texts), 4), which) if len(texts) else None
    return Batch(
        batch.inputs[rows], dense(count, 1), batch.targets[rows], cast(Any, batch.source)[rows], dense(count, 5),
        extra=extra,
    )  # fmt: skip


def gradients(model: Model) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("config", [ContrastiveConfig(both_ways=True), ContrastiveConfig(), SigmoidContrastConfig()])
def test_four_batches_have_the_gradient_of_one(config: ObjectiveConfig, hard: bool) -> None:
    model, batch = towers(OFFSET), pairs(hard=hard)
    objective = config.build_for(model, None)
    [whole] = backward(objective, model, [batch], nullcontext)
    expected = {name: grad.clone() for name, grad in gradients(model).items()}
    model.zero_grad()
    parts = [part(batch, slice(start, start + 32)) for start in range(0, MANY, 32)]
    assert [one.extra is None for one in parts] == ([False] * 3 + [True] if hard else [True] * 4)
    [loss] = backward(objective, model, parts, nullcontext)
    assert float(loss.total.detach()) == pytest.approx(float(whole.total.detach()), rel=1e-6)
    assert (int(loss.count), int(whole.count)) == (MANY, MANY)
    size = max(float(grad.abs().max()) for grad in expected.values())
    assert gradients(model).keys() == expected.keys()
    for name, grad in gradients(model).items():
        assert float((grad - expected[name]).abs().max()) <= 1e-6 * size, name
    alone = [objective(model, one).total for one in parts]
    assert float(torch.stack(alone).detach().sum()) < float(whole.total.detach()) - 1, (
        "the batches by themselves are easier"
    )


def test_dropout_is_the_same_when_a_batch_is_computed_again() -> None:
    """Where the second pass dropped others, the gradient would not be that of the loss that is reported."""
    model, batch = towers(OFFSET, dropout=0.3).double(), pairs(16)
    batch = batch._replace(inputs=batch.inputs.double())
    parts = [part(batch, slice(start, start + 4)) for start in range(0, 16, 4)]
    objective = ContrastiveConfig(both_ways=True).build_for(model, None)
    torch.manual_seed(3)
    backward(objective, model, parts, nullcontext)
    after, found = torch.get_rng_state(), gradients(model)
    weight = model.get_parameter("texts.head.output.weight")
    along, losses = torch.randn_like(weight), list[float]()
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            weight.add_(along, alpha=step)
        torch.manual_seed(3)
        [loss] = backward(objective, model, parts, nullcontext)
        losses.append(float(loss.total.detach()))
        with torch.no_grad():
            weight.add_(along, alpha=-step)
    assert torch.equal(after, torch.get_rng_state())
    slope = (losses[0] - losses[1]) / 2e-6
    model.zero_grad()
    torch.manual_seed(3)
    backward(objective, model, parts, nullcontext)
    found = gradients(model)["texts.head.output.weight"]
    assert float((found * along).sum()) == pytest.approx(slope, rel=1e-5)


def test_experts_are_balanced_as_without() -> None:
    """What modules note beside the loss is counted once, in one batch as in several."""
    feed = {"kind": "experts", "experts": 3, "top": 1}
    model, batch = towers({"kind": "joint"}, feedforward=feed), pairs(8, repeated=0)
    objective = ContrastiveConfig().build_for(model, None)
    [whole] = backward(objective, model, [batch], nullcontext)
    [loss] = backward(objective, model, [part(batch, slice(0, 4)), part(batch, slice(4, 8))], nullcontext)
    assert set(loss.metrics) == set(whole.metrics)
    beside = {name for name in whole.metrics if name not in ("nll", "train_accuracy")}
    assert beside
    assert all(0.5 < float((loss.metrics[name] / whole.metrics[name]).detach()) < 2 for name in beside)


def test_one_pair_is_refused_in_one_sentence() -> None:
    model = towers({"kind": "joint"})
    objective = ContrastiveConfig().build_for(model, None)
    with pytest.raises(UserError, match=r"^an update has one pair.*raise batch\.batch_tokens"):
        backward(objective, model, [pairs(1, 0)], nullcontext)
    backward(objective, model, [pairs(1, 0), pairs(1, 0)], nullcontext)
    one = pairs(1, 0)
    backward(objective, model, [one._replace(extra=Negatives(one.source, dense(1, 5), one.targets + 1))], nullcontext)


def test_the_losses_are_those_of_the_papers() -> None:
    """Written out in float64, pair by pair; pairs with the same one are left out of each other's."""
    model, batch = towers(OFFSET).double(), pairs(9, repeated=3)
    batch = batch._replace(inputs=batch.inputs.double())
    head = model.head
    assert isinstance(head, Joint)
    with torch.no_grad():
        objective = cast(Any, SigmoidContrastConfig().build_for(model, None))
        u, v, _ = objective.vectors(model, batch)
        z, same = head.scores(u, v), batch.targets
        sigmoid = clip = 0.0
        for i in range(9):
            others = [j for j in range(9) if j == i or same[i] != same[j]]
            sigmoid -= sum(float(F.logsigmoid(z[i, j] if i == j else -z[i, j])) for j in others)
            clip -= float(z[i, others].log_softmax(0)[others.index(i)] + z[others, i].log_softmax(0)[others.index(i)])
        assert float(objective(model, batch).total) == pytest.approx(sigmoid, rel=1e-10)
        both = ContrastiveConfig(both_ways=True).build_for(model, None)
        assert float(both(model, batch).total) == pytest.approx(clip / 2, rel=1e-10)
        turned = [softmax_contrast(model, a, b, same, temperature=1, both_ways=True).total for a, b in ((u, v), (v, u))]
        assert float(turned[0]) == pytest.approx(float(turned[1]), rel=1e-12), "swapping the towers changes nothing"


@pytest.mark.parametrize("hard", [True, False])
def test_hard_negatives_are_wrong_answers_to_every_first_one_but_that_they_belong_to(hard: bool) -> None:
    """DPR, eq. 2, and the sigmoid loss, written out in float64; a hard negative that a pair has is none of its own."""
    model, batch = towers(OFFSET).double(), pairs(12, repeated=3, hard=hard)
    batch = batch._replace(inputs=batch.inputs.double())
    with torch.no_grad():
        u, v, w = cast(Any, SigmoidContrastConfig().build_for(model, None)).vectors(model, batch)
        z = cast(Any, model.head).scores(u, torch.cat([v, w]))
        same = [*batch.targets.tolist(), *(batch.extra.which.tolist() if hard else ())]
        assert len(same) == (15 if hard else 12)
        softmax = sigmoid = turned = 0.0
        for i in range(12):
            others = [j for j in range(len(same)) if j == i or same[i] != same[j]]
            softmax -= float(z[i, others].log_softmax(0)[others.index(i)])
            sigmoid -= sum(float(F.logsigmoid(z[i, j] if i == j else -z[i, j])) for j in others)
            firsts = [j for j in others if j < 12]
            turned -= float(z[firsts, i].log_softmax(0)[firsts.index(i)])
        loss = ContrastiveConfig().build_for(model, None)(model, batch)
        assert float(loss.total) == pytest.approx(softmax, rel=1e-10)
        assert int(loss.count) == 12
        both = ContrastiveConfig(both_ways=True).build_for(model, None)
        assert float(both(model, batch).total) == pytest.approx((softmax + turned) / 2, rel=1e-10)
        assert float(SigmoidContrastConfig().build_for(model, None)(model, batch).total) == pytest.approx(
            sigmoid, rel=1e-10
        )


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_knows_nothing_has_the_loss_of_a_guess(seed: int) -> None:
    """ln n at scale 1 to 2 %, and at that of CLIP between ln n and 1.25 ln n."""
    guess = float(torch.tensor(float(MANY)).log())
    for scale, low, high in ((1.0, 0.98, 1.02), (1 / 0.07, 1.0, 1.25)):
        model = towers({"kind": "joint", "scale": scale}, seed=seed, width=128).eval()
        with torch.no_grad():
            loss = ContrastiveConfig(both_ways=True).build_for(model, None)(model, pairs(repeated=0))
        assert low < float(loss.total.detach()) / MANY / guess < high, scale


def test_a_temperature_beside_a_learned_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"objective\.temperature=0\.1, but model\.head=joint learns its own"):
        ContrastiveConfig(temperature=0.1).build_for(towers({"kind": "joint"}), None)
    with pytest.raises(UserError, match=r"set model\.head\.kind=joint, model\.head\.scale=10 and model\.head\.offset"):
        SigmoidContrastConfig().build_for(towers({"kind": "joint"}), None)
    text = EncoderConfig(width=12, layers=1, head=cast(Any, kinds("transduce.model.heads")["joint"])())
    assert ContrastiveConfig().build_for(text.build(23), None), "one tower learns a scale, too"
