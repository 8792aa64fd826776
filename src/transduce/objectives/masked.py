"""Predicting tokens that were hidden, from what stands on both sides of them."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError, require_probability
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, token_loss
from transduce.text.tokenizer import Tokenizer

ODD = 0x2545F4914F6CDD1D  # a multiplier that mixes the bits of 64


def hashed(batch: Batch, salt: int) -> Tensor:
    """Returns (B, T) in [0, 1): a hash of each token's example (its row, where no examples are named) and position."""
    rows, device = batch.inputs.shape[0], batch.inputs.device
    has_names = len(batch.examples) == rows
    example = torch.tensor(batch.examples if has_names else range(rows), dtype=torch.int64, device=device)
    x = (example[:, None] * 0x10001 + salt) * 0x1000003 + batch.layout.positions
    for _ in range(3):
        x = x * ODD
        x = x ^ ((x >> 29) & 0x7FFFFFFFF)
    return ((x >> 8) & 0xFFFFFF).float() / (1 << 24)


def draws(batch: Batch, training: bool) -> list[Tensor]:
    """Returns three (B, T) in [0, 1). In training from the generator that checkpoints keep, so that every epoch hides
    other tokens; else of the tokens' places alone, so that all validations hide the same ones.
    """
    shape, device = batch.inputs.shape, batch.inputs.device
    return [torch.rand(shape, device=device) if training else hashed(batch, salt) for salt in range(3)]


def hidden(batch: Batch, config: "MaskedConfig", vocab_size: int, training: bool) -> Batch:
    """Returns the batch with tokens hidden in its inputs; these are its targets."""
    assert config.mask is not None
    ids, (place, fate, other) = batch.inputs, draws(batch, training)
    free = batch.layout.valid & ~torch.isin(ids, torch.tensor(config.never, dtype=ids.dtype, device=ids.device))
    rank = place.masked_fill(~free, 2.0).argsort(dim=1, stable=True).argsort(1)
    count = free.sum(1, keepdim=True)
    hides = rank < (config.fraction * count).round().clamp(min=1).minimum(count)
    random = (other * vocab_size).long().clamp(max=vocab_size - 1)
    replacements = torch.where(
        fate < config.masked, config.mask, torch.where(fate < config.masked + config.random, random, ids)
    )
    return batch._replace(inputs=torch.where(hides, replacements, ids), targets=torch.where(hides, ids, -1))


def masked_loss(model: Learner, batch: Batch, config: "MaskedConfig") -> Loss:
    """Returns the cross entropy of the hidden tokens."""
    return token_loss(model, hidden(batch, config, model.token_head.size, model.training), 0.0)


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(ObjectiveConfig):
    """-log p(hidden token | the text around it).   Devlin et al. 2018, arXiv:1810.04805, sec. 3.1.

    fraction: of the tokens of each sequence that are predicted, at least one.
    masked: share of these that is replaced by the mask.
    random: share of these that is replaced by any token; the rest stay as they are.
    mask: id of the mask (None: that of the tokeniser, [MASK] or <mask>, or where it has none the id of padding, which
        no text has, and which the layout tells from padding).
    never: ids that are never hidden (None: those of the tokeniser that are no text).
    """

    kind: ClassVar[str] = "masked-lm"
    head: ClassVar[str] = "transform"
    fraction: float = 0.15
    masked: float = 0.8
    random: float = 0.1
    mask: int | None = None
    never: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        require_probability(masked=self.masked, random=self.random)
        if not 0.0 < self.fraction <= 1.0:
            raise UserError(f"fraction={self.fraction} must be above 0 and at most 1: the part that is predicted")
        if self.masked + self.random > 1.0:
            raise UserError(f"masked={self.masked} and random={self.random} are parts of one whole; use 0.8 and 0.1")

    def build(self) -> Objective:
        assert self.mask is not None, "masked-lm is built for a tokeniser"
        return partial(masked_loss, config=self if self.never is not None else replace(self, never=()))

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if tokenizer is None:
            raise UserError("objective=masked-lm predicts tokens, but there is no tokeniser; set tokenizer.kind=bpe")
        if model.writes:
            raise UserError("objective=masked-lm predicts a token from both sides of it; set model.kind=encoder")
        self.require_head(model)
        mask = tokenizer.mask if self.mask is None else self.mask
        if not 0 <= mask < tokenizer.vocab_size:
            raise UserError(f"objective.mask={mask} is not an id of the {tokenizer.vocab_size} tokens; leave it out")
        never = tuple(sorted(tokenizer.silent)) if self.never is None else self.never
        return replace(self, mask=mask, never=never).build()
