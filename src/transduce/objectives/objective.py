"""The contract of objectives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from transduce.config import Part
from transduce.errors import UserError
from transduce.model.auxiliary import Auxiliary, collecting
from transduce.model.batch import Batch
from transduce.model.heads.head import Head, PooledHead, TokenHead
from transduce.model.layout import Layout
from transduce.model.models import Model, without
from transduce.text.tokenizer import Tokenizer


class Loss(NamedTuple):
    """A sum and a count. The division happens once per update, over all micro-batches and ranks, so padding, packing,
    accumulation and data parallelism cannot change a gradient."""

    total: Tensor  # summed over targets, nats, float32; what is minimised
    count: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]  # number of targets, or the sum of their weights
    metrics: dict[str, Tensor]  # sums over the same targets; "nll" is -log p, without smoothing


class Learner(Protocol):
    """The model as an objective sees it: it may go on from batch to batch."""

    @property
    def head(self) -> Head | None: ...

    @property
    def token_head(self) -> TokenHead: ...

    @property
    def pooled_head(self) -> PooledHead: ...

    @property
    def training(self) -> bool: ...

    def features(self, batch: Batch) -> Tensor: ...

    def arranged(self, layout: Layout) -> Layout: ...


Objective = Callable[[Learner, Batch], Loss]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Part):
    """The choice of an objective."""

    folder: ClassVar[str] = "transduce.objectives"
    head: ClassVar[str] = "linear"  # what a model without a suitable head is advised to take
    shows: ClassVar[tuple[str, ...]] = ()  # metrics that an evaluation shows beside the loss
    explores: ClassVar[bool] = False  # its batches are answers that the model gives while it is trained
    referenced: ClassVar[bool] = False  # its examples need log p under the weights that the training starts from
    in_batch: ClassVar[bool] = False  # the loss of a row depends on the rows beside it
    mute: ClassVar[tuple[str, ...]] = ("bits-per-byte",)  # measures of a loss that mean nothing for it

    def build(self) -> Objective:
        raise AssertionError("a kind of ObjectiveConfig defines build")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        """Returns the same for a model and a tokeniser. Raises UserError where the model cannot learn by it."""
        self.require_head(model)
        return self.build()

    def remarks(self) -> list[str]:
        """Returns a sentence for each thing that a user of the trained model must know before."""
        return []

    def require_head(self, model: Model) -> None:
        """Raises UserError unless the head of a model predicts tokens."""
        if not isinstance(model.head, TokenHead):
            raise UserError(
                f"objective={self.kind} predicts tokens, but {without(model.head)}; set model.head={self.head}"
            )


def model_of(learner: Learner) -> Model:
    """Returns the model that learns, whether it goes on from batch to batch or not."""
    model = getattr(learner, "model", learner)
    assert isinstance(model, Model)
    return model


def token_loss(model: Learner, batch: Batch, smoothing: float) -> Loss:
    """Returns the cross entropy of the targets, and what modules noted; positions without a target cost no logits.

    The weights of a batch multiply the loss of each target, and their sum is the count.
    """
    with collecting() as noted:
        hidden = model.features(batch)
    return with_noted(loss_of(model.token_head, hidden, batch, smoothing), noted)


def loss_of(head: TokenHead, hidden: Tensor, batch: Batch, smoothing: float) -> Loss:
    """Returns the cross entropy of the targets of a batch, given its hidden states (B, T, M)."""
    hidden, targets = hidden.flatten(0, 1), batch.targets.flatten()
    has_target = (targets >= 0).nonzero()[:, 0]
    if has_target.shape[0] < targets.shape[0]:
        hidden, targets = hidden.index_select(0, has_target), targets.index_select(0, has_target)
    weights = None if batch.weights is None else batch.weights.flatten().index_select(0, has_target)
    total, nll = head.loss(hidden, targets, smoothing, weights)
    count = torch.tensor(targets.shape[0]) if weights is None else weights.sum()
    return Loss(total, count, {"nll": nll})


def with_noted(loss: Loss, noted: Auxiliary) -> Loss:
    """Returns a loss with what modules noted: means over tokens, which stay so after the division by all targets."""
    if not noted:
        return loss
    metrics = {name: loss.count * mean for name, mean in noted.means().items()}
    return Loss(loss.total + loss.count * noted.total(), loss.count, loss.metrics | metrics)
