"""Prompts or sources to which the model answers by itself, and learns from the rewards of its answers.

Tested in tests/tasks/test_explore.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from transduce.data.chats import COMPLETION, PROMPT
from transduce.data.columns import SOURCE, TARGET, Columns
from transduce.data.examples import Examples, Ragged
from transduce.data.readers.reader import Readers
from transduce.generate.config import GenerateConfig
from transduce.model.models import Model
from transduce.tasks.chat import ChatConfig, Conversations, Turns
from transduce.tasks.measures.measure import Measure, Measured, Outcome, Sample, interval
from transduce.tasks.prefer import answered
from transduce.tasks.rewards.measure import MeasureReward
from transduce.tasks.rewards.source import RewardSource
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.tasks.translate import TranslateConfig, sources
from transduce.text.chat import ASSISTANT, conversation


class Asked(NamedTuple):
    """The questions to a model, as ids, in the order of the data. vocabulary: of its answers; nothing in it is barred.

    sources: for a model that reads one (None: it reads none). prompts: that answers go on behind.
    """

    vocabulary: Turns
    sources: list[list[int]] | None
    prompts: list[list[int]]


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

    def questions(self, columns: Columns, readers: Readers) -> Asked:
        """Returns what the model is asked, of all rows."""
        chat = self.template(readers)
        prompts = [chat.ids(conversation(value)) for value in columns[PROMPT]]
        # Were tokens barred, those that are never drawn would take up whatever worse answers lose, unpunished.
        return Asked(Turns(readers.text, chat.end, free=True), None, prompts)

    def asked(self, columns: Columns, rows: Sequence[int]) -> tuple[list[str], list[str]]:
        """Returns what the reward is told of prompts, and the expected answers."""
        prompts = [self.reward.asked(columns[PROMPT][i]) for i in rows]
        return prompts, [str(columns[COMPLETION][i]) for i in rows]


@dataclass(frozen=True, kw_only=True)
class MinimumRiskConfig(TranslateConfig):
    """A source, and a target that a reward may compare with. The model answers the source, and is rewarded.

    Shen et al. 2016, arXiv:1512.02433: with objective=grpo, objective.scale=none or rloo, the risk of a group of drawn
    answers goes down.

    bleu_tokenizer: the rules by which BLEU cuts a text into words; auto: those that suit the script of the targets.
    reward: of an answer.
    """

    kind: ClassVar[str] = "minimum-risk"
    rewarded: ClassVar[bool] = True
    reward: RewardSource = field(default_factory=lambda: MeasureReward(name="bleu"))

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "grpo"

    def measures(self) -> tuple[Measure, ...]:
        return (MeanReward(reward=self.reward), *super().measures())

    def selects(self, kind: str, split: Columns, decoded: int) -> tuple[Measure, list[str]]:
        """Returns the reward for auto."""
        chosen = MeanReward.kind if kind == "auto" and decoded != 0 else kind
        return (TaskConfig if chosen == MeanReward.kind else TranslateConfig).selects(self, chosen, split, decoded)

    def questions(self, columns: Columns, readers: Readers) -> Asked:
        """Returns what the model is asked, of all rows."""
        prompts, given = sources(readers.text, columns[SOURCE])
        return Asked(Turns(readers.text, readers.text.eos, free=True), given, prompts)

    def asked(self, columns: Columns, rows: Sequence[int]) -> tuple[list[str], list[str]]:
        """Returns the sources that the reward is told, and the expected answers."""
        given: tuple[Sequence[Any], ...] = columns[SOURCE], columns[TARGET]
        return [str(given[0][i]) for i in rows], [str(given[1][i]) for i in rows]
