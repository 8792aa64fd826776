"""What moves in a training, and how fast: the contract of ways to tune, and laws for every kind of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from transduce.config import kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.models import Model
from transduce.optim import set_rate
from transduce.optim.adamw import AdamWConfig
from transduce.tune.head import HeadOnly
from transduce.tune.tuning import TuneConfig, Tuning


@pytest.mark.parametrize("kind", sorted(kinds(TuneConfig.folder)))
@pytest.mark.parametrize("tie", [True, False])
def test_every_parameter_moves_as_its_label_says(kind: str, tie: bool) -> None:
    model = DecoderConfig(width=16, layers=2, tie_embeddings=tie).build(9)
    config, optimizers = kinds(TuneConfig.folder)[kind](), AdamWConfig(learning_rate=0.1).build(model)
    assert isinstance(config, TuneConfig)
    tuning = Tuning(config, model, optimizers)
    parameters = list(model.parameters())
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(map(id, parameters))
    moving = {id(p) for p in tuning.arrange(1)}
    assert moving == {id(p) for p in parameters if config.factor(tuning.labels[p], 1) > 0}
    set_rate(optimizers, 1.0)
    before = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.grad = torch.ones_like(p)
    for optimizer in optimizers:
        optimizer.step()
    assert {id(p) for p, old in zip(parameters, before, strict=True) if not torch.equal(p, old)} == moving


def test_the_head_moves_with_the_table_that_it_shares() -> None:
    shared, own = (DecoderConfig(width=16, layers=1, tie_embeddings=tie).build(9) for tie in (True, False))
    for model, table in ((shared, "head"), (own, "body")):
        labels = HeadOnly().labels(model)
        assert labels[model.towers()[0].embed.weight] == table
        assert {labels[p] for p in model.stacks()[0].parameters()} == {"body"}
    with pytest.raises(UserError, match="this model has none"):
        HeadOnly().labels(DecoderConfig(width=16, layers=1, head=NoHeadConfig()).build(9))


def test_rates_may_differ_by_label_and_change_with_the_step(
    session: Callable[..., Any], recipe: Callable[..., Any]
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Layered(TuneConfig):
        def labels(self, model: Model) -> dict[torch.Tensor, str]:
            return {p: "norm" if "norm" in name else "rest" for name, p in model.named_parameters()}

        def factor(self, label: str, step: int) -> float:
            return 0.5 if label == "norm" else float(step > 2)

    made = session(recipe())
    tuning = Tuning(Layered(), made.job.model, made.moving.optimizers)
    few = tuning.arrange(1)
    assert 0 < len(few) < len(list(made.job.model.parameters()))
    assert all("norm" in name for name, p in made.job.model.named_parameters() if p.requires_grad)
    assert len(tuning.arrange(3)) == len(list(made.job.model.parameters()))
    set_rate(made.moving.optimizers, 1.0)
    groups = [group for optimizer in made.moving.optimizers for group in optimizer.param_groups]
    assert {group["lr"] / group["peak"] for group in groups} == {0.5, 1.0}
    owned = [id(p) for group in groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in made.job.model.parameters())
