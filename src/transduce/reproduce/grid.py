"""A grid of cells with rewards, and a policy that learns by PPO to walk in it, from these rewards or from others."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from transduce.model.batch import Batch
from transduce.model.heads.linear import LinearHead, LinearHeadConfig
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm
from transduce.objectives.ppo import Played, PpoConfig, estimates, gae, ppo_loss
from transduce.reproduce.fit import adam, decoder

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))  # stay, or go one cell; at the border a step changes nothing


class Grid(NamedTuple):
    """size * size cells, numbered row by row. to: (cells, moves) where a move leads. rewards: (cells,) of arriving."""

    to: Tensor
    rewards: Tensor

    def returns(self, steps: int) -> Tensor:
        """Returns the greatest sum of rewards in so many steps, from each cell: (cells,)."""
        best = torch.zeros_like(self.rewards)
        for _ in range(steps):
            best = (self.rewards + best)[self.to].amax(1)
        return best


def grid(size: int, pits: int, generator: torch.Generator) -> Grid:
    """Returns a grid with one goal, which gives 1 at every step, and pits, which take 1."""
    places = torch.arange(size * size)
    row, column = places // size, places % size
    to = torch.stack(
        [(row + down).clamp(0, size - 1) * size + (column + right).clamp(0, size - 1) for down, right in MOVES], 1
    )
    rewards, order = torch.zeros(size * size), torch.randperm(size * size, generator=generator)
    rewards[order[0]], rewards[order[1 : 1 + pits]] = 1.0, -1.0
    return Grid(to, rewards)


class Walks(NamedTuple):
    """Episodes. cells: (B, T) where each step begins. moves: (B, T). arrived: (B, T) where it ends."""

    cells: Tensor
    moves: Tensor
    arrived: Tensor


@torch.no_grad()
def walked(model: Model, to: Tensor, starts: Tensor, steps: int, generator: torch.Generator | None) -> Walks:
    """Returns episodes of a policy, which draws its moves (without a generator: takes the likeliest). starts: (B,)."""
    cell, state, seen = starts, model.init_state(len(starts), steps), list[tuple[Tensor, Tensor, Tensor]]()
    for t in range(steps):
        hidden, state = model.step(cell[:, None], dense(len(cell), 1, t), state)
        logits = model.token_head(hidden[:, 0])
        drawn = None if generator is None else torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        move = logits.argmax(-1) if drawn is None else drawn
        seen.append((cell, move, to[cell, move]))
        cell = seen[-1][2]
    return Walks(*(torch.stack(column, 1) for column in zip(*seen, strict=True)))


def policy(cells: int, mixer: Any, width: int, seed: int) -> Model:
    """Returns a decoder that reads cells and begins with moves of equal probability; a head tells what it expects."""
    model = decoder(
        cells, seed, mixer=mixer, width=width, layers=1, positions="none", tie_embeddings=False,
        heads={"value": {"kind": "value"}},
    )  # fmt: skip
    model.head = head = LinearHeadConfig().build(len(MOVES), width, LayerNorm(), None)
    assert isinstance(head, LinearHead)
    nn.init.zeros_(head.weight)
    return model


@dataclass
class Walker:
    """A policy that learns by PPO, some roll-outs at a time, one episode from every cell in each.

    reward: of arriving, from cells (B, T) to numbers (B, T).
    """

    model: Model
    to: Tensor
    steps: int
    rate: float
    config: PpoConfig
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.optimizer = adam(self.model, self.rate)

    def walk(self) -> Walks:
        return walked(self.model, self.to, torch.arange(len(self.to)), self.steps, self.generator)

    def learn(self, reward: Callable[[Tensor], Tensor]) -> Walks:
        """Walks, learns from what that gave, and returns the walks."""
        walks, config = self.walk(), self.config
        rows, own = len(walks.cells), torch.ones_like(walks.moves, dtype=torch.bool)
        batch = Batch(walks.cells, dense(rows, self.steps), walks.moves)
        with torch.no_grad():
            old, value = (x.reshape(rows, self.steps) for x in estimates(self.model, batch))
        start = torch.full_like(old, -math.log(len(MOVES)))  # log p of the policy that has learnt nothing
        gains = reward(walks.arrived) - config.beta * (old - start)
        gain = gae(gains, value, own, config.gamma, config.lam)
        advantage, none = (gain - gain.mean()) / (gain.std() + 1e-4), torch.zeros(rows)
        extra = Played(old, start, value, gain + value, advantage, gains.sum(1), none)
        for _ in range(config.epochs):
            for some in torch.randperm(rows, generator=self.generator).tensor_split(config.minibatches):
                layout = dense(len(some), self.steps)
                part = Played(*(x[some] for x in extra))
                loss = ppo_loss(self.model, Batch(walks.cells[some], layout, walks.moves[some], extra=part), config)
                self.optimizer.zero_grad(set_to_none=True)
                (loss.total / loss.count).backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
                self.optimizer.step()
        return walks

    def slow(self, rate: float, beta: float) -> None:
        """Sets the learning rate, and how much a departure from equal probabilities costs."""
        self.config = replace(self.config, beta=beta)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def drawn(self, rewards: Tensor) -> float:
        """Returns the mean return over walks from every cell. rewards: (cells,) of arriving."""
        return float(rewards[self.walk().arrived].sum(1).mean())

    def best(self, rewards: Tensor) -> float:
        """Returns the same of walks whose every move is the likeliest one."""
        walks = walked(self.model, self.to, torch.arange(len(self.to)), self.steps, None)
        return float(rewards[walks.arrived].sum(1).mean())
