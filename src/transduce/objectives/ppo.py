"""Proximal policy optimisation: several updates from the same answers, none of which moves the policy far.

Tested in tests/prefer/test_ppo.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from transduce.errors import UserError, require_at_least
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.model.state import State
from transduce.objectives.grpo import SMALL, Answered, GrpoConfig, summed
from transduce.objectives.objective import Learner, Loss, Objective, model_of, token_loss, with_noted
from transduce.objectives.preference import still

NAME = "value"  # of the head


class Played(NamedTuple):
    """The part of a batch that PPO reads, of the answers of a model, by the weights that gave them.

    All are (B, T), 0 where there is no target, but the last two. old: log p. reference: log p under the model at the
    start of the training. value: what was expected from here on. returns: what came, by the advantage. advantage: of
    the token over what was expected, scaled. reward, cut: (B,) reward of the answer; 1 where it did not end.
    """

    old: Tensor
    reference: Tensor
    value: Tensor
    returns: Tensor
    advantage: Tensor
    reward: Tensor
    cut: Tensor


def estimates(model: Learner, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns log p of the targets, and what is expected where each is chosen: (S,) both."""
    own = batch.targets >= 0
    hidden = model.features(batch)[own]
    return model.token_head.log_p(hidden, batch.targets[own]), model_of(model).heads[NAME](hidden)[:, 0]


def gae(rewards: Tensor, values: Tensor, own: Tensor, gamma: float, lam: float) -> Tensor:
    """A_t = d_t + gamma lam A_{t+1}, d_t = r_t + gamma V_{t+1} - V_t.   Schulman et al. 2016, eq. 16.

    All are (B, T). own: the steps, which stand side by side in each row; nothing is expected after the last one, and
    the advantage elsewhere is 0.
    """
    out, value, advantage = torch.zeros_like(rewards), rewards.new_zeros(len(rewards)), rewards.new_zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        here = rewards[:, t] + gamma * value - values[:, t] + gamma * lam * advantage
        advantage, value = torch.where(own[:, t], here, advantage), torch.where(own[:, t], values[:, t], value)
        out[:, t] = here.where(own[:, t], 0.0)
    return out


def ppo_loss(learner: Learner, batch: Batch, config: "PpoConfig") -> Loss:
    """Returns the clipped loss of a policy and of its values; of answers of the data, -log p per token."""
    if not isinstance(batch.extra, Played):
        return token_loss(learner, batch, 0.0)
    extra, own = batch.extra, batch.targets >= 0
    with collecting() as noted:
        log_p, value = estimates(still(learner), batch)
    old, reference, before, returns, advantage = (x[own].to(log_p.dtype) for x in extra[:5])
    ratio, epsilon = (log_p - old).exp(), config.ratio_clip
    policy = -torch.minimum(advantage * ratio, advantage * ratio.clamp(1 - epsilon, 1 + epsilon))
    error = (value - returns).square()
    if config.value_clip is not None:
        near = before + (value - before).clamp(-config.value_clip, config.value_clip)
        error = torch.maximum(error, (near - returns).square())
    total, count = summed(policy + config.value_weight * error / 2, own, config)
    row, tokens = own.nonzero()[:, 0], own.sum(1).to(log_p.dtype)
    kl = log_p.new_zeros(len(own)).index_add(0, row, (log_p - reference).detach())
    means = {
        "reward": extra.reward.to(log_p.dtype), "kl": kl, "length": tokens, "cut": extra.cut.to(log_p.dtype),
        "clipped": ((ratio.detach() - 1).abs() > epsilon).to(log_p.dtype), "value_error": error.detach(),
        "entropy": -log_p.detach(),
    }  # fmt: skip
    metrics = {name: values.sum() / max(len(values), 1) * count for name, values in means.items()}
    metrics["nll"] = total.detach()
    return with_noted(Loss(total, count, metrics), noted)


