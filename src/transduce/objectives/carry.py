"""A model that goes on in each batch with what it remembered of the one before: truncated back-propagation."""

from typing import cast

import torch
from torch import Tensor

from transduce.data.lanes import Lanes
from transduce.data.loader import Loader
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.heads.head import Head, PooledHead, TokenHead
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.model.state import State, assign, nbytes, over, tensors

ENDLESS = 1 << 20  # tokens: memories that are as large for twice as many do not grow


class Carried:
    """A model that goes on from batch to batch, for an objective. state: after the last batch (None: before the first).

    Of keys and values that attention remembers, the gradient ends there: what Transformer-XL keeps, hidden states
    before they are projected (Dai et al. 2019, sec. 3.2), would let it reach the projections.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.state = model, cast(State, None)

    @property
    def training(self) -> bool:
        return self.model.training

    @property
    def head(self) -> Head | None:
        return self.model.head

    @property
    def token_head(self) -> TokenHead:
        return self.model.token_head

    @property
    def pooled_head(self) -> PooledHead:
        return self.model.pooled_head

    def arranged(self, layout: Layout) -> Layout:
        return self.model.arranged(layout)

    def features(self, batch: Batch) -> Tensor:
        if batch.offset is None:
            return self.model.features(batch)
        if batch.offset == 0 or self.state is None:
            self.state = self.model.init_state(batch.inputs.shape[0], ENDLESS)
        hidden, after = self.model.step(batch.inputs, batch.layout, self.state)
        self.state = over(after, torch.Tensor.detach)
        return hidden

    def parts(self) -> dict[str, Tensor]:
        """Returns the state as a checkpoint keeps it."""
        return {str(i): x for i, x in enumerate(tensors(self.state))}

    def load(self, saved: dict[str, Tensor]) -> None:
        """Takes back what `parts` gave; nothing: the state before the first batch."""
        self.state = None
        if saved:
            parts = [saved[str(i)] for i in range(len(saved))]
            self.state = assign(self.model.init_state(parts[0].shape[0], ENDLESS), tuple(parts))


def require_bounded(model: Model, loader: Loader) -> None:
    """Raises UserError where a model that is carried on remembers without end, or does not reach so far."""
    if not isinstance(loader.rows, Lanes):
        return
    device = torch.device("meta")
    once, twice = (
        sum(nbytes(stack.init_state(1, n, device=device, dtype=torch.float32)) for stack in model.stacks())
        for n in (ENDLESS, 2 * ENDLESS)
    )
    if once < twice:
        raise UserError(
            "batch.carry=true would have attention remember the whole text; set model.mixer.window to as many tokens "
            "as it may look back"
        )
    if model.limit is not None and loader.rows.longest > model.limit:
        raise UserError(
            f"batch.carry=true counts positions to {loader.rows.longest:,}, but those of the model end at "
            f"{model.limit:,}; use model.positions=transformer-xl, alibi, t5 or none, or raise model.positions.limit"
        )
