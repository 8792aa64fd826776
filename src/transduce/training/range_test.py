"""The range test of learning rates: the loss of updates whose rate rises from one to the next.   Smith 2017, sec. 3.3.

The rate rises by the same factor in each update, and the test ends where the loss has grown fourfold, as Gugger has it
in "How do you find a good learning rate" (2018); Smith's own rises by the same difference.

Tested in tests/cli/test_lr_find.py.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import clip_grad_norm_

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.objectives.carry import Carried
from transduce.optim import set_rate
from transduce.training.gathered import backward
from transduce.training.precision import autocast
from transduce.training.session import Job
from transduce.tune.tuning import Tuning

GROWN = 4.0  # by how much the loss may grow over the smallest before a test ends
LAST = 5  # updates whose mean loss is looked at for that
LEAST = 10  # updates without which there is nothing to read


@dataclass(frozen=True)
class Range:
    """The losses of a range test.

    rates: of each update. losses: in nats per target, before that update. smooth: the same without most of the noise.
    own: the rate of the recipe.
    """

    rates: list[float]
    losses: list[float]
    smooth: list[float]
    own: float

    @property
    def smallest(self) -> float:
        """Returns the rate where the smoothed loss is smallest; beyond it updates do harm."""
        return self.rates[int(np.argmin(self.smooth))]

    @property
    def steepest(self) -> float | None:
        """Returns the rate where the smoothed loss falls fastest with the logarithm of the rate (None: it does not)."""
        end = int(np.argmin(self.smooth))
        if end < 2:
            return None
        slopes = np.gradient(np.array(self.smooth), np.log(self.rates))[: end + 1]
        return self.rates[int(slopes.argmin())] if slopes.min() < 0 else None

    @property
    def suggestion(self) -> float | None:
        """Returns a rate to train with: a tenth of the smallest, but no more than the steepest (None: none learns)."""
        return None if self.steepest is None else min(self.smallest / 10, self.steepest)


def range_test(job: Job, device: torch.device, *, low: float, high: float, updates: int) -> Range:
    """Trains the model of a job for at most so many updates, with rates from `low` to `high`. Returns the losses."""
    config, model = job.recipe.train, job.model
    optimizers = job.recipe.optimizer.build(model)
    tuning, carried = Tuning(job.recipe.tune, model, optimizers), Carried(model)
    parameters = tuning.arrange(config.max_steps)
    stream: Iterator[Batch] = (batch for _, batch in job.loader.stream())
    rates, losses = np.geomspace(low, high, updates).tolist(), list[float]()
    model.train()
    for rate in rates:
        set_rate(optimizers, rate / job.recipe.optimizer.learning_rate)
        batches = (batch.to(device) for batch in islice(stream, config.accumulate))
        some = backward(job.objective, carried, batches, partial(autocast, config, device))
        total, count = sum(float(one.total.detach()) for one in some), sum(float(one.count) for one in some)
        losses.append(total / max(count, 1.0))
        if not math.isfinite(losses[-1]) or grown(losses):
            break
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= max(count, 1.0)
        if config.clip is not None:
            clip_grad_norm_(parameters, config.clip)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < LEAST:
        what = f"the loss grows from the first updates on, at a rate of {low:g}"
        raise UserError(f"{what}; give a smaller --low, such as {low / 1000:g}")
    return Range(
        rates[: len(finite)], finite, smoothed(finite, max(1.0, updates / 25)), job.recipe.optimizer.learning_rate
    )


def grown(losses: Sequence[float]) -> bool:
    """Says whether the last losses are so much above the smallest mean that the rest tells nothing."""
    if len(losses) < 2 * LAST:
        return False
    means = np.convolve(losses, np.ones(LAST) / LAST, "valid")
    return bool(means[-1] - max(means.min(), 0) > (GROWN - 1) * abs(means.min()))


def smoothed(values: Sequence[float], width: float) -> list[float]:
    """Returns the mean around each value, weighted by a bell of so many updates to each side."""
    x: NDArray[np.float64] = np.arange(len(values), dtype=np.float64)
    bell = np.exp(-0.5 * np.square((x[:, None] - x) / width))
    return (bell @ np.array(values) / bell.sum(1)).tolist()
