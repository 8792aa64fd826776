"""Drawing: noise in, data out, step by step, with the class or the caption that is asked for.

What is drawn depends on the model, the seed and its number alone. Rows are computed in groups of a fixed size, those of
numbers 0, 1, ... together, so that not even the last bit depends on how many are asked for.

Tested in tests/generate/test_diffuse.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Generator, Tensor

from transduce.errors import UserError
from transduce.model.layout import Layout, dense
from transduce.model.models import Model
from transduce.model.process.process import Parts, Process, full, require_steps, wide

Sampler = Literal["auto", "ddpm", "ddim", "euler", "heun"]
Given = int | Tensor  # a class, -1: none; or the vector of a caption, (M,)


@dataclass(frozen=True, kw_only=True)
class DiffuseConfig:
    """The way from noise to data.

    steps: of drawing; each computes the model once, those of heun twice.
    sampler: ddpm, with noise at each step (Ho et al. 2020, arXiv:2006.11239, alg. 2, the smaller variance); ddim, with
        a share of it (Song et al. 2020, arXiv:2010.02502, eq. 12); euler, ddim without any, which is Euler's method of
        a flow; heun, its second order (Karras et al. 2022, arXiv:2206.00364, alg. 1); auto: as the process has it.
    eta: the share of the noise of ddpm that ddim adds, 0 to 1.
    guidance: p(class) to its power is multiplied on (Ho & Salimans 2022, arXiv:2207.12598, eq. 6); 0: none.
    limit: the data have no number larger than this, either way (None: they may).
    """

    steps: int = 50
    sampler: Sampler = "auto"
    eta: float = 0.0
    guidance: float = 0.0
    limit: float | None = None

    def __post_init__(self) -> None:
        require_steps(self.steps)
        if self.sampler not in get_args(Sampler):
            raise UserError(f"sampler={self.sampler} is no way to draw; use one of {', '.join(get_args(Sampler))}")
        if not 0.0 <= self.eta <= 1.0:
            raise UserError(f"eta={self.eta} is not a share of the noise of ddpm; use 0 to 1")
        if not 0.0 <= self.guidance < 1e6:
            raise UserError(f"guidance={self.guidance} must be 0, for none, or more, such as 2")


def noise_of(seed: int, number: int) -> Generator:
    """Returns the generator of the noise of one row, which no other row draws from."""
    state = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state[0] >> np.uint64(1)))


def diffuse(
    model: Model, shape: Sequence[int], given: Given, numbers: Sequence[int], config: DiffuseConfig, seed: int,
    together: int,
) -> Tensor:  # fmt: skip
    """Returns what is drawn under numbers, (len(numbers), *shape), float32 on the CPU.

    given: what is asked for in all. together: rows of a group. Raises UserError for what the model cannot draw.
    """
    process = require_drawing(model, given, config)
    groups = {number // together for number in numbers}
    drawn = {group: _group(model, process, shape, given, group * together, together, config, seed) for group in groups}
    rows = [drawn[number // together][number % together] for number in numbers]
    return torch.stack(rows) if rows else torch.zeros(0, *shape)


def require_drawing(model: Model, given: Given, config: DiffuseConfig) -> Process:
    """Returns the process of a model. Raises UserError where it does not draw, or not with such guidance."""
    if model.process is None:
        raise UserError("this model removes no noise, so it draws nothing; use model.kind=denoiser")
    model.process.times(config.steps)
    none = isinstance(given, int) and given < 0
    if config.guidance and not model.takes_requests:
        raise UserError(f"guidance={config.guidance:g} sets off a class, but this model was told none; leave it out")
    if config.guidance and not model.guides:
        what = f"guidance={config.guidance:g} sets off a class from none, but this model has no row for none"
        raise UserError(f"{what}; leave guidance out, or train it with model.none=true and objective.drop=0.1")
    if config.guidance and none:
        what = "a class" if model.classes else "a caption"
        raise UserError(f"guidance={config.guidance:g} sets off {what}, but none is given; name it, or leave it out")
    if model.classes and not model.guides and none:
        raise UserError("this model was always told a class, so it draws nothing without one; name it")
    return model.process


@torch.inference_mode()
def _group(
    model: Model, process: Process, shape: Sequence[int], given: Given, first: int, size: int, config: DiffuseConfig,
    seed: int,
) -> Tensor:  # fmt: skip
    """Returns rows first .. first + size - 1."""
    generators = [noise_of(seed, first + i) for i in range(size)]

    def noise() -> Tensor:
        return torch.stack([torch.randn(*shape, generator=one) for one in generators]).to(model.device)

    sampler = process.sampler if config.sampler == "auto" else config.sampler
    eta = {"ddpm": 1.0, "ddim": config.eta}.get(sampler, 0.0)
    layout = dense(size, 1, device=model.device)
    times, x = process.times(config.steps), noise()
    for now, then in pairwise(times):
        time, until = full(now, x), full(then, x)
        parts = seen(model, process, x, time, given, layout, config)
        if sampler == "heun" and then > 0:
            ahead = step(process, x, parts, time, until, 0.0)
            x = process.follow(x, parts, seen(model, process, ahead, until, given, layout, config), time, until)
        elif sampler == "ddpm":
            x = posterior(process, x, parts, time, until, noise() if then > 0 else None)
        else:
            x = step(process, x, parts, time, until, eta, noise() if eta and then > 0 else None)
    return x.float().cpu()


def rows_of(model: Model, given: Given, rows: int) -> Tensor:
    """Returns what is asked for in each of so many rows, as the model takes it."""
    if isinstance(given, int) and given < 0:
        return model.no_request(rows)
    one = torch.as_tensor(given, device=model.device)
    return one.expand(rows, *one.shape)


def seen(
    model: Model, process: Process, x: Tensor, time: Tensor, given: Given, layout: Layout, config: DiffuseConfig
) -> Parts:
    """Returns the data and the noise that a model sees in x. Where it is guided, both requests are one batch."""
    wanted = rows_of(model, given, len(x))
    if config.guidance:
        both = layout.rows(torch.arange(2 * len(x), device=x.device) % len(x))
        requests = torch.cat([wanted, model.no_request(len(x)).to(wanted)])
        pair = model.denoise(x.repeat(2, *[1] * (x.ndim - 1)), time.repeat(2), requests, both)
        asked_for, none = pair.chunk(2)
        predicted = asked_for + config.guidance * (asked_for - none)
    else:
        predicted = model.denoise(x, time, wanted, layout)
    parts = process.parts(x, predicted.to(x.dtype), time)
    if config.limit is None:
        return parts
    data = parts.data.clamp(-config.limit, config.limit)
    a, s = (wide(values, x) for values in process.at(time))
    return Parts(data, (x - a * data) / s)


def between(process: Process, time: Tensor, until: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns m, n and v of q(x_until | x_time, x_0) = N(m x_0 + n x_time, v), each (B,), by Bayes' rule."""
    (a, s), (b, r) = process.at(time), process.at(until)
    ratio = a / b
    added = s.square() - (ratio * r).square()  # the variance that comes between the two
    return b * added / s.square(), ratio * (r / s).square(), r.square() * added / s.square()


def posterior(process: Process, x: Tensor, parts: Parts, time: Tensor, until: Tensor, noise: Tensor | None) -> Tensor:
    """Returns a draw of q(x_until | x_time, x_0).   Ho et al. 2020, eq. 6 and 7, of any two times."""
    data, here, variance = (wide(values, x) for values in between(process, time, until))
    mean = data * parts.data + here * x
    return mean if noise is None else mean + variance.sqrt() * noise


def step(
    process: Process, x: Tensor, parts: Parts, time: Tensor, until: Tensor, eta: float, noise: Tensor | None = None
) -> Tensor:
    """b x_0 + sqrt(r^2 - sigma^2) e + sigma z, sigma = eta times that of ddpm.   Song et al. 2020, eq. 12."""
    b, r = (wide(values, x) for values in process.at(until))
    if noise is None:
        return b * parts.data + r * parts.noise
    sigma = eta * wide(between(process, time, until)[2].sqrt(), x)
    return b * parts.data + (r.square() - sigma.square()).clamp(min=0).sqrt() * parts.noise + sigma * noise
