"""The training loop: one function, in the order things happen."""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import cast

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn.utils import get_total_norm

from transduce.errors import UserError
from transduce.objectives.objective import Loss
from transduce.optim import set_rate
from transduce.runs.generators import rng_state
from transduce.runs.position import Position
from transduce.runs.recipe import TrainConfig
from transduce.training.gathered import backward
from transduce.training.precision import autocast
from transduce.training.session import Session
from transduce.training.watching import Update, WatcherFailed


class Interrupted(UserError):
    """The user stopped the training, and everything is saved."""

    exit_code = 130


def train(session: Session, interrupted: Callable[[], bool]) -> Position:
    """Updates the model until its steps are done or patience has run out. Returns where it ended.

    Goes on from the newest intact checkpoint of the run, bit for bit.  Raises Interrupted after saving if asked to
    stop, WatcherFailed after saving if who watches raised an exception, and UserError if updates keep failing.
    """
    job, moving, report, display = session.job, session.moving, session.report, session.display
    config, model, device = job.recipe.train, job.model, moving.device
    position, start = session.restore(), time.monotonic()
    if 0 < position.step < config.max_steps:
        session.say(f"going on from step {position.step} of {config.max_steps}")
    stream = job.loader.stream(position.cursor, frozenset(position.skip))
    model.train()

    while not ended(position, config):
        # One update: the gradients of sums are added up, then divided once by the number of all their targets.
        parameters = moving.tuning.arrange(position.step + 1)
        factor = job.recipe.schedule.factor(position.step + 1)
        set_rate(moving.optimizers, factor)
        rng, micro = rng_state(device), list(islice(stream, config.accumulate))
        if len(micro) < config.accumulate:  # the data end, as answers do that have gone too far from where they began
            session.say(job.loader.stopped)
            session.save(position, regular=True)
            break
        batches = (batch.to(device) for _, batch in micro)
        losses = backward(job.objective, moving.carried, batches, partial(autocast, config, device))
        gradients = [p.grad for p in parameters if p.grad is not None]
        sums, norm = read(losses, get_total_norm(gradients))
        count = max(sums["count"], 1.0)
        healthy = math.isfinite(sums["loss"]) and math.isfinite(norm)
        if healthy:
            norm /= count
            scale = 1.0 if config.clip is None else min(1.0, config.clip / (norm + 1e-6))
            torch._foreach_mul_(gradients, scale / count)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            for optimizer in moving.optimizers:
                optimizer.step()
            increment_version(parameters)  # fused updates do not count, and decoding keeps copies of weights by that
            position.step += 1
            if moving.average is not None:
                moving.average.update(position.step)
        model.zero_grad(set_to_none=True)

        # Look after its health. Weights are looked at before they are validated or saved, gradients always.
        validates = position.step % config.validate_every == 0 or position.step == config.max_steps
        regular = position.step % session.save_every == 0 or position.step == config.max_steps
        stops, overdue = interrupted(), session.overdue()
        if not healthy or ((validates or regular or stops or overdue) and not moving.finite()):
            position = session.recover(position, micro, rng)
            stream = job.loader.stream(position.cursor, frozenset(position.skip))
            continue

        # Where we are now, and what there is to tell.
        position.cursor = micro[-1][0]._replace(index=micro[-1][0].index + 1)
        position.tokens += int(sums["count"])
        position.sums = {name: position.sums.get(name, 0.0) + value for name, value in sums.items()}
        rate = job.recipe.optimizer.learning_rate * factor
        display.step(position.step, sum(batch.tokens for _, batch in micro), sums["loss"] / count, rate, norm)
        seconds = time.monotonic() - start
        session.tell(Update(position.step, sums["loss"] / count, rate, norm, position.tokens, seconds))
        if position.step % config.log_every == 0:
            session.run.require_in_place()
            total = max(position.sums.pop("count"), 1.0)
            means = {name: value / total for name, value in position.sums.items()}
            others = {"learning_rate": rate, "grad_norm": norm, "tokens": position.tokens}
            others |= job.loader.shares(position.cursor)
            report.metrics(position.step, {**means, **others})
            report.timings(position.step, seconds, display.speed.tokens)
            position.sums = {}

        # Validate, save, stop.
        improved = validates and session.validate(position)
        failed = session.failure is not None and moving.finite()
        if regular or improved or stops or overdue or failed or ended(position, config):
            session.save(position, regular=regular or ended(position, config))
        if session.failure is not None:
            raise WatcherFailed(session.failure)
        if stops and not ended(position, config):
            raise Interrupted(
                f"stopped after step {position.step} of {config.max_steps}; all is saved in {session.run.path}. "
                "Run the same command again to go on"
            )
    return position


def ended(position: Position, config: TrainConfig) -> bool:
    """Says whether all steps are done, or validation has not improved for as long as patience allows."""
    return position.step >= config.max_steps or (config.patience is not None and position.stale >= config.patience)


def read(losses: list[Loss], norm: Tensor) -> tuple[dict[str, float], float]:
    """Returns the sums over all losses, by name, and the norm: the one time per update that we wait for the device."""
    names = ["loss", "count", *losses[0].metrics]
    rows = [torch.stack([x.detach().to(norm.device, torch.float64) for x in (a, b, *m.values())]) for a, b, m in losses]
    values = cast("list[float]", torch.cat([torch.stack(rows).sum(0), norm.double()[None]]).tolist())
    return dict(zip(names, values, strict=False)), values[-1]
