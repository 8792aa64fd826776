"""Rewards of answers, learnt from pairs of which one is preferred.

Tested in tests/tasks/test_reward.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch

from transduce.data.answers import Answers
from transduce.data.chats import CHOSEN, PROMPT, REJECTED
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.data.rows import Rows
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import pad
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.heads.numbers import NumbersHeadConfig
from transduce.model.models import Model
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.preference import PairAccuracy
from transduce.tasks.prefer import pairs, texts_of
from transduce.tasks.task import Split, TaskConfig
from transduce.text.chat import ASSISTANT, Chat, chat_of, conversation
from transduce.text.tokenizer import Tokenizer

SLOTS = 8192  # of a batch of conversations that are judged together


@dataclass(frozen=True)
class Judged(Answers):
    """Pairs of answers, each of which is a row of its own."""

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        if config.packing:
            raise UserError("batch.packing=true puts several answers in a row, but a reward is of one; leave it out")
        return super().rows(config, drop=drop)


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TaskConfig):
    """A prompt, an answer that is preferred, and one that is not: how good an answer is, as a number.

    chat: the template that makes one text of a conversation: chatml, or a template in Jinja (None: that of the
        tokeniser, and where it has none chatml).
    """

    kind: ClassVar[str] = "reward"
    reads: ClassVar[tuple[str, ...]] = (PROMPT, CHOSEN, REJECTED)
    verb: ClassVar[str] = "predict"
    refusal: ClassVar[str] = "this model gives rewards; use score --reward"
    shape: ClassVar[str] = "decoder"
    unit: ClassVar[str] = "pair"
    gives: ClassVar[str] = "preference"
    chat: str | None = None

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "reward"

    def texts(self, columns: Columns) -> Iterator[str]:
        return texts_of(columns)

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a head of one number, in the place of one that predicts tokens."""
        if isinstance(model, EncoderDecoderConfig):
            raise UserError("task=reward reads a conversation with one stack; choose model.kind=decoder, or encoder")
        if isinstance(model.head, NumbersHeadConfig):
            return replace(model, head=replace(model.head, size=1))
        pool = ("last",) if isinstance(model, DecoderConfig) else ("mean",)
        return replace(model, head=NumbersHeadConfig(pool=pool))

    def check(self, model: Model, readers: Readers) -> None:
        if model.pooled_head.size != 1:
            raise UserError(f"the head has {model.pooled_head.size} outputs, but a reward is one number")
        _ = self.template(readers).end

    def template(self, readers: Readers) -> Chat:
        return self.conversing(readers.text)

    def conversing(self, tokenizer: Tokenizer) -> Chat:
        return chat_of(tokenizer, self.chat)

    def examples(self, columns: Columns, readers: Readers) -> Judged:
        answers = pairs(self.template(readers), columns, readers)
        return Judged(answers.texts, answers.own, answers.pad, answers.names)

    def measures(self) -> tuple[Measure, ...]:
        return (PairAccuracy(),)

    def line(self, prediction: float) -> str:
        return f"{prediction:.6f}"

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[float]:  # fmt: skip
        """The reward of each conversation, which is messages, these as JSON, or a text that the user says.

        Raises UserError for one that is longer than the model's positions.
        """
        chat = self.template(readers)
        rows = [read(chat, conversation(one)) for one in inputs]
        return self.rewards(model, rows)

    def reward(self, model: Model, readers: Readers, answers: Sequence[tuple[Any, str]]) -> list[float]:
        """The reward of each answer to its prompt, which is as `predict` has it."""
        talks = [[*conversation(prompt), {"role": ASSISTANT, "content": answer}] for prompt, answer in answers]
        return self.rewards(model, [read(self.template(readers), talk) for talk in talks])

    @torch.inference_mode()
    def rewards(self, model: Model, rows: Sequence[Sequence[int]]) -> list[float]:
        """The reward of each row of ids, computed in batches of like lengths."""
        if (most := model.limit) is not None and (long := max(map(len, rows), default=0)) > most:
            raise UserError(f"a conversation has {long} tokens, but this model reads {most}; shorten it")
        order, out = sorted(range(len(rows)), key=lambda i: len(rows[i])), dict[int, float]()
        while order:
            size = max(1, SLOTS // len(rows[order[-1]]))
            chosen, order = order[-size:], order[:-size]
            ids, layout = pad([rows[i] for i in chosen], model.device)
            numbers = model.pooled_head(model.features(Batch(ids, layout, ids)), layout)[:, 0]
            out |= dict(zip(chosen, cast("list[float]", numbers.cpu().numpy().tolist()), strict=True))
        return [out[i] for i in range(len(rows))]

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Which answer of each pair gets the higher reward, for all pairs; none where limit is 0."""
        if limit == 0:
            return []
        columns, names = split.columns, (PROMPT, CHOSEN, REJECTED)
        rows = [(row[0], str(row[1]), str(row[2])) for row in zip(*(columns[name] for name in names), strict=True)]
        flat = self.reward(model, readers, [(prompt, text) for prompt, *texts in rows for text in texts])
        better = [a > b for a, b in zip(flat[::2], flat[1::2], strict=True)]
        questions = [conversation(prompt)[-1]["content"] for prompt, *_ in rows]
        return [Sample(q, a, a if up else b) for q, (_, a, b), up in zip(questions, rows, better, strict=True)]


def read(chat: Chat, messages: list[dict[str, str]]) -> list[int]:
    """Returns a conversation as the model reads it: up to the end of the last answer, where there is one."""
    ids, own = chat.cut(messages)
    if messages[-1]["role"] != ASSISTANT:
        return ids[:-1] or ids
    end = len(own) - own[::-1].index(True)
    return ids[: end - 1]
