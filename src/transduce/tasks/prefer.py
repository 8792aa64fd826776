"""Prompts with two answers of which one is preferred: what the assistant answers is to be like the better one.

Tested in tests/tasks/test_prefer.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transduce.data.answers import Answers
from transduce.data.chats import CHOSEN, PROMPT, REJECTED
from transduce.data.columns import Columns
from transduce.data.examples import Ragged
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.models import Model
from transduce.tasks.chat import ChatConfig, before_answer, shown
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split
from transduce.text.chat import ASSISTANT, Chat, Cut, conversation


@dataclass(frozen=True, kw_only=True)
class PreferConfig(ChatConfig):
    """A prompt, an answer that is preferred, and one that is not. The model answers, as after conversations.

    chat: the template that makes one text of a conversation: chatml, or a template in Jinja (None: that of the
        tokeniser, and where it has none chatml).
    """

    kind: ClassVar[str] = "prefer"
    reads: ClassVar[tuple[str, ...]] = (PROMPT, CHOSEN, REJECTED)
    refusal: ClassVar[str] = "this model was trained on preferences; use chat"
    unit: ClassVar[str] = "pair"

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "dpo"

    def texts(self, columns: Columns) -> Iterator[str]:
        return texts_of(columns)

    def examples(self, columns: Columns, readers: Readers) -> Answers:
        return pairs(self.template(readers), columns, readers)

    def reported(self) -> tuple[Measure, ...]:
        return ()

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Answers to a few prompts of the split, beside those that are preferred."""
        rows = super().samples(model, readers, split, options, limit)
        chosen = {conversation_key(p): c for p, c in zip(split.columns[PROMPT], split.columns[CHOSEN], strict=True)}
        return [row._replace(expected=chosen.get(row.source, row.expected)) for row in rows]


def conversation_key(prompt: Any) -> str:
    return shown(before_answer(conversation(prompt)))


def texts_of(columns: Columns) -> Iterator[str]:
    """Yields what is said in prompts and answers, with the names of the roles."""
    for value in columns[PROMPT]:
        for message in conversation(value):
            yield f"{message['role']}\n{message['content']}\n"
    for name in (CHOSEN, REJECTED):
        for value in columns[name]:
            yield f"{ASSISTANT}\n{value}\n"


def answered(chat: Chat, prompt: Any, answer: str, place: str) -> Cut:
    """Returns a prompt with an answer as ids, up to the end of its turn; earlier answers are a part of the prompt.

    Raises UserError, which begins with the place.
    """
    try:
        before = conversation(prompt)
        cut = chat.cut([*before, {"role": ASSISTANT, "content": answer}])
        start = 1 + max((i for i, mine in enumerate(chat.cut(before).own) if mine), default=-1)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    end = len(cut.own) - cut.own[::-1].index(True)
    return Cut(cut.ids[:end], [mine and at >= start for at, mine in enumerate(cut.own[:end])])


def pairs(chat: Chat, columns: Columns, readers: Readers) -> Answers:
    """Returns prompts with the better answer and the worse one, as ids. Raises UserError, naming the row."""
    ids, own = list[Sequence[int]](), list[bool]()
    for number, row in enumerate(zip(*(columns[name] for name in (PROMPT, CHOSEN, REJECTED)), strict=True), 1):
        if row[1] == row[2]:
            raise UserError(
                f"pair {number}: `chosen` and `rejected` are equal, so neither is preferred; remove the row"
            )
        for text in row[1:]:
            cut = answered(chat, row[0], str(text), f"pair {number}")
            ids.append(cut.ids)
            own += cut.own
    return Answers(Ragged.of(ids), np.array(own, dtype=np.bool_), readers.text.pad, (CHOSEN, REJECTED))
