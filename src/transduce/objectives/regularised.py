"""Predicting the next token with what regularises recurrent networks: the training of the AWD-LSTM."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError, require_probability
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.drops import Drops, put
from transduce.model.models import Model
from transduce.model.ops.locked import locked_dropout
from transduce.objectives.language import NextTokenConfig, checked
from transduce.objectives.objective import Learner, Loss, Objective, loss_of, with_noted
from transduce.text.tokenizer import Tokenizer


def regularised(
    model: Learner, batch: Batch, *, smoothing: float, outputs: float, activation: float, change: float
) -> Loss:
    """Returns the cross entropy of the targets, and in training a |m h_t|^2 / M + b |h_t - h_{t+1}|^2 / M beside it.

    h: (B, T, M) the last hidden states; m: their mask. The first is summed over slots with a target, the second over
    neighbouring slots of one text that both have one; both are divided by the number of targets, as the loss is.
    """
    with collecting() as noted:
        hidden = model.features(batch)
    dropped = locked_dropout(hidden, outputs, model.training)
    loss = with_noted(loss_of(model.token_head, dropped, batch, smoothing), noted)
    if not model.training or not (activation or change):
        return loss
    counted = batch.targets >= 0
    size = squares(dropped)[counted].sum()
    at = batch.layout.positions
    follows = (at[:, 1:] == at[:, :-1] + 1) & counted[:, 1:] & counted[:, :-1]
    moved = squares(hidden[:, 1:] - hidden[:, :-1])[follows].sum()
    metrics = {**loss.metrics, "activation": size.detach(), "change": moved.detach()}
    return Loss(loss.total + activation * size + change * moved, loss.count, metrics)


def squares(x: Tensor) -> Tensor:
    """Returns (B, T): the mean square of each vector, float32 or float64."""
    return (x if x.dtype == torch.float64 else x.float()).square().mean(-1)


@dataclass(frozen=True, kw_only=True)
class RegularisedConfig(NextTokenConfig):
    """-log p(token | tokens before), of a network that drops weights, words and features, and is kept small and slow.

    Merity, Keskar & Socher 2017, arXiv:1708.02182, sec. 2 and 4, whose numbers for Penn Treebank are the defaults. What
    is dropped is dropped in training alone; the model is saved and used as it is without.

    weights: share of the numbers of U of every LSTM that is dropped, the same for all tokens of a batch.
    words: share of the words whose vectors are 0 throughout a batch.
    inputs: share of the features of these vectors that is dropped, the same in all tokens of a row.
    between: of what each layer but the last gives, in the same way.
    outputs: of the last hidden states, in the same way.
    activation: a of a |m h_t|^2 / M, where m h_t is the last hidden state with what is dropped of it (AR).
    change: b of b |h_t - h_{t+1}|^2 / M, of the last hidden state before anything is dropped of it (TAR).
    """

    kind: ClassVar[str] = "regularised-next-token"
    weights: float = 0.5
    words: float = 0.1
    inputs: float = 0.4
    between: float = 0.25
    outputs: float = 0.4
    activation: float = 2.0
    change: float = 1.0

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("weights", "words", "inputs", "between", "outputs")}
        require_probability(**shares)
        for name in ("activation", "change"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name}={getattr(self, name)} must be 0 or a positive number, such as 1")

    def build(self) -> Objective:
        return partial(
            regularised, smoothing=checked(self.label_smoothing), outputs=self.outputs, activation=self.activation,
            change=self.change,
        )  # fmt: skip

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        what = f"objective={self.kind}"
        if not model.writes:
            raise UserError(f"{what} asks for the token after each, which an encoder sees; use model.kind=decoder")
        objective = super().build_for(model, tokenizer)
        put(model, Drops(self.weights, self.words, self.inputs, self.between), what)
        return objective
