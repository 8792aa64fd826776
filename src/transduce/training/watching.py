"""The events that a watcher of a training receives, and the promise that watching changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from transduce.tasks.evaluate import Evaluation


@dataclass(frozen=True)
class Update:
    """An update of the weights.

    step: updates done.
    loss: of this update, per target, in nats, with label smoothing.
    learning_rate: that it was made with.
    grad_norm: of the mean gradient, before it was clipped.
    tokens: targets learned from so far.
    seconds: since this process began to train.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Validation:
    """A validation.

    step: updates done.
    evaluation: what was measured.
    best: no validation of the run was better so far.
    """

    step: int
    evaluation: Evaluation
    best: bool


Watch = Callable[[Update | Validation], None]


class WatcherFailed(Exception):
    """The function that watched raised `failure`; what was trained is saved."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(str(failure))
        self.failure = failure
