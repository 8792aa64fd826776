"""Rewards learnt from comparisons of segments, and which segments to compare next."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from transduce.config import from_data
from transduce.model.architecture import EncoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.reward import reward_loss
from transduce.reproduce.fit import PLAIN, fit


class Annotator(NamedTuple):
    """Prefers the segment whose true rewards have the greater sum; of equal ones a coin decides.

    rewards: (cells,). wrong: the share of answers that are turned round.
    """

    rewards: Tensor
    wrong: float
    generator: torch.Generator

    def sort(self, pairs: Tensor) -> Tensor:
        """Returns pairs of segments (P, 2, T), in each of which the first is now the preferred one."""
        margin = self.rewards[pairs].sum(2) @ torch.tensor([1.0, -1.0])
        coin, slip = torch.rand(2, len(pairs), generator=self.generator)
        second = (margin < 0) | ((margin == 0) & (coin < 0.5))
        second = second ^ (slip < self.wrong)
        return torch.where(second[:, None, None], pairs.flip(1), pairs)


@dataclass
class Ensemble:
    """Rewards of cells that are learnt from comparisons of segments: the mean of some networks, each of deviation 1.

    Each learns from a sample of the pairs of its own, drawn with replacement. The reward of a segment is the mean over
    its steps, so that a segment of one step tells that of a cell.   Christiano et al. 2017, sec. 2.2.3.
    """

    cells: int
    networks: int
    width: int
    rate: float
    decay: float
    batch: int
    seed: int
    generator: torch.Generator
    models: list[Model] = field(init=False)
    pairs: Tensor | None = None  # (P, 2, T) cells, the first of each preferred

    def __post_init__(self) -> None:
        config = {
            **PLAIN, "width": self.width, "layers": 1, "mixer": "none", "positions": "none",
            "head": {"kind": "numbers", "pool": ["mean"]},
        }  # fmt: skip
        seeds = (self.seed * self.networks + i for i in range(self.networks))
        self.models = [from_data(EncoderConfig, config).build(self.cells, seed) for seed in seeds]
        self.optimizers = [torch.optim.AdamW(m.parameters(), self.rate, weight_decay=self.decay) for m in self.models]
        self.samples = [torch.empty(0, dtype=torch.long) for _ in self.models]

    def learn(self, pairs: Tensor, steps: int) -> None:
        """Takes more pairs, and learns from all that there are."""
        before = 0 if self.pairs is None else len(self.pairs)
        self.pairs = every = pairs if self.pairs is None else torch.cat([self.pairs, pairs])
        for number, (model, optimizer) in enumerate(zip(self.models, self.optimizers, strict=True)):
            drawn = before + torch.randint(len(pairs), (len(pairs),), generator=self.generator)
            own = self.samples[number] = torch.cat([self.samples[number], drawn])

            def loss(model: Model = model, own: Tensor = own) -> Tensor:
                some = every[own[torch.randint(len(own), (self.batch,), generator=self.generator)]].flatten(0, 1)
                value = reward_loss(model, Batch(some, dense(len(some), some.shape[1]), some), 0.01)
                return value.total / value.count

            fit(model, loss, steps, optimizer)

    @torch.no_grad()
    def preferences(self, pairs: Tensor) -> Tensor:
        """Returns the probability that the first of each pair is preferred, by each network: (networks, P)."""
        rows = pairs.flatten(0, 1)
        batch = Batch(rows, dense(len(rows), rows.shape[1]), rows)
        rewards = [m.pooled_head(m.features(batch), batch.layout)[:, 0].reshape(-1, 2) for m in self.models]
        return torch.stack([torch.sigmoid(r[:, 0] - r[:, 1]) for r in rewards])

    def disputed(self, pairs: Tensor, count: int) -> Tensor:
        """Returns the pairs on which the networks agree least."""
        return pairs[self.preferences(pairs).var(0).topk(count).indices]

    @torch.no_grad()
    def rewards(self) -> Tensor:
        """Returns the reward of every cell, (cells,): the mean of the networks, each with mean 0 and deviation 1."""
        each = torch.arange(self.cells)[:, None]
        batch = Batch(each, dense(self.cells, 1), each)
        values = torch.stack([m.pooled_head(m.features(batch), batch.layout)[:, 0] for m in self.models])
        values = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True).clamp(min=1e-6)
        return values.mean(0)


def segments(arrived: Tensor, pairs: int, length: int, generator: torch.Generator) -> Tensor:
    """Draws pairs of segments of so many steps from episodes (B, T): (P, 2, length) cells."""
    rows, steps = arrived.shape
    row = torch.randint(rows, (pairs, 2, 1), generator=generator)
    start = torch.randint(steps - length + 1, (pairs, 2, 1), generator=generator)
    return arrived[row, start + torch.arange(length)]
