"""Objectives that restore a changed text, and what they have in common."""

from dataclasses import dataclass
from typing import ClassVar

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.corruption import Corruption, Frame, continuations, pairs, restorations
from transduce.objectives.language import checked
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, token_loss
from transduce.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class RestoringConfig(ObjectiveConfig):
    """-log p(what is written | the changed text, what is written before).

    label_smoothing: probability that is spread over all tokens instead of given to the target.
    """

    decoders: ClassVar[bool] = False  # so that a decoder learns it too, which goes on from the changed text
    label_smoothing: float = 0.0

    def corruption(self, tokenizer: Tokenizer) -> Corruption:
        """Returns how a text is changed. Raises UserError where the tokeniser lacks a token for it."""
        raise AssertionError("a kind of RestoringConfig defines corruption")

    def build(self) -> Objective:
        raise AssertionError(f"{self.kind} is built for a tokeniser")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if tokenizer is None:
            raise UserError(f"objective={self.kind} changes tokens, but there is no tokeniser; set tokenizer.kind=bpe")
        two = len(model.towers()) == 2 and model.writes  # two that write nothing are two readers
        if not two and not (self.decoders and model.writes):
            also = " or decoder" if self.decoders else ""
            raise UserError(
                f"objective={self.kind} reads one text and writes another; set model.kind=encoder-decoder{also}"
            )
        self.require_head(model)
        smoothing, corruption = checked(self.label_smoothing), self.corruption(tokenizer)
        frame, batch_of = Frame.of(tokenizer, model), pairs if two else continuations

        def loss(learner: Learner, batch: Batch) -> Loss:
            require_alone(batch.offset, self.kind)
            changed = restorations(batch, frame, corruption, learner.training)
            return token_loss(learner, batch_of(batch, changed, frame), smoothing)

        return loss


def require_alone(offset: int | None, kind: str) -> None:
    """Raises UserError where a batch goes on from the one before."""
    if offset is not None:
        raise UserError(f"objective={kind} reads each batch alone; set batch.carry=false")


def require_share(**values: float) -> None:
    """Raises UserError unless every value is above 0 and below 1."""
    for name, value in values.items():
        if not 0.0 < value < 1.0:
            raise UserError(f"{name}={value} must be above 0 and below 1: a part of each text")


def require_mean(**values: float) -> None:
    """Raises UserError unless every value is at least 1."""
    for name, value in values.items():
        if not value >= 1.0:
            raise UserError(f"{name}={value} must be at least 1: tokens of a span in the mean")
