"""Policy gradients of a model's own answers, each compared with others to the same prompt.

Tested in tests/prefer/test_experience.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from transduce.errors import UserError, require_at_least
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.model.state import State
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, token_loss, with_noted
from transduce.objectives.preference import still

SMALL = 1e-4  # beside a standard deviation


class Answered(NamedTuple):
    """Answers of a model, before it learns from them: G to each of P prompts, B = P * G.

    batch: prompts with answers, whose tokens are the targets. reference: (B, T) log p under the model at the start of
    the training, 0 where there is no target. rewards: (P, G) float64. cut: (B,) 1 where an answer did not end.
    """

    batch: Batch
    reference: Tensor
    rewards: Tensor
    cut: Tensor


class Explored(NamedTuple):
    """The part of a batch that policy gradients read. All are (B, ...), of the answers of a model.

    advantage: (B,) of each answer. reference: (B, T) log p under the model at the start of the training, 0 where there
    is no target. reward, cut, flat: (B,) its reward; 1 where it did not end; 1 where all answers to its prompt have
    the same reward.
    """

    advantage: Tensor
    reference: Tensor
    reward: Tensor
    cut: Tensor
    flat: Tensor


def policy_loss(model: Learner, batch: Batch, config: "GrpoConfig") -> Loss:
    """Returns the loss whose gradient is that of the expected reward; of answers of the data, -log p per token."""
    if not isinstance(batch.extra, Explored):
        return token_loss(model, batch, 0.0)
    extra, own = batch.extra, batch.targets >= 0
    model = still(model)
    with collecting() as noted:
        hidden = model.features(batch)
    log_p = model.token_head.log_p(hidden[own], batch.targets[own])
    row, reference = own.nonzero()[:, 0], extra.reference[own].to(log_p.dtype)
    gap = reference - log_p
    each = -extra.advantage.to(log_p.dtype)[row] * (log_p - log_p.detach()).exp()  # the ratio, 1 with a gradient
    if config.beta:
        each = each + config.beta * (gap.exp() - gap - 1)  # Schulman 2020: at least 0, and right in the mean
    total, count = summed(each, own, config)
    tokens, rows = own.sum(1).to(log_p.dtype), len(own)
    kl = log_p.new_zeros(rows).index_add(0, row, -gap.detach())
    means = {
        "reward": extra.reward.to(log_p.dtype), "kl": kl, "length": tokens, "cut": extra.cut.to(log_p.dtype),
        "flat": extra.flat.to(log_p.dtype),
    }  # fmt: skip
    metrics = {name: values.mean() * count for name, values in means.items()}
    metrics["entropy"] = -log_p.detach().sum() / tokens.sum().clamp(min=1) * count
    metrics["nll"] = total.detach()
    return with_noted(Loss(total, count, metrics), noted)


def summed(each: Tensor, own: Tensor, config: "GrpoConfig") -> tuple[Tensor, Tensor]:
    """Returns the sum and the count of a loss of each token of answers. each: (S,). own: (B, T), where they stand."""
    rows, tokens = len(own), own.sum(1).to(each.dtype)
    if config.per == "token":
        return each.sum(), tokens.sum()
    length = tokens.clamp(min=1) if config.per == "sequence" else torch.full_like(tokens, config.max_new_tokens)
    by_row = each.new_zeros(rows).index_add(0, own.nonzero()[:, 0], each)
    return (by_row / length).sum(), tokens.new_tensor(rows)


@dataclass(frozen=True, kw_only=True)
class GrpoConfig(ObjectiveConfig):
    """-A log p(answer) + beta KL, where A = (reward - mean) / deviation over the answers to one prompt.

    Shao et al. 2024, arXiv:2402.03300, eq. 3 and 4. Each update has answers of its own, drawn with temperature 1 and no
    filter, so that the ratio to the model that wrote them is 1 and nothing is clipped. In metrics `kl` is log p - log p
    of the model at the start, in nats per answer; `entropy` is in nats per token; `cut` is the share of answers that
    did not end, `flat` that of answers to prompts whose answers all have one reward, which teach nothing.

    prompts: of an update (of each of train.accumulate parts).
    group: answers to each prompt.
    max_new_tokens: of an answer.
    beta: how much a departure from the model at the start counts.
    scale: std: advantages are divided by the deviation of the group; none: they are not (Liu et al. 2025,
        arXiv:2503.20783).
    per: each token counts the same (token), each answer (sequence), or each token as a share of the longest possible
        answer (constant).
    max_kl: the training stops where answers are farther from the model at the start, in nats per answer (None: never).
    """

    kind: ClassVar[str] = "grpo"
    explores: ClassVar[bool] = True
    fewest: ClassVar[int] = 2  # answers to a prompt
    holds: ClassVar[type[NamedTuple]] = Explored  # what its loss reads of a batch
    prompts: int = 16
    group: int = 8
    max_new_tokens: int = 64
    beta: float = 0.0
    scale: Literal["std", "none"] = "std"
    per: Literal["token", "sequence", "constant"] = "token"
    max_kl: float | None = 100.0

    def __post_init__(self) -> None:
        require_at_least(1, prompts=self.prompts, max_new_tokens=self.max_new_tokens)
        if self.group < self.fewest:
            raise UserError(f"objective.group={self.group} leaves nothing to compare an answer with; use 8")
        if not 0 <= self.beta < float("inf"):
            raise UserError(f"objective.beta={self.beta} must not be negative; use 0.04, or 0 for none")
        if self.max_kl is not None and not self.max_kl > 0:
            raise UserError(f"objective.max_kl={self.max_kl} would stop every training; use 100, or null for no limit")

    def build(self) -> Objective:
        return partial(policy_loss, config=self)

    @property
    def updates(self) -> int:
        """Returns how many batches the answers of one roll-out are parted into."""
        return 1

    def parts(self, rows: int, name: tuple[int, ...]) -> list[Tensor]:
        """Returns the answers of each batch, of so many. name: of the random numbers."""
        return [torch.arange(rows)]

    def explored(self, answered: Answered, model: Model) -> State:
        """Returns what the loss reads of answers. model: that gave them, without a gradient."""
        rewards = answered.rewards
        flat = self.flat(rewards).float().repeat_interleave(self.group)
        advantage = self.advantages(rewards).float().flatten()
        return Explored(advantage, answered.reference, rewards.float().flatten(), answered.cut, flat)

    def flat(self, rewards: Tensor) -> Tensor:
        """Returns (P,), to which prompts the answers teach nothing. rewards: (P, G)."""
        return (rewards == rewards[:, :1]).all(1)

    def advantages(self, rewards: Tensor) -> Tensor:
        """Returns (P, G) float64: exactly 0 where all rewards of a group are equal. rewards: (P, G) float64."""
        centred = rewards - rewards.mean(1, keepdim=True)
        if self.scale == "std":
            centred = centred / (rewards.std(1, keepdim=True) + SMALL)
        return centred.masked_fill(self.flat(rewards)[:, None], 0.0)
