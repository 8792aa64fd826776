"""A pole on a cart, from gymnasium."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.errors import UserError
from transduce.worlds.canvas import Canvas
from transduce.worlds.world import Floats, World, WorldConfig

LIMIT = 500  # steps, each of which earns 1
RAIL = 2.4  # how far from the middle the cart may go


class CartPole(World):
    """See `CartPoleConfig`."""

    best, worst = float(LIMIT), 1.0

    def __init__(self) -> None:
        self.env: Any = installed().make("CartPole-v1", disable_env_checker=True)
        self.state = np.zeros(4, dtype=np.float32)

    def begin(self, number: int, seed: int) -> Floats:
        own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
        self.state = np.asarray(self.env.reset(seed=own)[0], dtype=np.float32)
        return self.state

    def step(self, action: Any) -> tuple[Floats, float, bool]:
        state, reward, fallen, late, _ = self.env.step(int(action))
        self.state = np.asarray(state, dtype=np.float32)
        return self.state, float(reward), bool(fallen or late)

    def picture(self) -> NDArray[np.uint8]:
        canvas, cart, angle = Canvas(), float(self.state[0]) / RAIL * 0.9, float(self.state[2])
        canvas.line((-1, -0.5), (1, -0.5), "grey")
        canvas.box((cart - 0.12, -0.5), (cart + 0.12, -0.35))
        canvas.line((cart, -0.35), (cart + 0.8 * math.sin(angle), -0.35 + 0.8 * math.cos(angle)), "peru", width=5)
        return canvas.pixels()


@dataclass(frozen=True, kw_only=True)
class CartPoleConfig(WorldConfig):
    """A pole that stands on a cart, which is pushed left or right; every step until it falls earns 1, at most 500.

    CartPole-v1 of gymnasium (Barto, Sutton and Anderson 1983). An episode is recorded of a policy of its own: the sign
    of a random linear function of the state. Few of these balance the pole.
    """

    kind: ClassVar[str] = "cartpole"
    classes: ClassVar[int | None] = 2
    width: ClassVar[int] = 4

    def build(self) -> World:
        return CartPole()

    def policy(self, world: World, rng: np.random.Generator) -> Callable[[Floats], Any]:
        weights = rng.normal(size=4)
        return lambda state: int(weights @ state > 0)


def installed() -> Any:
    """Returns gymnasium. Raises UserError where it is not installed."""
    try:
        import gymnasium  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise UserError("world=cartpole needs gymnasium; run `pip install 'transduce[act]'`") from None
    return gymnasium
