"""The loss of a denoiser against its formula, what is drawn for it, and when the class is left out."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.batch import Batch
from transduce.model.denoiser import Denoiser
from transduce.model.layout import dense
from transduce.model.process.process import Noisy, Parts
from transduce.objectives.denoise import NoiseConfig, drawn

SMALL: dict[str, Any] = {
    "width": 12, "layers": 1, "mixer": "none", "positions": "none", "embedding": "vectors", "frequencies": 8,
    "head": {"kind": "numbers", "size": 5}, "classes": 3, "residual": {"kind": "adaptive", "dropout": 0.0},
}  # fmt: skip


def model(**more: Any) -> Denoiser:
    return cast(Denoiser, from_data(DenoiserConfig, {**SMALL, **more}).build(5))


def batch(rows: int = 64, seed: int = 0) -> Batch:
    x = torch.randn(rows, 1, 5, generator=torch.Generator().manual_seed(seed))
    return Batch(x, dense(rows, 1), torch.arange(rows) % 3, examples=tuple(range(7, 7 + rows)))


@pytest.mark.parametrize(
    "process", [{"kind": "flow"}, *({"kind": "diffusion", "predicts": p} for p in ("eps", "x0", "v"))], ids=str
)
def test_the_loss_is_the_mean_square_of_what_is_missing(process: dict[str, Any]) -> None:
    """A head of zeros predicts 0, so the loss is the mean square of the target itself."""
    made, b = model(process=process).eval(), batch()
    with torch.no_grad():
        cast(Any, made.head).output.weight.zero_()
        cast(Any, made.head).output.bias.fill_(0.25)
    loss = NoiseConfig().build_for(made, None)(made, b)
    noise, shares = drawn(b, training=False)
    assert made.process is not None
    target = made.process.target(Parts(b.inputs, noise), made.process.learnt(shares))
    assert loss.count == 64
    torch.testing.assert_close(loss.total, (target - 0.25).square().mean((1, 2)).sum(), rtol=1e-5, atol=1e-4)
    assert loss.metrics["nll"] == loss.total
    half = NoiseConfig().build_for(made, None)(made, b._replace(weights=torch.full((64,), 0.5)))
    torch.testing.assert_close(half.total, loss.total / 2)
    assert half.count == 32


def test_what_a_model_reads_is_noisy_by_its_time() -> None:
    made, b, seen = model().eval(), batch(), list[Noisy]()
    made.features, own = lambda x: (seen.append(x.inputs), own(x))[1], made.features  # type: ignore[method-assign]
    NoiseConfig().build_for(made, None)(made, b)
    noise, shares = drawn(b, training=False)
    assert made.process is not None
    time = made.process.learnt(shares)
    a, s = (x.float()[:, None, None] for x in made.process.at(time))
    torch.testing.assert_close(seen[0].x, a * b.inputs + s * noise)
    assert torch.equal(seen[0].time, (time - 1).float())
    assert torch.equal(seen[0].given, b.targets)


def test_validations_draw_the_same_whatever_the_batch_and_trainings_do_not() -> None:
    whole = batch()
    noise, shares = drawn(whole, training=False)
    part = whole._replace(inputs=whole.inputs[9:12], examples=whole.examples[9:12])
    again, few = drawn(part, training=False)
    assert torch.equal(again, noise[9:12])
    assert torch.equal(few, shares[9:12])
    ordered = shares.sort().values
    assert (ordered[1:] - ordered[:-1]).max() < 0.05  # 64 shares, spread evenly
    torch.manual_seed(0)
    one, two = drawn(whole, training=True), drawn(whole, training=True)
    assert not torch.equal(one[0], two[0])
    torch.manual_seed(0)
    assert torch.equal(drawn(whole, training=True)[0], one[0])


@pytest.mark.parametrize(("drop", "none", "share"), [(0.3, True, 0.3), (0.0, True, 0.0), (0.3, False, 0.0)])
def test_so_many_classes_are_left_out_in_training_and_none_in_validation(drop: float, none: bool, share: float) -> None:
    made, b, given = model(none=none), batch(4000), list[Tensor]()
    made.condition.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    objective = NoiseConfig(drop=drop).build_for(made, None)
    torch.manual_seed(0)
    objective(made.train(), b)
    objective(made.eval(), b)
    assert (given[0] < 0).float().mean().item() == pytest.approx(share, abs=0.03)
    assert torch.equal(given[0][given[0] >= 0], b.targets[given[0] >= 0])
    assert torch.equal(given[1], b.targets)


def test_models_that_cannot_are_refused() -> None:
    with pytest.raises(UserError, match=r"objective=denoise .*use model.kind=denoiser"):
        NoiseConfig().build_for(EncoderConfig(width=12).build(7), None)
    with pytest.raises(UserError, match=r"set model\.head=pixels"):
        NoiseConfig().build_for(model(head="none"), None)
    with pytest.raises(UserError, match=r"drop=1\.0 is not a probability"):
        NoiseConfig(drop=1.0)