@dataclass(frozen=True, kw_only=True)
class PpoConfig(GrpoConfig):
    """max(-A r, -A clip(r, 1 - epsilon, 1 + epsilon)) + w (V - R)^2 / 2, r = p(token) / p(token) of who wrote it.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7 and 9, with advantages of tokens (eq. 11). A token is rewarded with
    -beta (log p - log p of the model at the start), and the last one with the reward of the answer, too (Ouyang et al.
    2022, arXiv:2203.02155, eq. 2). A head of the model, model.heads.value, says what is expected. In metrics `clipped`
    is the share of tokens whose ratio is beyond the clip, `value_error` the mean of (V - R)^2; others are as of grpo.

    prompts: of a roll-out.
    group: answers to each prompt.
    max_new_tokens: of an answer.
    beta: how much a departure from the model at the start counts.
    scale: std: the mean of the advantages of a roll-out is taken off, and they are divided by their deviation; none:
        they are not.
    per: each token counts the same (token), each answer (sequence), or each token as a share of the longest possible
        answer (constant).
    max_kl: the training stops where answers are farther from the model at the start, in nats per answer (None: never).
    epochs: how often the answers of a roll-out are learnt from.
    minibatches: parts of a roll-out, each of which is an update (with train.accumulate, a part of one).
    ratio_clip: epsilon, beyond which a ratio has no gradient that leads further.
    value_weight: of the error of values.
    value_clip: how far a value may move from what was expected in the roll-out (None: anywhere).
    gamma: the factor on what comes a token later.
    lam: the factor on errors of later values in an advantage; 1: values are a baseline alone.
    """

    kind: ClassVar[str] = "ppo"
    fewest: ClassVar[int] = 1
    holds: ClassVar[type[NamedTuple]] = Played
    group: int = 4
    beta: float = 0.05
    epochs: int = 2
    minibatches: int = 2
    ratio_clip: float = 0.2
    value_weight: float = 0.5
    value_clip: float | None = 0.2
    gamma: float = 1.0
    lam: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, epochs=self.epochs, minibatches=self.minibatches)
        if self.minibatches > (rows := self.prompts * self.group):
            raise UserError(f"objective.minibatches={self.minibatches} are more than the {rows} answers of a roll-out")
        for name in ("ratio_clip", "value_clip"):
            if (width := getattr(self, name)) is not None and not width > 0:
                raise UserError(f"objective.{name}={width} would stop every training; use 0.2")
        if not 0 <= self.value_weight < float("inf"):
            raise UserError(f"objective.value_weight={self.value_weight} must not be negative; use 0.5")
        if not (0 <= self.gamma <= 1 and 0 <= self.lam <= 1):
            raise UserError(f"objective.gamma={self.gamma} and objective.lam={self.lam} must be from 0 to 1")

    def build(self) -> Objective:
        return partial(ppo_loss, config=self)

    def require_head(self, model: Model) -> None:
        super().require_head(model)
        head = dict(model.heads.items()).get(NAME)
        if getattr(head, "size", 0) != 1 or getattr(head, "per", "") != "token":
            what = f"objective=ppo compares rewards with what was expected, but the model has no heads.{NAME}"
            raise UserError(f"{what}; set model.heads.{NAME}.kind=value")

    @property
    def updates(self) -> int:
        return self.epochs * self.minibatches

    def parts(self, rows: int, name: tuple[int, ...]) -> list[Tensor]:
        parts = list[Tensor]()
        for epoch in range(self.epochs):
            order = torch.from_numpy(np.random.default_rng((*name, epoch)).permutation(rows))
            parts += order.tensor_split(self.minibatches)
        return parts

    def flat(self, rewards: Tensor) -> Tensor:
        return (rewards == rewards[0, 0]).all().expand(len(rewards))

    def explored(self, answered: Answered, model: Model) -> State:
        """Returns what the loss reads of answers. model: that gave them."""
        batch = answered.batch.to(model.device)
        own = answered.batch.targets >= 0
        old, value = (
            torch.zeros(own.shape).masked_scatter(own, x.float().cpu()) for x in estimates(model, batch)
        )  # fmt: skip
        reward = answered.rewards.flatten()
        rewards = -self.beta * (old.double() - answered.reference)
        last = own & (own.flip(1).cumsum(1).flip(1) == 1)
        rewards = torch.where(last, rewards + reward[:, None], rewards)
        gain = gae(rewards, value.double(), own, self.gamma, self.lam)
        returns = gain + value
        if self.scale == "std" and own.sum() > 1:
            gain = (gain - gain[own].mean()) / (gain[own].std() + SMALL)
        advantage = gain.where(own, 0.0).float()
        return Played(old, answered.reference, value, returns.float(), advantage, reward.float(), answered.cut)
