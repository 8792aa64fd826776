"""A model that learnt from comparisons as the reward.

Tested in tests/prefer/test_judge.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from transduce.data.readers.reader import Readers
from transduce.disk import digest
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.tasks.chat import as_text
from transduce.tasks.reward import RewardConfig
from transduce.tasks.rewards.source import RewardSource, said_last
from transduce.tasks.task import TaskConfig
from transduce.text.chat import conversation

Opener = Callable[[Path], tuple[TaskConfig, Model, Readers]]
openers = list[Opener]()  # of runs, by those who know what a run is


@lru_cache(maxsize=4)
def opened(path: str, mark: str) -> tuple[RewardConfig, Model, Readers]:
    """Opens a run, once. mark: changes with its weights. Raises UserError unless it gives rewards."""
    task, model, readers = openers[0](Path(path))
    if not isinstance(task, RewardConfig):
        what = f"task.reward.path={path} was trained for task={task.kind}, which gives no rewards"
        raise UserError(f"{what}; train a run that does: transduce train reward data.path=PAIRS")
    return task, model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), readers


@dataclass(frozen=True, kw_only=True)
class RunReward(RewardSource):
    """The reward that a run of task=reward gives for the whole conversation. It has to stay where it is, as it is.

    path: of the run.
    """

    kind: ClassVar[str] = "run"
    path: str

    def asked(self, prompt: Any) -> str:
        """Returns the whole conversation, as JSON where the text alone does not say it."""
        messages = conversation(prompt)
        text = said_last(prompt)
        return text if len(messages) == 1 and not text.lstrip().startswith("[") else as_text(messages)

    def mark(self) -> str:
        done = Path(self.path) / "best" / "DONE"
        if not done.is_file():
            what = f"task.reward.path={self.path} is no run with a checkpoint"
            raise UserError(f"{what}; train one: transduce train reward data.path=PAIRS")
        mark = digest(done)
        opened(self.path, mark)  # which refuses a run that gives no rewards
        return mark

    def given(self, prompts: Sequence[str], answers: Sequence[str], expected: Sequence[str]) -> Iterable[Any]:
        task, model, readers = opened(self.path, self.mark())
        return task.reward(model, readers, list(zip(prompts, answers, strict=True)))
