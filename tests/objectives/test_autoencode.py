"""The loss of an autoencoder is its formula; its noise is that of the generator, and of validation always the same."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture.autoencoder import AutoencoderConfig
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.autoencoder import Autoencoder
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.autoencode import ReconstructionConfig

SIZES: dict[str, Any] = {
    "width": 8, "layers": 1, "latent_channels": 2, "mixer": {"kind": "attention", "heads": 2},
    "embedding": {"kind": "patches", "patch": 3, "picture": [3, 6]},
}  # fmt: skip


def model() -> Autoencoder:
    own = cast(Autoencoder, from_data(AutoencoderConfig, SIZES).build(3).double())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in own.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return own


def batch(rows: int = 5, weights: Tensor | None = None) -> Batch:
    x = torch.randn(rows, 3, 3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(x, dense(rows, 1), torch.full((rows,), -1), weights=weights, examples=tuple(range(7, 7 + rows)))


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_loss_is_the_formula(weight: float) -> None:
    own, given = model(), batch()
    objective = ReconstructionConfig(weight=weight).build_for(own, None)
    torch.manual_seed(5)
    loss = objective(own, given)
    torch.manual_seed(5)
    mean, log_variance = own.to_latents(given.inputs)
    e = torch.randn(5, 2, 1, 2, dtype=torch.float64)
    y = own.from_latents(mean + torch.exp(0.5 * log_variance) * e)
    kl = 0.5 * (mean**2 + torch.exp(log_variance) - log_variance - 1).sum((1, 2, 3))
    expected = ((y - given.inputs) ** 2).sum((1, 2, 3)) / 54 + weight * kl / 54
    torch.testing.assert_close(loss.total, expected.sum())
    assert int(loss.count) == 5
    torch.testing.assert_close(loss.metrics["kl"], kl.sum())
    loss.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in own.parameters())


def test_weights_count() -> None:
    own, weights = model().eval(), torch.tensor([1.0, 0.0, 2.5, 1.0, 0.5], dtype=torch.float64)
    objective = ReconstructionConfig().build_for(own, None)
    whole, parts = objective(own, batch(weights=weights)), batch()
    each = [
        objective(own, parts._replace(inputs=parts.inputs[i : i + 1], layout=dense(1, 1), examples=(7 + i,))).total
        for i in range(5)
    ]
    torch.testing.assert_close(whole.total, (torch.stack(each) * weights).sum())
    assert float(whole.count) == 5.0


def test_validation_sees_the_same_noise_each_time_and_draws_from_no_generator() -> None:
    own, given = model().eval(), batch()
    objective = ReconstructionConfig().build_for(own, None)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again = objective(own, given).total, objective(own, given).total
    assert torch.equal(first, again)
    assert torch.equal(before, torch.random.get_rng_state())
    own.train()
    assert not torch.equal(objective(own, given).total, objective(own, given).total)


def test_what_it_cannot_learn_from_gets_a_sentence() -> None:
    with pytest.raises(UserError, match=r"objective=autoencode .*use model\.kind=autoencoder"):
        ReconstructionConfig().build_for(EncoderConfig(width=8, layers=1).build(9), None)
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="is no weight of the KL"):
            ReconstructionConfig(weight=weight)
