"""Prompts to which the model answers by itself, and learns from the rewards of its answers.

Tested in tests/tasks/test_explore.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from transduce.data.chats import COMPLETION, PROMPT
from transduce.data.columns import Columns
from transduce.data.examples import Examples, Ragged
from transduce.data.readers.reader import Readers
from transduce.generate.config import GenerateConfig
from transduce.model.models import Model
from transduce.tasks.chat import ChatConfig, Conversations
from transduce.tasks.measures.measure import Measure, Measured, Outcome, Sample, interval
from transduce.tasks.prefer import answered
from transduce.tasks.rewards.measure import MeasureReward
from transduce.tasks.rewards.source import RewardSource
from transduce.tasks.task import Split, spread
from transduce.text.chat import ASSISTANT, conversation


@dataclass(frozen=True, kw_only=True)
class MeanReward(Measure):
    """The mean reward of answers.

    reward: how it is computed.
    """

    kind: ClassVar[str] = "reward"
    label: ClassVar[str] = "reward"
    of_what: ClassVar[str] = "answer"
    reward: RewardSource = field(default_factory=MeasureReward)

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        columns = ([getattr(one, name) for one in outcome.samples] for name in ("source", "output", "expected"))
        values = np.array(self.reward.rewards(*columns), dtype=np.float64)
        ends = interval(lambda rows: float(values[rows].mean()), len(values), draws)
        return Measured(float(values.sum() / max(len(values), 1)), *ends)


@dataclass(frozen=True, kw_only=True)
class ExploreConfig(ChatConfig):
    """A prompt, and an answer that a reward may compare with (prompt, completion). The model answers, and is rewarded.

    chat: the template that makes one text of a conversation: chatml, or a template in Jinja (None: that of the
        tokeniser, and where it has none chatml).
    reward: of an answer.
    """

    kind: ClassVar[str] = "explore"
    reads: ClassVar[tuple[str, ...]] = (PROMPT, COMPLETION)
    refusal: ClassVar[str] = "this model was trained on rewards; use chat"
    gives: ClassVar[str] = "answer"
    rewarded: ClassVar[bool] = True
    reward: RewardSource = field(default_factory=MeasureReward)

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "grpo"

    def texts(self, columns: Columns) -> Iterator[str]:
        for value in columns[PROMPT]:
            for message in conversation(value):
                yield f"{message['role']}\n{message['content']}\n"
        for value in columns[COMPLETION]:
            yield f"{ASSISTANT}\n{value}\n"

    def examples(self, columns: Columns, readers: Readers) -> Examples:
        chat, ids, own = self.template(readers), list[list[int]](), list[bool]()
        for number, (prompt, answer) in enumerate(zip(columns[PROMPT], columns[COMPLETION], strict=True), 1):
            cut = answered(chat, prompt, str(answer), f"prompt {number}")
            ids.append(cut.ids)
            own += cut.own
        return Conversations(Ragged.of(ids), np.array(own, dtype=np.bool_), readers.text.pad, PROMPT)

    def measures(self) -> tuple[Measure, ...]:
        return (MeanReward(reward=self.reward),)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Answers to prompts of the split, evenly spread."""
        columns = split.columns
        rows = spread(len(columns), limit)
        answers = self.predict(model, readers, [columns[PROMPT][i] for i in rows], options)
        questions, expected = self.asked(columns, rows)
        return [Sample(a, b, c.text) for a, b, c in zip(questions, expected, answers, strict=True)]

    def asked(self, columns: Columns, rows: Sequence[int]) -> tuple[list[str], list[str]]:
        """Returns what the reward is told of prompts, and the expected answers."""
        prompts = [self.reward.asked(columns[PROMPT][i]) for i in rows]
        return prompts, [str(columns[COMPLETION][i]) for i in rows]
