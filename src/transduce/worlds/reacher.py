"""An arm of two links that is to bring its hand to a point; how fast it moves cannot be seen."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.worlds.canvas import Canvas
from transduce.worlds.world import Floats, World, WorldConfig

LINKS = (0.5, 0.5)  # lengths
LIMIT = 20  # steps of an episode
TICK = 0.2  # seconds of a step
FORCE = 4.0  # acceleration of a joint by an action of 1, per second squared
DRAG = 0.2  # share of its speed that a joint loses in a second
BENDS = (0.3, 2.6)  # angles of the second joint for which points are drawn: to one side, so that one is right
SHAKE = 0.2  # deviation of what is added to every force on its way
STIFF, DAMPED = 8.0, 4.5  # of the recorded controller: acceleration for a radian, and for a radian per second
SHOWN = 0.85  # of a picture, from its middle, is 1
NEAR = 0.1  # the hand has reached the point


class Reacher(World):
    """See `ReacherConfig`. angles: of the joints, the second relative to the first. speeds: radians per second."""

    best, worst = 0.0, -1.5 * LIMIT

    def __init__(self) -> None:
        self.angles, self.speeds, self.aim, self.goal, self.steps = *np.zeros((4, 2)), 0
        self.rng = np.random.default_rng(0)

    def begin(self, number: int, seed: int) -> Floats:
        rng = self.rng = np.random.default_rng((seed, number))
        self.angles, self.speeds, self.steps = rng.uniform(-math.pi, math.pi, 2), rng.uniform(-2, 2, 2), 0
        self.aim = np.array([rng.uniform(-math.pi, math.pi), rng.uniform(*BENDS)])  # where the hand is at the point
        self.goal, self.reached = hand(self.aim)[1], False
        return self.state

    @property
    def state(self) -> Floats:
        """Returns sines and cosines of how far both joints are from where the hand is at the point."""
        error = self.aim - self.angles
        return np.concatenate([np.sin(error), np.cos(error)]).astype(np.float32)

    def step(self, action: Any) -> tuple[Floats, float, bool]:
        force = np.clip(np.asarray(action, dtype=np.float64), -1, 1) + self.rng.normal(scale=SHAKE, size=2)
        self.speeds = (1 - DRAG * TICK) * self.speeds + FORCE * TICK * force
        self.angles, self.steps = self.angles + TICK * self.speeds, self.steps + 1
        distance = float(np.linalg.norm(self.goal - hand(self.angles)[1]))
        self.reached = distance < NEAR
        return self.state, -distance, self.steps == LIMIT

    def picture(self) -> NDArray[np.uint8]:
        canvas, points = Canvas(), (self.goal, *hand(self.angles))
        goal, elbow, tip = ((SHOWN * float(point[0]), SHOWN * float(point[1])) for point in points)
        canvas.disc(goal, SHOWN * NEAR, "palegreen")
        canvas.line((0, 0), elbow, "black", width=6)
        canvas.line(elbow, tip, "dimgrey", width=5)
        canvas.disc(tip, 0.05, "crimson")
        return canvas.pixels()


@dataclass(frozen=True, kw_only=True)
class ReacherConfig(WorldConfig):
    """An arm of two links without gravity. An action is a force for each joint, -1 to 1; a step costs the distance.

    An episode has 20 steps, and begins in motion; forces are shaken on their way to the joints. The goal is reached
    where the hand is within 0.1 of the point at the end. States hold no speeds, so that a model must see them in what
    came before. Recorded is a controller that knows them.
    """

    kind: ClassVar[str] = "reacher"
    width: ClassVar[int] = 4
    goal: ClassVar[bool] = True
    episodes: int = 1000

    def build(self) -> World:
        return Reacher()

    def policy(self, world: World, rng: np.random.Generator) -> Callable[[Floats], Any]:
        assert isinstance(world, Reacher)

        def act(state: Floats) -> Any:
            """Returns what drives both angles to those aimed at, with damping."""
            error = (world.aim - world.angles + math.pi) % (2 * math.pi) - math.pi
            force = (STIFF * error - DAMPED * world.speeds) / FORCE
            return np.clip(force, -1, 1)

        return act


def hand(angles: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns where the elbow and the hand are."""
    one, both = float(angles[0]), float(angles[0] + angles[1])
    elbow = LINKS[0] * np.array([math.cos(one), math.sin(one)])
    return elbow, elbow + LINKS[1] * np.array([math.cos(both), math.sin(both)])
