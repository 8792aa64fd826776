"""Acting step by step in a world, on what a model remembers of the steps before.

Tested in tests/tasks/test_act.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.pieces import tensor
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.batch import SLOTS, Batch, Steps
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.model.state import over, select
from transduce.worlds.world import Episode, World, WorldConfig

Target = float | Literal["best", "worst"]  # a return; best and worst are those of the world, episode by episode
APART = 1 << 20  # added to a seed, so that no episode begins as a recorded one did


class Played(NamedTuple):
    """An episode that a model has played.

    target: the return that it was asked for.
    returned: the return that it had.
    reached: whether the goal was reached (None: there is none).
    pictures: of every state, where they were wanted.
    """

    target: float
    returned: float
    reached: bool | None
    episode: Episode
    pictures: list[NDArray[np.uint8]]

    @property
    def steps(self) -> int:
        return len(self.episode.rewards)


class Choice(Protocol):
    """The reading of states and the choice of actions, which a task knows."""

    @property
    def context(self) -> int: ...

    def read(self, readers: Readers, states: NDArray[Any], returns: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """(B, S) states and (B,) returns-to-go -> what a model reads of them: (B, 1, S), (B, 1, 1)."""
        ...

    def chosen(self, model: Model, readers: Readers, hidden: Tensor) -> tuple[Tensor, NDArray[Any]]:
        """(B, M) -> the action of each row as the model reads it, and as the world takes it."""
        ...


class Player(Protocol):
    """Chooses actions in some episodes that go on beside each other."""

    def act(self, states: NDArray[Any], returns: NDArray[Any], rewards: NDArray[Any]) -> NDArray[Any]:
        """(B, S) states, (B,) what is still to be earned, (B,) rewards of the step before -> an action for each."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with some of the rows."""
        ...


class Playing(Protocol):
    """A task that acts."""

    def player(self, model: Model, readers: Readers, episodes: int, context: int | None) -> Player: ...


