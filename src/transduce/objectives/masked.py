"""Predicting tokens that were hidden, from what stands on both sides of them."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor

from transduce.errors import UserError, require_probability
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.head import PooledHead
from transduce.model.models import Model
from transduce.objectives.corruption import Frame
from transduce.objectives.objective import (
    Learner,
    Loss,
    Objective,
    ObjectiveConfig,
    loss_of,
    model_of,
    token_loss,
    with_noted,
)
from transduce.objectives.sentence_pairs import Pair, pair_loss, paired, require_pair_head
from transduce.objectives.sentences import endings
from transduce.objectives.words import edges, word_starts
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


def chosen(batch: Batch, free: Tensor, place: Tensor, fraction: float, words: tuple[Tensor, Tensor] | None) -> Tensor:
    """Returns (B, T) bool: `fraction` of the free tokens of each row, at least one. place: (B, T) random numbers.

    words: what `words.edges` gives, for whole words in random order, as many as fit, at least one; None: single tokens.
    """
    most = (fraction * free.sum(1, keepdim=True)).round().clamp(min=1)
    if words is None:
        rank = place.masked_fill(~free, 2.0).argsort(dim=1, stable=True).argsort(1)
        return free & (rank < most)
    slots = torch.arange(place.shape[1], device=place.device).expand_as(place)
    first = (slots * word_starts(batch.inputs, words)).cummax(1).values
    drawn = place.gather(1, first).masked_fill(~free, 2.0)
    ordered = drawn.sort(dim=1).values
    until = torch.searchsorted(ordered, drawn.contiguous(), right=True)  # tokens of this word and those drawn before
    return free & ((until <= most) | (drawn == ordered[:, :1]))


def hidden(
    batch: Batch, config: "MaskedConfig", vocab_size: int, training: bool, words: tuple[Tensor, Tensor] | None = None
) -> Batch:
    """Returns the batch with tokens hidden in its inputs; these are its targets. words: see `chosen`."""
    assert config.mask is not None
    ids, (place, fate, other) = batch.inputs, draws(batch, training)
    free = batch.layout.valid & ~torch.isin(ids, torch.tensor(config.never, dtype=ids.dtype, device=ids.device))
    hides = chosen(batch, free, place, config.fraction, words)
    random = (other * vocab_size).long().clamp(max=vocab_size - 1)
    replacements = torch.where(
        fate < config.masked, config.mask, torch.where(fate < config.masked + config.random, random, ids)
    )
    return batch._replace(inputs=torch.where(hides, replacements, ids), targets=torch.where(hides, ids, -1))


def masked_loss(
    model: Learner, batch: Batch, config: "MaskedConfig", words: tuple[Tensor, Tensor] | None = None
) -> Loss:
    """Returns the cross entropy of the hidden tokens. words: see `chosen`."""
    return token_loss(model, hidden(batch, config, model.token_head.size, model.training, words), 0.0)


def with_pairs(
    config: "MaskedConfig", tokenizer: Tokenizer, model: Model, words: tuple[Tensor, Tensor] | None
) -> Objective:
    """Returns the loss of hidden tokens and of the classes of rows of two parts, each in the mean."""
    require_pair_head(model)
    frame, ends, size = Frame.of(tokenizer, model), endings(tokenizer), model.token_head.size

    def loss(learner: Learner, batch: Batch) -> Loss:
        head = cast(PooledHead, model_of(learner).heads["pair"])
        pairs, classes = paired(batch, frame, ends, config.pair, learner.training)
        masked = hidden(pairs, config, size, learner.training, words)
        with collecting() as noted:
            states = learner.features(masked)
        own = loss_of(learner.token_head, states, masked, 0.0)
        mean, right = pair_loss(head, states, masked, classes)
        metrics = {**own.metrics, "pair_nll": own.count * mean.detach(), "pair_accuracy": own.count * right}
        return with_noted(Loss(own.total + own.count * mean, own.count, metrics), noted)

    return loss


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(ObjectiveConfig):
    """-log p(hidden token | the text around it).   Devlin et al. 2018, arXiv:1810.04805, sec. 3.1.

    fraction: of the tokens of each sequence that are predicted, at least one.
    masked: share of these that is replaced by the mask.
    random: share of these that is replaced by any token; the rest stay as they are.
    mask: id of the mask (None: that of the tokeniser, [MASK] or <mask>, or where it has none the id of padding, which
        no text has, and which the layout tells from padding).
    never: ids that are never hidden (None: those of the tokeniser that are no text).
    whole_words: all tokens of a word are hidden together; words are drawn until the next one would be too much.
    pair: each row is made of two halves of a text, and the head `pair` of the model tells, with the same weight as the
        hidden tokens, whether the second belongs to the first (next, BERT, sec. 3.1), or whether they stand in their
        order (order, Lan et al. 2020, arXiv:1909.11942, sec. 3.1).
    """

    kind: ClassVar[str] = "masked-lm"
    head: ClassVar[str] = "transform"
    fraction: float = 0.15
    masked: float = 0.8
    random: float = 0.1
    mask: int | None = None
    never: tuple[int, ...] | None = None
    whole_words: bool = False
    pair: Pair = "none"

    def __post_init__(self) -> None:
        require_probability(random=self.random)
        if not 0.0 <= self.masked <= 1.0:
            raise UserError(f"masked={self.masked} is not a probability; use 0.8, or 1 for masks alone")
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
        config, words = replace(self, mask=mask, never=never), edges(tokenizer) if self.whole_words else None
        if self.pair != "none":
            return with_pairs(config, tokenizer, model, words)
        return partial(masked_loss, config=config, words=words)
