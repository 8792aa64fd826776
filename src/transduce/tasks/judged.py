"""Prompts with an answer that is wanted or not.

Tested in tests/tasks/test_prefer.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transduce.data.answers import Answers
from transduce.data.chats import COMPLETION, LABEL, PROMPT
from transduce.data.columns import Columns
from transduce.data.examples import Ragged
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.tasks.chat import ChatConfig
from transduce.tasks.measures.measure import Measure
from transduce.tasks.prefer import answered
from transduce.text.chat import ASSISTANT, conversation

WORDS = {"true": 1, "1": 1, "yes": 1, "good": 1, "false": 0, "0": 0, "no": 0, "bad": 0}


@dataclass(frozen=True, kw_only=True)
class JudgedConfig(ChatConfig):
    """A prompt, an answer, and whether it is wanted (true or false). The model answers, as after conversations.

    chat: the template that makes one text of a conversation: chatml, or a template in Jinja (None: that of the
        tokeniser, and where it has none chatml).
    """

    kind: ClassVar[str] = "judged"
    reads: ClassVar[tuple[str, ...]] = (PROMPT, COMPLETION, LABEL)
    refusal: ClassVar[str] = "this model was trained on judged answers; use chat"
    unit: ClassVar[str] = "answer"

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "kto"

    def texts(self, columns: Columns) -> Iterator[str]:
        for value in columns[PROMPT]:
            for message in conversation(value):
                yield f"{message['role']}\n{message['content']}\n"
        for value in columns[COMPLETION]:
            yield f"{ASSISTANT}\n{value}\n"

    def examples(self, columns: Columns, readers: Readers) -> Answers:
        chat, ids, own, label = self.template(readers), list[list[int]](), list[bool](), list[int]()
        for number, row in enumerate(zip(*(columns[name] for name in self.reads), strict=True), 1):
            cut = answered(chat, row[0], str(row[1]), f"answer {number}")
            ids.append(cut.ids)
            own += cut.own
            label.append(wanted(row[2], number))
        flags = np.array(label, dtype=np.int8)
        mask = np.array(own, dtype=np.bool_)
        return Answers(Ragged.of(ids), mask, readers.text.pad, (COMPLETION,), label=flags)

    def reported(self) -> tuple[Measure, ...]:
        return ()


def wanted(value: Any, number: int) -> int:
    """Returns 1 for an answer that is wanted, else 0. Raises UserError for what says neither."""
    word = str(value).strip().casefold()
    if word not in WORDS:
        raise UserError(f"answer {number} has the label {value!r}; write true where it is wanted, else false")
    return WORDS[word]
