"""The contract of rewards: answers to numbers, of which more is better.

Tested in tests/tasks/test_explore.py.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from transduce.config import Part
from transduce.errors import UserError
from transduce.text.chat import conversation


@dataclass(frozen=True, kw_only=True)
class RewardSource(Part):
    """The choice of a reward."""

    folder: ClassVar[str] = "transduce.tasks.rewards"

    def given(self, prompts: Sequence[str], answers: Sequence[str], expected: Sequence[str]) -> Iterable[Any]:
        """Returns the reward of each answer. prompts: as `asked` has them. expected: the answers of the data."""
        raise AssertionError("a kind of RewardSource defines given")

    def asked(self, prompt: Any) -> str:
        """Returns what `given` is told of a prompt: what the user said last."""
        return said_last(prompt)

    def mark(self) -> str:
        """Returns what changes with whatever gives the reward, where that is kept elsewhere; else nothing."""
        return ""

    def rewards(self, prompts: Sequence[str], answers: Sequence[str], expected: Sequence[str]) -> list[float]:
        """Returns the same, checked. Raises UserError where there is not one finite number for each answer."""
        values = list(self.given(prompts, answers, expected))
        if len(values) != len(answers):
            what = f"the reward gave {len(values)} numbers for {len(answers)} answers"
            raise UserError(f"{what}; have it return one for each, in order")
        for value, prompt, answer in zip(values, prompts, answers, strict=True):
            try:
                if math.isfinite(float(value)):
                    continue
            except (TypeError, ValueError):
                pass
            raise UserError(
                f"the reward of {answer[:60]!r} to {prompt[:60]!r} is {value!r}, but a finite number is asked for"
            )
        return [float(value) for value in values]


def said_last(prompt: Any) -> str:
    """Returns what the user said last."""
    return conversation(prompt)[-1]["content"]
