"""Processes: what is added step by step is what the closed form says, and there is a way back from every prediction."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.process.diffusion import Diffusion, rates, signal
from transduce.model.process.flow import Flow
from transduce.model.process.process import Parts, Process

PREDICTED: tuple[Any, ...] = ("eps", "x0", "v")
NOISES: tuple[Any, ...] = ("linear", "cosine")
EVERY: list[Process] = [*(Diffusion(predicts=p, noise=n, steps=50) for p in PREDICTED for n in NOISES), Flow()]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_kind_stands_here() -> None:
    assert {process.kind for process in EVERY} == set(kinds(Process.folder))


@pytest.mark.parametrize("noise", ["linear", "cosine"])
def test_the_closed_form_is_what_adding_noise_step_by_step_gives(noise: Any) -> None:
    """Mean and variance of 200,000 chains from x_0 = 1.7, at several steps, within 1 %."""
    process, start, chains = Diffusion(noise=noise, steps=40), 1.7, 200_000
    x, generator = torch.full((chains,), start, dtype=torch.float64), torch.Generator().manual_seed(1)
    for t, beta in enumerate(rates(noise, 40).tolist(), 1):
        x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(chains, generator=generator, dtype=torch.float64)
        if t in (1, 7, 20, 30):
            a, s = (float(value) for value in process.at(torch.tensor([float(t)])))
            assert x.mean().item() == pytest.approx(a * start, rel=0.01, abs=0.01)
            assert x.var().item() == pytest.approx(s * s, rel=0.01)


@pytest.mark.parametrize("steps", [2, 100, 1000])
def test_at_the_end_there_is_noise_and_at_the_beginning_none(steps: int) -> None:
    for process in (Diffusion(steps=steps, noise="cosine"), Diffusion(steps=steps), Flow()):
        a, s = process.at(torch.tensor([0.0, process.last], dtype=torch.float64))
        assert (a[0], s[0]) == (1, 0)
        assert a[1] < (0.05 if steps > 2 else 0.1)
    assert signal("linear", 1000)[-1].item() == pytest.approx(4.04e-5, rel=0.01)  # of the paper's 1,000 steps
    assert rates("linear", 1000)[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])


@pytest.mark.parametrize("process", EVERY, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_drawing_goes_from_the_last_time_to_zero_and_takes_no_time_twice(process: Process, steps: int) -> None:
    times = process.times(steps)
    assert (times[0], times[-1], len(times)) == (process.last, 0.0, steps + 1)
    assert times == sorted(set(times), reverse=True)


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_training_sees_every_time_but_zero(process: Process) -> None:
    times = process.learnt((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000)
    assert times.min() > 0
    assert times.max() == pytest.approx(process.last, rel=1e-4)
    if isinstance(process, Diffusion):
        assert sorted(set(times.tolist())) == [float(t) for t in range(1, 51)]
        assert (times.long().bincount()[1:] == 200).all()
    clock = process.clock(times)
    assert (clock.min() >= 0, clock.dtype) == (True, torch.float32)
    assert len(set(clock.tolist())) == len(set(times.tolist()))


def test_a_model_is_told_of_the_first_step_as_zero() -> None:
    assert Diffusion(steps=10).clock(torch.tensor([1.0, 10.0])).tolist() == [0.0, 9.0]


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_what_was_mixed_comes_apart_again(process: Process) -> None:
    parts = Parts(numbers(5, 2, 3), numbers(5, 2, 3, seed=1))
    time = process.learnt(torch.tensor([0.0, 0.2, 0.5, 0.7, 0.9], dtype=torch.float64))
    again = process.parts(process.noised(parts, time), process.target(parts, time), time)
    torch.testing.assert_close(again.data, parts.data, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(again.noise, parts.noise, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_along_equal_directions_heun_is_on_the_straight_way(process: Process) -> None:
    parts = Parts(numbers(3, 2), numbers(3, 2, seed=1))
    time, until = (torch.full((3,), t, dtype=torch.float64) for t in process.times(5)[1:3])
    y = process.follow(process.noised(parts, time), parts, parts, time, until)
    torch.testing.assert_close(y, process.noised(parts, until), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("steps", "message"), [(0, "steps=0 draws nothing but noise"), (51, "steps=51 is more than the 50 of the training")]
)
def test_steps_that_cannot_be_are_refused(steps: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Diffusion(steps=50).times(steps)
    with pytest.raises(UserError, match="steps=1 must be"):
        from_data(Diffusion, {"steps": 1})