class Actor:
    """Plays some episodes beside each other. Rows are dropped as episodes end.

    While an episode has no more steps than `context`, the model goes on token by token from its state; later it reads
    the last `context` steps anew, as it was trained to.
    """

    def __init__(self, choice: Choice, model: Model, readers: Readers, rows: int, context: int) -> None:
        self.choice, self.model, self.readers, self.context = choice, model, readers, context
        self.steps, self.state = list[Steps](), model.init_state(rows, SLOTS * context)

    @torch.inference_mode()
    def act(
        self, states: NDArray[Any], returns: NDArray[Any], rewards: NDArray[Any] | None = None
    ) -> NDArray[Any]:  # fmt: skip
        """(B, S) states and (B,) what is still to be earned -> an action for each. Rewards are not read."""
        model, number = self.model, len(self.steps)
        read_states, read_returns = self.choice.read(self.readers, states, returns)
        rows = len(states)
        blank = self.steps[-1].actions * 0 if self.steps else self.nothing(rows)
        times = torch.full((rows, 1), number)
        self.steps.append(over(Steps(read_returns, read_states, blank, times), lambda x: x.to(model.device)))
        if number < self.context:
            steps = joined(self.steps[-2:])
            layout = slots(rows, max(SLOTS * number - 1, 0), SLOTS * number + 2, model.device)
            hidden, self.state = model.step(cast(Any, steps), layout, self.state)
        else:
            hidden = whole(model, joined(self.steps[-self.context :]))
        action, taken = self.choice.chosen(model, self.readers, hidden[:, -1])
        self.steps[-1] = self.steps[-1]._replace(actions=action[:, None])
        return taken

    def nothing(self, rows: int) -> Tensor:
        """Returns actions in the place of those that are to be chosen."""
        actions = self.readers["actions"]
        if getattr(actions, "classes", 0):
            return torch.zeros(rows, 1, dtype=torch.int64)
        return torch.zeros(rows, 1, actions.size)

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with some of the rows."""
        index = torch.tensor(rows, device=self.model.device)
        self.steps, self.state = [select(step, index) for step in self.steps], select(self.state, index)


def joined(steps: Sequence[Steps]) -> Steps:
    """Returns steps of (B, 1, ...) one behind the other: (B, T, ...)."""
    return Steps(*(torch.cat(column, 1) for column in zip(*steps, strict=True)))


def slots(rows: int, start: int, stop: int, device: torch.device) -> Layout:
    return Layout(torch.arange(start, stop, device=device).expand(rows, -1))


def whole(model: Model, steps: Steps) -> Tensor:
    """Returns hidden states (B, 3 T - 1, M) of T steps, up to the last state."""
    rows, count = steps.times.shape
    layout = slots(rows, 0, SLOTS * count - 1, model.device)
    return model.features(Batch(steps, layout, steps.times))


@dataclass
class Going:
    """An episode that goes on in its world."""

    number: int
    world: World
    target: float
    state: NDArray[Any]
    states: list[NDArray[Any]]
    actions: list[Any]
    rewards: list[float]
    pictures: list[NDArray[np.uint8]]

    @property
    def left(self) -> float:
        """Returns what is still to be earned."""
        return self.target - sum(self.rewards)

    def take(self, action: Any) -> bool:
        """Takes an action; says whether this was the end."""
        self.states.append(self.state)
        self.actions.append(action)
        self.state, reward, ended = self.world.step(action)
        self.rewards.append(reward)
        if self.pictures:
            self.pictures.append(self.world.picture())
        return ended

    @property
    def played(self) -> Played:
        episode = Episode(np.stack(self.states), np.asarray(self.actions), np.asarray(self.rewards, dtype=np.float32))
        return Played(self.target, float(sum(self.rewards)), self.world.reached, episode, self.pictures)


def play(
    task: Playing, model: Model, readers: Readers, config: WorldConfig, *, target: Target = "best", episodes: int = 20,
    seed: int = 0, context: int | None = None, pictures: bool = False,
) -> list[Played]:  # fmt: skip
    """Returns episodes that a model plays in a world. They depend on the weights, the seed and their number.

    target: the return that the model is asked for.
    context: steps that it looks back on (None: as many as it was trained with).
    pictures: the first episode comes with pictures of it.

    Raises UserError where the world has other states or actions than the model knows.
    """
    require_same(readers, config)
    going: list[Going] = [begun(config, number, seed, target, pictures and number == 0) for number in range(episodes)]
    out = dict[int, Played]()
    training = model.training
    model.eval()
    try:
        player = task.player(model, readers, episodes, context)
        while going:
            numbers = [(x.left, x.rewards[-1] if x.rewards else 0.0) for x in going]
            actions = player.act(np.stack([x.state for x in going]), *np.array(numbers).T)
            ended = [one.take(action) for one, action in zip(going, cast("list[Any]", actions.tolist()), strict=True)]
            out |= {one.number: one.played for one, end in zip(going, ended, strict=True) if end}
            stay = [row for row, end in enumerate(ended) if not end]
            going = [going[row] for row in stay]
            if any(ended) and going:
                player.keep(stay)
    finally:
        model.train(training)
    return [out[number] for number in range(episodes)]


def begun(config: WorldConfig, number: int, seed: int, target: Target, pictures: bool) -> Going:
    world = config.build()
    state = world.begin(number, APART + seed)
    value = {"best": world.best, "worst": world.worst}[target] if isinstance(target, str) else target
    return Going(number, world, value, state, [], [], [], [world.picture()] if pictures else [])


def require_same(readers: Readers, config: WorldConfig) -> None:
    """Raises UserError where a world has other states or actions than a model reads."""
    width, actions = readers["states"].size, readers["actions"]
    if width != config.width:
        what = f"this model reads states of {width} numbers, but those of world={config.kind} have {config.width}"
        raise UserError(f"{what}; act in the world that its episodes come from")
    classes = getattr(actions, "classes", 0)
    if bool(classes) != (config.classes is not None) or classes > (config.classes or 0):
        kinds = [f"{n} kinds" if n else "numbers" for n in (classes, config.classes or 0)]
        what = f"the actions of this model are {kinds[0]}, but those of world={config.kind} are {kinds[1]}"
        raise UserError(f"{what}; act in the world that its episodes come from")


def to_tensor(x: NDArray[Any]) -> Tensor:
    return tensor(np.ascontiguousarray(x))


def share(played: Sequence[Played]) -> tuple[int, int] | None:
    """Returns in how many episodes the goal was reached, and of how many; None: there is no goal."""
    goals = [one.reached for one in played if one.reached is not None]
    return (sum(goals), len(goals)) if goals else None
