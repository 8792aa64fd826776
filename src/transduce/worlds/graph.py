"""A graph in which random walks are recorded, and shortest paths are asked for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.errors import UserError
from transduce.worlds.canvas import Canvas
from transduce.worlds.world import Floats, World, WorldConfig

NODES = 20
GOAL = 0
LIMIT = 10  # steps, after which an episode has failed
DEGREE = 3  # arrows that leave a node, on average
TRIES = 1000


class Graph(World):
    """See `GraphConfig`. edges: (nodes, nodes) bool, from row to column. distance: steps to the goal, of each node."""

    def __init__(self, edges: NDArray[np.bool_]) -> None:
        self.edges, self.distance = edges, distances(edges)
        self.node, self.steps, self.worst = GOAL, 0, -2.0 * LIMIT

    def begin(self, number: int, seed: int) -> Floats:
        starts = [node for node in range(len(self.edges)) if node != GOAL]
        self.node, self.steps, self.reached = starts[number % len(starts)], 0, False
        self.best = -float(self.distance[self.node])
        return self.state

    @property
    def state(self) -> Floats:
        """Returns 1 in the place of the node, 0 elsewhere."""
        return np.eye(len(self.edges), dtype=np.float32)[self.node]

    def step(self, action: Any) -> tuple[Floats, float, bool]:
        self.node = int(action) if self.edges[self.node, int(action)] else self.node
        self.steps, self.reached = self.steps + 1, self.node == GOAL
        failed = self.steps == LIMIT and not self.reached
        return self.state, -1.0 - LIMIT * failed, bool(self.reached or failed)

    def picture(self) -> NDArray[np.uint8]:
        canvas, count = Canvas(), len(self.edges)
        places = [(0.85 * math.sin(2 * math.pi * i / count), 0.85 * math.cos(2 * math.pi * i / count))
                  for i in range(count)]  # fmt: skip
        for one, other in np.argwhere(self.edges).tolist():
            canvas.line(places[one], places[other], "lightgrey")
        for node, place in enumerate(places):
            colour = "crimson" if node == self.node else "seagreen" if node == GOAL else "black"
            canvas.disc(place, 0.07 if node == self.node else 0.04, colour)
        return canvas.pixels()


@dataclass(frozen=True, kw_only=True)
class GraphConfig(WorldConfig):
    """20 nodes, arrows at random, one goal. An action is the next node; without an arrow to it nothing moves.

    Every step costs 1, and failing to arrive within ten steps 10 more. Recorded are random walks.   Chen et al. 2021,
    arXiv:2106.01345, sec. 3.
    """

    kind: ClassVar[str] = "graph"
    classes: ClassVar[int | None] = NODES
    width: ClassVar[int] = NODES
    goal: ClassVar[bool] = True
    episodes: int = 4000

    @cached_property
    def edges(self) -> NDArray[np.bool_]:
        """Returns the first arrows drawn from the seed along which every node reaches the goal in time."""
        rng = np.random.default_rng((self.seed, NODES))
        for _ in range(TRIES):
            edges = rng.random((NODES, NODES)) < DEGREE / (NODES - 1)
            np.fill_diagonal(edges, False)
            if distances(edges).max() < LIMIT:
                return edges
        raise UserError(f"seed={self.seed} gives no graph whose nodes all reach the goal; use another")

    def build(self) -> World:
        return Graph(self.edges)

    def policy(self, world: World, rng: np.random.Generator) -> Callable[[Floats], Any]:
        return lambda state: int(rng.choice(np.flatnonzero(self.edges[int(state.argmax())])))


def distances(edges: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns how many steps each node is from the goal; where there is no way, more than there are nodes."""
    out = np.full(len(edges), len(edges) + 1)
    out[GOAL] = 0
    for _ in edges:
        out = np.minimum(out, 1 + np.where(edges, out[None], len(edges)).min(1))
        out[GOAL] = 0
    return out
