"""Conversations: the assistant answers.

Tested in tests/tasks/test_chat.py.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data import pieces
from transduce.data.chats import MESSAGES
from transduce.data.columns import Columns
from transduce.data.examples import Examples, Index, Ragged
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.pieces import Pieces, Spans
from transduce.data.readers.reader import Readers
from transduce.data.rows import Packed, Padded, Rows
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import OnToken, decode
from transduce.generate.score import Scores
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.tasks.answer import Answer, answer, room
from transduce.tasks.measures.loss import Perplexity
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.text.chat import ASSISTANT, Chat, chat_of, conversation
from transduce.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class OwnPieces(Pieces):
    """Rows of which only some tokens are targets. own: the ids of these, -1 elsewhere, as `target` has them."""

    own: Spans

    def padded(self, chosen: Index) -> Batch:
        targets, _ = pieces.padded(self.own, chosen, -1, shift=1)
        return super().padded(chosen)._replace(targets=targets)

    def packed(self, rows: list[Index]) -> Batch:
        _, targets, _ = pieces.packed(self.own, rows, -1)
        return super().packed(rows)._replace(targets=targets)


@dataclass(frozen=True)
class Conversations:
    """Conversations as ids, and which of them the assistant writes."""

    beside: ClassVar[int] = -1  # the last id is a target alone

    texts: Ragged
    own: NDArray[np.bool_]  # (total,)
    pad: int
    name: str = MESSAGES

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {self.name: self.texts}

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        parts = self.pieces(config.max_length, drop)
        if config.packing:
            return Packed(parts, config.batch_tokens, config.max_length)
        return Padded(parts, config.batch_tokens)

    def pieces(self, limit: int, drop: bool) -> OwnPieces:
        """Returns a piece for each conversation. Raises UserError where a cut leaves an answer no token."""
        slots = self.texts.lengths - 1
        rows = np.flatnonzero(slots <= limit) if drop else np.arange(len(slots), dtype=np.int64)
        targets = np.where(self.own, self.texts.flat, -1).astype(np.int32)
        before = np.concatenate([np.zeros(1, dtype=np.int64), self.own.cumsum()])
        starts, lengths = self.texts.offsets[:-1], np.minimum(slots, limit)
        empty = np.flatnonzero(before[starts + lengths + 1] == before[starts])
        if len(empty := np.intersect1d(empty, rows)):
            first = int(empty[0])
            what = f"conversation {first + 1} has its first answer beyond batch.max_length={limit}"
            raise UserError(f"{what} ({slots[first]} slots); raise it, or set batch.overlong=drop")
        sides = [Spans(flat, starts[rows], lengths[rows]) for flat in (self.texts.flat, targets)]
        return OwnPieces(sides[0], rows, self.pad, sides[1])


@dataclass(frozen=True)
class Turns:
    """A tokeniser as decoding sees it, where the end of a turn ends an answer.

    free: tokens that no text has may be drawn, too, so that an answer is drawn from what the model holds and no less.
    """

    tokenizer: Tokenizer
    eos: int
    free: bool = False

    @property
    def bos(self) -> int:
        return self.tokenizer.bos

    @property
    def ends(self) -> tuple[int, ...]:
        others = (self.tokenizer.eos, *self.tokenizer.ends)
        return tuple(i for i in others if i >= 0 and i != self.eos)

    @property
    def barred(self) -> frozenset[int]:
        return frozenset() if self.free else self.tokenizer.barred - {self.eos}

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)


@dataclass(frozen=True, kw_only=True)
class ChatConfig(TaskConfig):
    """A conversation, in which the assistant answers. Of its tokens those alone are learnt that the assistant writes.

    chat: the template that makes one text of a conversation: chatml, or a template in Jinja (None: that of the
        tokeniser, and where it has none chatml).
    """

    kind: ClassVar[str] = "chat"
    reads: ClassVar[tuple[str, ...]] = (MESSAGES,)
    verb: ClassVar[str] = "chat"
    refusal: ClassVar[str] = "this model was trained on conversations; use chat"
    shape: ClassVar[str] = "decoder"
    chat: str | None = None

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "next-token"

    def texts(self, columns: Columns) -> Iterator[str]:
        """Yields what is said, and the names of the roles, so that a tokeniser made of it can write them."""
        for name in self.reads:
            for value in columns[name]:
                for message in conversation(value):
                    yield f"{message['role']}\n{message['content']}\n"

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        if isinstance(model, EncoderDecoderConfig):
            raise UserError(f"task={self.kind} goes on with a conversation with one stack; choose model.kind=decoder")
        return model

    def check(self, model: Model, readers: Readers) -> None:
        if model.takes_source or not model.writes:
            raise UserError(
                f"task={self.kind} asks a model to write, which this one does not; choose model.kind=decoder"
            )
        _ = self.template(readers).end

    def template(self, readers: Readers) -> Chat:
        """Returns how the tokeniser writes conversations. Raises UserError."""
        return self.conversing(readers.text)

    def conversing(self, tokenizer: Tokenizer) -> Chat:
        return chat_of(tokenizer, self.chat)

    def written(self, readers: Readers) -> "Turns":
        """Returns the tokeniser, which also ends where a turn of the assistant does. Raises UserError."""
        return Turns(readers.text, self.template(readers).end)

    def examples(self, columns: Columns, readers: Readers) -> Examples:
        chat, ids, own = self.template(readers), list[list[int]](), list[list[bool]]()
        for number, value in enumerate(columns[MESSAGES], 1):
            try:
                row = chat.cut(conversation(value))
            except UserError as error:
                raise UserError(f"conversation {number}: {error}") from None
            if True not in row.own[1:]:
                what = "the assistant says nothing, so there is nothing to learn from"
                raise UserError(f"conversation {number}: {what}; remove it, or mend its roles")
            end = len(row.own) - row.own[::-1].index(True)
            ids.append(row.ids[:end])
            own.append(row.own[:end])
        flat = np.array([mine for row in own for mine in row], dtype=np.bool_)
        return Conversations(Ragged.of(ids), flat, readers.text.pad)

    def measures(self) -> tuple[Measure, ...]:
        return ()

    def reported(self) -> tuple[Measure, ...]:
        return (Perplexity(),)

    def line(self, prediction: Answer) -> str:
        return prediction.text

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig,
        on_token: OnToken | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Answers to conversations: to messages, these as JSON, or a text that the user says.

        Where the assistant has the last word, that is what it answers anew. An answer is no longer than the model's
        positions allow; a conversation that is longer raises UserError.
        """
        chat, turns = self.template(readers), self.written(readers)
        prompts = [chat.ids(before_answer(conversation(one))) for one in inputs]
        if not prompts:
            return []
        if model.limit is not None and (long := max(map(len, prompts))) > model.limit:
            raise UserError(f"a conversation has {long} tokens, but this model reads {model.limit}; begin a new one")
        options = replace(options, max_length=None)
        limits = room(model, options, [len(row) for row in prompts])
        rows = decode(model, turns, options, prompt=prompts, limits=limits, on_token=on_token)
        return [answer(readers.text, row[0], options) for row in rows]

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Answers in a few conversations of the split, where there is room for them."""
        if limit == 0:
            return []
        column, chat = split.columns[self.reads[0]], self.template(readers)
        rows = [conversation(column[i]) for i in spread(len(column), limit)]
        fits = [row for row in rows if model.limit is None or len(chat.ids(before_answer(row))) <= model.limit]
        answers = self.predict(model, readers, fits, options)
        last = [next((m["content"] for m in reversed(row) if m["role"] == ASSISTANT), "") for row in fits]
        given = [shown(before_answer(row)) for row in fits]
        return [Sample(a, b, c.text) for a, b, c in zip(given, last, answers, strict=True)]

    def score(self, model: Model, readers: Readers, rows: Iterable[Any]) -> list[Scores]:
        """log p of the last answer of each conversation, token by token, the end of the turn included."""
        from transduce.generate.score import score

        chat, prompts, targets = self.template(readers), list[list[int]](), list[list[int]]()
        for row in rows:
            ids, own = chat.cut(conversation(row))
            if True not in own:
                raise UserError("a conversation without an answer has no score; add what the assistant says")
            end = len(own) - own[::-1].index(True)
            start = next((i + 1 for i in range(end - 1, -1, -1) if not own[i]), 0)
            prompts.append(ids[:start])
            targets.append(ids[start:end])
        return score(model, readers.text, prompts=prompts, targets=targets, ends=False)


def chat_task(task: TaskConfig, model: Model, readers: Readers) -> ChatConfig:
    """Returns the task by which a model answers: its own, or one for any model that writes and has a chat template.

    Raises UserError for other models.
    """
    if isinstance(task, ChatConfig):
        return task
    if model.writes and not model.takes_source and readers.tokenizer is not None and readers.tokenizer.marks.chat:
        (own := ChatConfig()).check(model, readers)
        return own
    what = f"this model was trained for task={task.kind}, not on conversations"
    raise UserError(f"{what}; use {task.verb}, or teach it: transduce train sft start=RUN data.path=FILE")


def before_answer(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Returns a conversation up to where the assistant answers. Raises UserError where nothing comes before that."""
    last = len(messages)
    while last and messages[last - 1]["role"] == ASSISTANT:
        last -= 1
    if not last:
        raise UserError("a conversation begins with what the assistant says; begin it with the user")
    return messages[:last]


def shown(messages: Sequence[Mapping[str, str]]) -> str:
    """Returns a conversation as people read it."""
    return "\n".join(
        message["content"] if len(messages) == 1 else f"{message['role']}: {message['content']}" for message in messages
    )


def as_text(messages: Sequence[Mapping[str, str]]) -> str:
    """Returns a conversation as a column keeps it."""
    return json.dumps([dict(one) for one in messages], ensure_ascii=False)
