"""A policy learns what is wanted of it from comparisons of what it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.objectives.ppo import PpoConfig
from transduce.reproduce import draw
from transduce.reproduce.comparisons import Annotator, Ensemble, segments
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.grid import Grid, Walker, grid, policy
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements

POLICIES: dict[str, dict[str, Any]] = {"MLP": {"kind": "none"}, "LSTM": {"kind": "lstm"}}
SHARE = "return / that of the true reward"


@dataclass(frozen=True, kw_only=True)
class HumanPreferences(Experiment):
    """A grid of 8 by 8 cells with one goal and ten pits, which nobody tells the policy.

    An annotator who is wrong in every tenth answer says which of two segments of walks is better. In each of `rounds`
    the pairs are asked on which an ensemble of three rewards agrees least, of ten times as many, drawn from the walks
    of a policy and of one that has learnt nothing; the ensemble learns, and the policy learns from it. At the end new
    policies learn from the last reward alone, and others from the true one; they are measured by the moves that they
    hold for the best, from every cell.
    """

    kind: ClassVar[str] = "human-preferences"
    claim = "From 700 comparisons of short segments a policy learns nearly what it learns from the true reward."
    source = "Christiano et al. 2017, arXiv:1706.03741"
    paper = "simulated robots: 700 comparisons nearly match the true reward, 1,400 slightly exceed it"
    marks = (
        Mark(f"{SHARE}, 700, MLP", ">=", 0.9),
        Mark(f"{SHARE}, 700, LSTM", ">=", 0.9),
        Mark("return / the greatest possible, true reward, MLP", ">=", 0.9, proposed=True),
        Mark("return / the greatest possible, true reward, LSTM", ">=", 0.9, proposed=True),
    )
    minutes = 8
    explain = (
        "The MLP misses its mark in two seeds, by 0.014 and 0.005. The rewards are not what it lacks, since an LSTM "
        "learns nearly all there is from the same ones; it seems that from some cells it goes to one that the "
        "learnt reward holds for a little better than those around it, and stays. Of 300 and of 100 comparisons, "
        "from which an MLP alone learns, nothing is asked. At random a policy gets less than 0. Settings were "
        "chosen on other seeds, but for early drafts, which were tried on these, too. "
        "PPO, its advantages and the loss of rewards are those of the library; rewards have "
        "mean 0 and deviation 1 over all cells, the true one too, and a departure from equal probabilities of all "
        "moves costs `beta` a nat, less of it later, without which a policy stays where it is a little better."
    )
    history = (
        Change(
            first="walks=160, and `beta` as it is at the beginning throughout",
            gave="return / that of the true reward, 700, MLP, 0.893 in seed 0, below its mark of 0.9; the other seeds "
            "were not run to the end",
            then="walks=200, and `beta` falls to `beta_at_the_end`",
            why="moves were still half random at the end, so that walks taught little; chosen on other seeds",
        ),
    )
    comparisons: tuple[int, ...] = (700, 300, 100)
    size: int = 8
    pits: int = 10
    steps: int = 24
    width: int = 32
    rate: float = 5e-3
    beta: float = 0.5
    beta_at_the_end: float = 0.1
    networks: int = 3
    rate_of_rewards: float = 1e-2
    decay: float = 0.01
    pairs_of_update: int = 128
    updates: int = 30
    rounds: int = 7
    segment: int = 4
    wrong: float = 0.1
    pool: int = 10
    walks_of_round: int = 8
    walks: int = 200

    def run(self, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        world = grid(self.size, self.pits, generator)
        best, values = float(world.returns(self.steps).mean()), dict[str, Any]()
        rewards = {"true reward": (world.rewards - world.rewards.mean()) / world.rewards.std()}
        for count in self.comparisons:
            rewards[str(count)] = self.compared(world, count, seed, generator)
            likeness = torch.corrcoef(torch.stack([rewards[str(count)], world.rewards]))[0, 1]
            values[f"correlation with the true reward, {count}"] = float(likeness)
        for kind in POLICIES:
            for name, reward in rewards.items() if kind == "MLP" else list(rewards.items())[:2]:
                values[f"returns, {name}, {kind}"] = returns = self.learnt(world, reward, kind, seed, generator)
                values[f"return, {name}, {kind}"] = returns[-1]
                values[f"{SHARE}, {name}, {kind}"] = returns[-1] / values[f"return, true reward, {kind}"]
            values[f"return / the greatest possible, true reward, {kind}"] = (
                values[f"return, true reward, {kind}"] / best
            )
        values["return, at random"] = self.walker(world, "MLP", seed, generator).drawn(world.rewards)
        return values

    def compared(self, world: Grid, count: int, seed: int, generator: torch.Generator) -> Tensor:
        """Returns the rewards of cells, learnt from so many comparisons."""
        annotator = Annotator(world.rewards, self.wrong, generator)
        ensemble = Ensemble(
            self.size**2, self.networks, self.width, self.rate_of_rewards, self.decay, self.pairs_of_update, seed,
            generator,
        )  # fmt: skip
        walker, first = (self.walker(world, "MLP", seed, generator) for _ in range(2))
        arrived = walker.walk().arrived
        for number in range(self.rounds):
            some = count // self.rounds + (number < count % self.rounds)
            among = segments(
                torch.cat([arrived, first.walk().arrived]), some * self.pool, self.segment, generator
            )  # fmt: skip
            asked = ensemble.disputed(among, some) if number else among[:some]
            ensemble.learn(annotator.sort(asked), self.updates)
            rewards = ensemble.rewards()
            for _ in range(self.walks_of_round):
                arrived = walker.learn(lambda cells, rewards=rewards: rewards[cells]).arrived
        return ensemble.rewards()

    def learnt(self, world: Grid, rewards: Tensor, kind: str, seed: int, generator: torch.Generator) -> list[float]:
        """Returns true returns of a new policy as it learns from these rewards; the last is of its likeliest moves."""
        walker, returns = self.walker(world, kind, seed, generator), list[float]()
        for number in range(self.walks):
            done = number / self.walks
            walker.slow(self.rate * (1 - done), self.beta + done * (self.beta_at_the_end - self.beta))
            walks = walker.learn(lambda cells: rewards[cells])
            returns.append(float(world.rewards[walks.arrived].sum(1).mean()))
        return [*returns, walker.best(world.rewards)]

    def walker(self, world: Grid, kind: str, seed: int, generator: torch.Generator) -> Walker:
        config = PpoConfig(
            prompts=len(world.to), group=1, epochs=4, minibatches=2, gamma=0.97, value_clip=None, beta=self.beta
        )
        model = policy(len(world.to), POLICIES[kind], self.width, seed)
        return Walker(model, world.to, self.steps, self.rate, config, generator)

    def plot(self, results: Sequence[Measurements]) -> Figure:
        names = ("true reward", *(str(count) for count in self.comparisons))
        figure, axes = draw.figure(
            *({"title": f"{kind}, learnt from", "xlabel": "roll-out", "ylabel": "return by the true reward"}
              for kind in POLICIES),
            {"title": "At the end, by comparisons", "xlabel": "return / that of the true reward"},
        )  # fmt: skip
        for place, kind in zip(axes, POLICIES, strict=False):
            curves = {name: f"returns, {name}, {kind}" for name in names}
            draw.lines(place, results, None, {name: curve for name, curve in curves.items() if curve in results[0]})
        shares = {f"{count}, {kind}": f"{SHARE}, {count}, {kind}" for count in self.comparisons for kind in POLICIES}
        shares = {name: share for name, share in shares.items() if share in results[0]}
        draw.bars(axes[2], results, shares, ".2f")
        return figure
