"""Drawing against what is known exactly: Gaussian data, of which the best prediction is a formula."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.generate import diffuse as module
from transduce.generate.diffuse import DiffuseConfig, diffuse, posterior, step
from transduce.model.architecture import EncoderConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.denoiser import Denoiser
from transduce.model.process.diffusion import Diffusion, rates, signal
from transduce.model.process.flow import Flow
from transduce.model.process.process import Parts, Process

MEAN, DEVIATION, SHAPE = 0.7, 0.4, (1, 2)
SMALL: dict[str, Any] = {
    "width": 16, "layers": 1, "mixer": "none", "positions": "none", "embedding": "vectors", "frequencies": 8,
    "head": {"kind": "numbers", "size": 2}, "residual": {"kind": "adaptive", "dropout": 0.0},
}  # fmt: skip


class Knows(Denoiser):
    """Predicts the best that can be predicted where the data are N(MEAN + class, DEVIATION^2)."""

    seen: list[tuple[Tensor, Tensor]]

    def denoise(self, x: Tensor, time: Tensor, given: Tensor, layout: object) -> Tensor:
        assert self.process is not None
        self.seen.append((time, given))
        a, s = (value.to(x.dtype)[:, None, None] for value in self.process.at(time))
        mean = MEAN + given.clamp(min=0)[:, None, None]
        data = mean + a * DEVIATION**2 / (a**2 * DEVIATION**2 + s**2) * (x - a * mean)
        noise = torch.zeros_like(x) if float(s.max()) == 0 else (x - a * data) / s
        return self.process.target(Parts(data, noise), time)


def knows(process: Process, classes: int = 0) -> Knows:
    model = cast(Any, from_data(DenoiserConfig, SMALL).build(2).eval())
    model.__class__, model.process, model.classes, model.guides = Knows, process, classes, bool(classes)
    model.seen = []
    return model


def model(**more: Any) -> Denoiser:
    made = cast(Denoiser, from_data(DenoiserConfig, {**SMALL, "classes": 3, **more}).build(2).eval())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in made.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return made


def draw(made: Denoiser, count: int, given: int = -1, seed: int = 0, together: int = 16, **way: Any) -> Tensor:
    return diffuse(made, SHAPE, given, range(count), DiffuseConfig(**way), seed, together)


WAYS: list[tuple[Process, dict[str, Any]]] = [
    (Diffusion(noise="linear", steps=400), {"steps": 400}),
    (Diffusion(predicts="x0", noise="cosine", steps=60), {"steps": 60}),
    (Diffusion(noise="cosine", steps=400), {"steps": 400, "sampler": "ddpm"}),
    (Diffusion(predicts="v", steps=400), {"steps": 400, "sampler": "ddpm"}),
    (Diffusion(predicts="v", noise="cosine", steps=400), {"steps": 400, "sampler": "ddim", "eta": 1.0}),
    (Diffusion(noise="cosine", steps=400), {"steps": 50, "sampler": "heun"}),
    (Flow(), {"steps": 60}),
    (Flow(), {"steps": 20, "sampler": "heun"}),
    (Flow(), {"steps": 400, "sampler": "ddpm"}),
]


@pytest.mark.parametrize(("process", "way"), WAYS, ids=str)
def test_gaussian_data_are_drawn_as_they_are(process: Process, way: dict[str, Any]) -> None:
    x = diffuse(knows(process), (1, 4000), -1, range(2), DiffuseConfig(**way), 0, 2)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.05)


def test_heun_needs_fewer_steps_than_euler() -> None:
    spread = [draw(knows(Flow()), 2000, together=2000, steps=12, sampler=s).std().item() for s in ("euler", "heun")]
    exact = draw(knows(Flow()), 2000, together=2000, steps=600).std().item()
    assert abs(spread[1] - exact) < 0.3 * abs(spread[0] - exact)


def test_ddim_with_all_steps_and_eta_1_is_ddpm() -> None:
    """Of the same noise the same, up to rounding, and so in distribution; with eta 0 it is another one."""
    for process in (Diffusion(steps=30, noise="cosine"), Diffusion(steps=30, predicts="v")):
        ddpm, ddim, still = (
            draw(knows(process), 500, together=500, steps=30, sampler=s, eta=e)
            for s, e in (("ddpm", 0.0), ("ddim", 1.0), ("ddim", 0.0))
        )
        torch.testing.assert_close(ddim, ddpm, atol=2e-4, rtol=1e-3)
        assert (still - ddpm).abs().mean() > 0.1


def test_the_posterior_is_that_of_the_paper() -> None:
    """Ho et al. 2020, eq. 7: beta~ = (1 - abar_{t-1}) / (1 - abar_t) beta_t, and its mean."""
    process, t = Diffusion(steps=30), 12
    beta, kept = rates("linear", 30)[t - 1], signal("linear", 30)
    x, parts = torch.full((1, 1), 0.3, dtype=torch.float64), Parts(torch.full((1, 1), -0.8).double(), torch.zeros(1, 1))
    time, until = torch.tensor([float(t)]), torch.tensor([t - 1.0])
    rest = (1 - kept[t - 1]) / (1 - kept[t])
    mean = kept[t - 1].sqrt() * beta / (1 - kept[t]) * -0.8 + (1 - beta).sqrt() * rest * 0.3
    torch.testing.assert_close(posterior(process, x, parts, time, until, None)[0, 0], mean)
    one = posterior(process, x, parts, time, until, torch.ones(1, 1).double())[0, 0] - mean
    torch.testing.assert_close(one.square(), rest * beta)


def test_the_first_step_is_at_the_end_of_the_process_and_the_last_one_adds_no_noise() -> None:
    made = knows(Diffusion(steps=20, noise="cosine"))
    draw(made, 2, together=2, steps=5, sampler="ddpm")
    assert [time[0].item() for time, _ in made.seen] == [20.0, 16.0, 12.0, 8.0, 4.0]
    x, parts = torch.zeros(1, 1), Parts(torch.full((1, 1), 0.6), torch.full((1, 1), 2.0))
    for last in (posterior(made.process, x, parts, torch.tensor([1.0]), torch.tensor([0.0]), torch.ones(1, 1)),  # type: ignore[arg-type]
                 step(made.process, x, parts, torch.tensor([1.0]), torch.tensor([0.0]), 1.0, torch.ones(1, 1))):  # type: ignore[arg-type]  # fmt: skip
        torch.testing.assert_close(last, parts.data)


def test_a_drawing_depends_on_the_model_the_seed_its_class_and_its_number_alone_to_the_bit() -> None:
    made = model()
    for way in ({"sampler": "ddpm"}, {"sampler": "heun"}, {"guidance": 2.0}):
        many = draw(made, 40, given=1, steps=5, **way)
        assert len({tuple(row) for row in many.flatten(1).tolist()}) == 40
        for count in (1, 7, 33):
            assert torch.equal(draw(made, count, given=1, steps=5, **way), many[:count])
        some = diffuse(made, SHAPE, 1, [39, 3, 3], DiffuseConfig(steps=5, **cast(Any, way)), 0, 16)
        assert torch.equal(some, many[[39, 3, 3]])
        torch.testing.assert_close(draw(made, 40, given=1, together=5, steps=5, **way), many, atol=1e-4, rtol=1e-4)
    assert not torch.equal(draw(made, 4, given=1, seed=1), draw(made, 4, given=1))
    assert not torch.equal(draw(made, 4, given=2), draw(made, 4, given=1))


def test_drawing_changes_no_generator_that_training_uses() -> None:
    made = model()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    draw(made, 3, given=0, steps=3, sampler="ddpm")
    assert torch.equal(torch.get_rng_state(), before)


def test_no_guidance_is_none_and_more_goes_further() -> None:
    made = model()
    assert torch.equal(draw(made, 4, given=1, guidance=0.0), draw(made, 4, given=1))
    x, time = torch.randn(16, *SHAPE), torch.full((16,), 500.0, dtype=torch.float64)
    layout = module.dense(16, 1)
    given, none = (torch.full((16,), c) for c in (1, -1))
    asked, plain = (made.denoise(x, time, c, layout) for c in (given, none))
    assert made.process is not None
    for w in (0.0, 1.5):
        parts = module.seen(made, made.process, x, time, 1, layout, DiffuseConfig(guidance=w))
        expected = made.process.parts(x, asked + w * (asked - plain), time)
        torch.testing.assert_close(parts.noise, expected.noise, atol=1e-5, rtol=1e-4)


def test_the_condition_is_computed_once_a_step() -> None:
    made, calls = model(), list[int]()
    made.condition.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    draw(made, 3, given=1, steps=7, guidance=2.0, together=4)
    assert calls == [8] * 7  # both classes in one batch
    calls.clear()
    draw(made, 3, given=1, steps=7, sampler="heun", together=4)
    assert len(calls) == 2 * 7 - 1


def test_what_is_drawn_stays_within_the_limits_of_the_data() -> None:
    made = model()
    free, bound = (draw(made, 16, given=0, steps=10, limit=limit) for limit in (None, 0.5))
    assert free.abs().max() > 0.5
    assert bound.abs().max() <= 0.5


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"steps": 0}, "steps=0 draws nothing but noise; take at least 1"), ({"eta": 2.0}, "eta=2.0 is not a share"),
        ({"guidance": -1.0}, "guidance=-1.0 must be 0"), ({"sampler": "pndm"}, "sampler=pndm is no way to draw"),
        ({"steps": 2000}, "steps=2000 is more than the 1000 of the training"),
    ],
)  # fmt: skip
def test_a_way_that_leads_nowhere_is_refused(way: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw(model(), 1, given=0, **way)


def test_what_a_model_cannot_draw_is_refused() -> None:
    with pytest.raises(UserError, match=r"no row for none; leave guidance out, or train it with model.none=true"):
        draw(model(none=False), 1, given=0, guidance=2.0)
    with pytest.raises(UserError, match="this model was told none; leave it out"):
        draw(model(classes=0), 1, guidance=2.0)
    with pytest.raises(UserError, match="but none is given; name it"):
        draw(model(), 1, guidance=2.0)
    with pytest.raises(UserError, match="draws nothing without one; name it"):
        draw(model(none=False), 1)
    with pytest.raises(UserError, match="removes no noise, so it draws nothing"):
        draw(cast(Any, EncoderConfig(width=12).build(7)), 1)
