"""Replaced-token detection: a small generator fills masks, and the model tells which tokens are not the text's."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.head import Head
from transduce.model.models import Model
from transduce.objectives.masked import MaskedConfig, hashed, hidden
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, loss_of, model_of, with_noted
from transduce.objectives.restoring import require_alone, require_share
from transduce.text.tokenizer import Tokenizer

SALT = 3  # of the draws of a measurement, beside the three of masking


def sampled(logits: Tensor, uniform: Tensor) -> Tensor:
    """Returns (S,) tokens of the distributions that logits (S, V) are of, without a gradient. uniform: (S,), [0, 1)."""
    sums = logits.detach().softmax(-1).cumsum(-1)
    return torch.searchsorted(sums, (uniform * sums[:, -1])[:, None], right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def replaced(masked: Batch, original: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Returns ids with what was drawn in the hidden places, and where they are not those of the text.

    A token that is drawn as it was is no replacement. drawn: (S,) in the order of the targets.
    """
    ids = original.clone()
    ids[masked.targets >= 0] = drawn
    return ids, ids != original


def detection_loss(learner: Learner, batch: Batch, config: "ReplacedConfig", masking: MaskedConfig) -> Loss:
    """Returns weight * the binary cross entropy of every token + the cross entropy of hidden ones, each in the mean."""
    require_alone(batch.offset, config.kind)
    model = model_of(learner)
    generator, head = cast(Model, model.generator), cast(Head, model.head)
    masked = hidden(batch, masking, generator.token_head.size, learner.training)
    with collecting() as noted:
        states = generator.features(masked)
    guessed = loss_of(generator.token_head, states, masked, 0.0)
    places, valid = masked.targets >= 0, batch.layout.valid
    shape, device = batch.inputs.shape, batch.inputs.device
    uniform = torch.rand(shape, device=device) if learner.training else hashed(batch, SALT)
    with torch.no_grad():
        drawn = sampled(generator.token_head(states[places]), uniform[places])
    ids, wrong = replaced(masked, batch.inputs, drawn)
    with collecting() as also:
        logits = head(learner.features(batch._replace(inputs=ids)))[..., 0]
    wanted = wrong[valid].to(logits.dtype)
    total, count = F.binary_cross_entropy_with_logits(logits[valid], wanted, reduction="sum"), valid.sum()
    mean = guessed.total / guessed.count.clamp(min=1)
    right = ((logits[valid] > 0) == wrong[valid]).sum()
    both = config.weight * total + count * mean  # what is validated: alone, the first rises as the generator learns
    metrics = {
        "nll": both.detach(), "detector_nll": total.detach(), "generator_nll": count * mean.detach(),
        "detected": right, "replaced": wrong.sum(),
    }  # fmt: skip
    loss = Loss(both, count, metrics)
    return with_noted(with_noted(loss, noted), also)


@dataclass(frozen=True, kw_only=True)
class ReplacedConfig(ObjectiveConfig):
    """-log p(hidden | masked text) of a generator, and weight * -log p(replaced or not | text with what it drew).

    Clark et al. 2020, arXiv:2003.10555, sec. 2: every token of the text is told apart, and no gradient leads from the
    discriminator to the generator. Of the model's parts, model.kind=electra has both.

    fraction: of the tokens that are hidden from the generator.
    weight: of the discriminator's loss, each being a mean over its targets.
    """

    kind: ClassVar[str] = "replaced-tokens"
    head: ClassVar[str] = "discriminator"
    mute: ClassVar[tuple[str, ...]] = ("bits-per-byte", "perplexity")
    fraction: float = 0.15
    weight: float = 50.0

    def __post_init__(self) -> None:
        require_share(fraction=self.fraction)
        if not self.weight > 0.0:
            raise UserError(f"weight={self.weight} must be above 0; use 50")

    def build(self) -> Objective:
        raise AssertionError(f"{self.kind} is built for a tokeniser")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if tokenizer is None:
            raise UserError(f"objective={self.kind} replaces tokens, but there is no tokeniser; set tokenizer.kind=bpe")
        if getattr(model, "generator", None) is None:
            raise UserError(f"objective={self.kind} needs a generator beside the model; set model.kind=electra")
        if model.head is None or (model.head.size, model.head.per) != (1, "token"):
            raise UserError(f"objective={self.kind} tells which tokens are the text's; set model.head=discriminator")
        masking = MaskedConfig(fraction=self.fraction, masked=1.0, random=0.0, mask=tokenizer.mask)
        masking = replace(masking, never=tuple(sorted(tokenizer.silent)))
        return partial(detection_loss, config=self, masking=masking)
