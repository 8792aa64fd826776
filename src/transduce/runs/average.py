"""The moving average of the weights.

Tested in tests/training/test_updates.py.
"""

from collections.abc import Collection, Generator
from contextlib import contextmanager

from torch import nn
from torch.optim import swa_utils

from transduce.runs.weights import assign, weights


class Average:
    """The moving average of the weights: a <- d a + (1 - d) w, where d rises to `decay` as (1 + step) / (10 + step).

    The rise lets go of the start values sooner than d alone would.
    """

    def __init__(self, model: nn.Module, decay: float, fixed: Collection[str] = ()) -> None:
        """fixed: names of weights that never move."""
        self.decay = decay
        self.live = {name: p for name, p in weights(model).items() if name not in fixed}  # buffers too
        self.mean = {name: p.detach().clone() for name, p in self.live.items()}

    def update(self, step: int) -> None:
        """Moves the average towards the weights, after update number `step`."""
        live, decay = [p.detach() for p in self.live.values()], min(self.decay, (1 + step) / (10 + step))
        swa_utils.get_ema_multi_avg_fn(decay)(list(self.mean.values()), live, None)

    @contextmanager
    def swapped(self) -> Generator[None]:
        """Puts the average in the place of the weights; they come back at the end."""
        before = {name: p.detach().clone() for name, p in self.live.items()}
        assign(self.live, self.mean)
        try:
            yield
        finally:
            assign(self.live, before)
