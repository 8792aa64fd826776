"""A function of one's own as the reward.

Tested in tests/tasks/test_explore.py.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from transduce.errors import UserError
from transduce.tasks.rewards.source import RewardSource


@dataclass(frozen=True, kw_only=True)
class FunctionReward(RewardSource):
    """The numbers that a Python function returns: f(prompts, answers, expected), lists of texts of one length.

    name: MODULE:FUNCTION, of an installed package or of a file in the folder that the command is called in.
    """

    kind: ClassVar[str] = "function"
    name: str

    def __post_init__(self) -> None:
        module, colon, function = self.name.partition(":")
        if not (module and colon and function):
            raise UserError(
                f"task.reward.name={self.name} is no function; write MODULE:FUNCTION, such as rewards:length"
            )

    @property
    def function(self) -> Callable[..., Any]:
        """Returns the function. Raises UserError where it is not there."""
        module, _, name = self.name.partition(":")
        if (here := os.getcwd()) not in sys.path:
            sys.path.insert(0, here)
        try:
            value = getattr(importlib.import_module(module), name, None)
        except Exception as error:
            what = f"task.reward.name={self.name} cannot be imported ({type(error).__name__}: {error})"
            raise UserError(f"{what}; give a file {module}.py in this folder, or install its package") from None
        if not callable(value):
            raise UserError(f"{module} has no function {name} (task.reward.name); correct one of them")
        return cast("Callable[..., Any]", value)

    def given(self, prompts: Sequence[str], answers: Sequence[str], expected: Sequence[str]) -> Iterable[Any]:
        function = self.function
        try:
            return list(function(list(prompts), list(answers), list(expected)))
        except Exception as error:
            example = (
                f"with {answers[0][:60]!r} to {prompts[0][:60]!r} as the first answer" if answers else "without answers"
            )
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"the reward {self.name} failed ({reason}), {example}; correct it") from None
