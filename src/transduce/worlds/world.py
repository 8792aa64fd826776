"""The contract of worlds: a state, an action that changes it, and a reward; and the episodes that a world makes itself.

Tested in tests/worlds/test_worlds.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.config import Part
from transduce.errors import require_at_least

Floats = NDArray[np.float32]


class Episode(NamedTuple):
    """Steps from a beginning to an end: in a state an action is chosen, which earns a reward."""

    states: Floats  # (T, S)
    actions: NDArray[Any]  # (T,) int64 classes, or (T, A) float32
    rewards: Floats  # (T,)


class World(ABC):
    """One place to act in, with one episode at a time.

    best: the return of the best that can be done in this episode.
    worst: a return that says that it shall fail.
    reached: whether the goal is reached (None: there is no goal, the return says all).
    """

    best: float
    worst: float
    reached: bool | None = None

    @abstractmethod
    def begin(self, number: int, seed: int) -> Floats:
        """Begins the episode of that number -> its first state (S,). It depends on both arguments alone."""

    @abstractmethod
    def step(self, action: Any) -> tuple[Floats, float, bool]:
        """Takes an action, a class or (A,) numbers -> the next state (S,), the reward, and whether this was the end."""

    @abstractmethod
    def picture(self) -> NDArray[np.uint8]:
        """Returns how it looks now: (H, W, 3)."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig(Part):
    """The choice of a world, and of the episodes that it makes to learn from.

    episodes: how many there are to train on; a twentieth as many are made to validate on.
    seed: of these episodes.
    """

    folder: ClassVar[str] = "transduce.worlds"
    classes: ClassVar[int | None] = None  # kinds of actions (None: actions are numbers)
    width: ClassVar[int]  # numbers of a state
    goal: ClassVar[bool] = False  # which an episode reaches or not
    episodes: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(1, episodes=self.episodes)
        require_at_least(0, seed=self.seed)

    def build(self) -> World:
        """Returns the world. Raises UserError where it is not installed."""
        raise AssertionError("a kind of WorldConfig defines build")

    def policy(self, world: World, rng: np.random.Generator) -> Callable[[Floats], Any]:
        """Returns the behaviour of one recorded episode: from states to actions."""
        raise AssertionError("a kind of WorldConfig defines policy")

    def record(self, first: int, count: int) -> list[Episode]:
        """Returns the recorded episodes of the numbers first, first + 1, ..."""
        world = self.build()
        return [self.recorded(world, number) for number in range(first, first + count)]

    def recorded(self, world: World, number: int) -> Episode:
        """Returns the recorded episode of a number; it depends on the number and the seed alone."""
        state, ended, kind = world.begin(number, self.seed), False, np.float32 if self.classes is None else np.int64
        act = self.policy(world, np.random.default_rng((self.seed, number, 1)))
        states, actions, rewards = list[Floats](), list[Any](), list[float]()
        while not ended:
            states.append(state)
            actions.append(np.asarray(act(state), dtype=kind))
            state, reward, ended = world.step(actions[-1])
            rewards.append(reward)
        return Episode(np.stack(states), np.stack(actions), np.asarray(rewards, dtype=np.float32))
