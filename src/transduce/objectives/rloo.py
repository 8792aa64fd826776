"""Policy gradients whose baseline is the mean reward of the other answers.

Tested in tests/prefer/test_experience.py.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from transduce.objectives.grpo import GrpoConfig


@dataclass(frozen=True, kw_only=True)
class RlooConfig(GrpoConfig):
    """-A log p(answer) + beta KL, where A is the reward minus the mean reward of the other answers to the prompt.

    Ahmadian et al. 2024, arXiv:2402.14740, sec. 3.3: without bias. Metrics are those of grpo.

    prompts: of an update (of each of train.accumulate parts).
    group: answers to each prompt.
    max_new_tokens: of an answer.
    beta: how much a departure from the model at the start counts.
    scale: std: advantages are divided by the deviation of the group; none: they are not.
    per: each token counts the same (token), each answer (sequence), or each token as a share of the longest possible
        answer (constant).
    max_kl: the training stops where answers are farther from the model at the start, in nats per answer (None: never).
    """

    kind: ClassVar[str] = "rloo"
    scale: Literal["std", "none"] = "none"
    per: Literal["token", "sequence", "constant"] = "constant"

    def advantages(self, rewards: Tensor) -> Tensor:
        group = rewards.shape[1]
        return super().advantages(rewards) * (group / (group - 1))
