"""Answering questions with a stretch of a text.

Tested in tests/tasks/test_extract.py.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data.columns import ANSWERS, CONTEXT, QUESTION, Columns
from transduce.data.examples import Ragged
from transduce.data.framed import Frame, Row, framed
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.answers import Answers, Given
from transduce.data.readers.reader import Reader, Readers
from transduce.data.rows import Padded, Rows
from transduce.data.windows import Window, windows
from transduce.errors import Notice, UserError, require_at_least
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.heads.token_classes import TokenClassesHead, TokenClassesHeadConfig
from transduce.model.models import Model, without
from transduce.tasks.classify import texts_of
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.squad import AnswerExact, AnswerF1, Right, plain
from transduce.tasks.reading import around_of, frame_of, log_softmax, outputs, require_one_stack
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.text.tokenizer import Tokenizer


class Extracted(NamedTuple):
    """An answer. "": the context has none.

    probability: that it begins there, times that it ends there.
    start, stop: its characters in the context.
    """

    text: str
    probability: float
    start: int
    stop: int


class Part(NamedTuple):
    """A row as a model reads it: a question, and a window on its context, which begins at slot `row.place`."""

    row: Row
    window: Window


@dataclass(frozen=True)
class Questions:
    """Contexts and questions as ids, and the first and last token of the answer in each context; -1: there is none."""

    contexts: Ragged
    questions: Ragged
    spans: NDArray[np.int64]  # (rows, 2)
    frame: Frame
    pad: int
    longest: int
    stride: int

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {CONTEXT: self.contexts, QUESTION: self.questions}

    def cuts(self, config: BatchConfig) -> bool:
        return False  # a longer context is read in windows

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, which task=answer does not; leave it out")
        rows, targets, example = list[Row](), list[tuple[int, int]](), list[int]()
        for i in range(len(self)):
            first, last = self.spans[i].tolist()
            question, context = self.questions[i].tolist(), self.contexts[i].tolist()
            for row, window in parts_of(question, context, self.frame, config.max_length, self.longest, self.stride):
                inside = window.start <= first and last < window.stop
                shift = row.place - window.start
                targets.append((first + shift, last + shift) if inside and first >= 0 else (0, 0))
                rows.append(row)
                example.append(i)
        values = np.array(targets, dtype=np.int64).reshape(-1, 2)
        return Padded(framed(rows, np.array(example, dtype=np.int64), self.pad, values), config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class AnswerConfig(TaskConfig):
    """A context and a question, and the stretch of the context that answers it.   Devlin et al. 2018, sec. 4.2 and 4.3.

    stride: tokens that neighbouring windows of a long context share.
    longest_question: tokens of a question that are read.
    longest_answer: tokens of an answer.
    threshold: log p by which no answer must be likelier than the best one; of data where all questions have answers one
        is given always.
    """

    kind: ClassVar[str] = "answer"
    reads: ClassVar[tuple[str, ...]] = (CONTEXT, QUESTION, ANSWERS)
    verb: ClassVar[str] = "answer"
    shape: ClassVar[str] = "encoder"
    unit: ClassVar[str] = "window"
    gives: ClassVar[str] = "answer"
    stride: int = 128
    longest_question: int = 64
    longest_answer: int = 30
    threshold: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(0, stride=self.stride)
        require_at_least(1, longest_question=self.longest_question, longest_answer=self.longest_answer)

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "span"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {ANSWERS: Answers().fit(train[ANSWERS], ANSWERS)}

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return around_of(tokenizer)

    def texts(self, columns: Columns) -> Sequence[str]:
        return [*dict.fromkeys(texts_of(columns[CONTEXT])), *texts_of(columns[QUESTION])]

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return [*zip(texts_of(columns[CONTEXT]), texts_of(columns[QUESTION]), strict=True)]

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a head that tells where an answer begins and where it ends."""
        require_one_stack(model, self.kind)
        if not isinstance(model.head, TokenClassesHeadConfig):
            return replace(model, head=TokenClassesHeadConfig(classes=2))
        if model.head.classes not in (None, 2):
            raise UserError(f"model.head.classes={model.head.classes}, but an answer has two ends; leave it out")
        return replace(model, head=replace(model.head, classes=2))

    def check(self, model: Model, readers: Readers) -> None:
        if not isinstance(model.head, TokenClassesHead) or model.head.size != 2:
            raise UserError(f"task=answer needs a head of two classes of tokens, but {without(model.head)}")

    def examples(self, columns: Columns, readers: Readers) -> Questions:
        contexts, tokenizer = texts_of(columns[CONTEXT]), readers.text
        rights = cast(Answers, readers[ANSWERS]).encode(columns[ANSWERS], ANSWERS)
        different = {text: i for i, text in enumerate(dict.fromkeys(contexts))}
        encoded = tokenizer.encode_spans([*different])
        spans, several = np.full((len(contexts), 2), -1, dtype=np.int64), 0
        for i, (context, right) in enumerate(zip(contexts, rights, strict=True)):
            places = [located(one, context, i + 1) for one in right]
            several += sum(one.start is None and context.count(one.text) > 1 for one in right[:1])
            if places:
                spans[i] = tokens_of(encoded[different[context]][1], *places[0])
        if several:
            what = f"{several:,} answers stand several times in their contexts, and answer_start does not say where"
            warnings.warn(f"{what}; the first place is taken", Notice, stacklevel=2)
        rows = Ragged.of([encoded[different[context]][0] for context in contexts])
        questions = Ragged.of(tokenizer.encode_batch(texts_of(columns[QUESTION])))
        frame = frame_of(tokenizer)
        return Questions(rows, questions, spans, frame, tokenizer.pad, self.longest_question, self.stride)

    def measures(self) -> tuple[Measure, ...]:
        return AnswerF1(), AnswerExact()

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Extracted]:  # fmt: skip
        """Returns the answer to each question. An input is a context and a question.

        A context longer than the model is read in windows, of which the likeliest answer counts.
        """
        for number, one in enumerate(inputs):
            if isinstance(one, str) or len(one) != 2:
                raise UserError(f"text {number} is not a context and a question; task=answer needs both")
        contexts, questions = [str(context) for context, _ in inputs], [str(question) for _, question in inputs]
        different = {text: i for i, text in enumerate(dict.fromkeys(contexts))}
        encoded = readers.text.encode_spans([*different])
        frame, head = frame_of(readers.text), model.head
        assert isinstance(head, TokenClassesHead)
        parts, owners = list[Part](), list[int]()
        for i, (context, ids) in enumerate(zip(contexts, readers.text.encode_batch(questions), strict=True)):
            text, question = encoded[different[context]][0], ids[: self.longest_question]
            limit = model.limit or frame.beside(two=True) + len(text) + len(question)
            for part in parts_of(question, text, frame, max(limit, 1), self.longest_question, self.stride):
                parts.append(part)
                owners.append(i)
        results = outputs(model, [part.row for part in parts], lambda hidden, layout: head(hidden))
        best = [(-np.inf, 0, 0)] * len(inputs)
        nothing = np.full(len(inputs), np.inf)
        for part, i, logits in zip(parts, owners, results, strict=True):
            log_p = log_softmax(logits.T)  # (2, T)
            nothing[i] = min(nothing[i], log_p[:, 0].sum())
            own = slice(part.row.place, part.row.place + part.window.stop - part.window.start)
            score, first, last = likeliest(log_p[0, own], log_p[1, own], self.longest_answer)
            if score > best[i][0]:
                best[i] = (score, first + part.window.start, last + part.window.start)
        may = cast(Answers, readers[ANSWERS]).nothing
        out = list[Extracted]()
        for context, (score, first, last), none in zip(contexts, best, nothing.tolist(), strict=True):
            if score == -np.inf or (may and none - score > self.threshold):
                out.append(Extracted("", float(np.exp(none)) if np.isfinite(none) else 0.0, 0, 0))
                continue
            places = encoded[different[context]][1]
            start, stop = stripped(context, places[first][0], places[last][1])
            out.append(Extracted(context[start:stop], float(np.exp(score)), start, stop))
        return out

    def line(self, prediction: Extracted) -> str:
        return prediction.text

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        some = split.columns.take(spread(len(split.columns), limit))
        inputs, rights = self.inputs(some), cast(Answers, readers[ANSWERS]).encode(some[ANSWERS], ANSWERS)
        out = list[Sample]()
        for (context, question), right, answer in zip(
            inputs, rights, self.predict(model, readers, inputs, options), strict=True
        ):
            texts = tuple(one.text for one in right)
            beside = Right(texts, nearest_sentence(context, question))
            out.append(Sample(question, texts[0] if texts else "", answer.text, answer, beside))
        return out


def parts_of(
    question: Sequence[int], context: Sequence[int], frame: Frame, limit: int, longest: int, stride: int
) -> list[Part]:  # fmt: skip
    """Returns the rows of a question and a context. longest: tokens of a question that are read, at most half a row."""
    free = limit - frame.beside(two=True)
    question = question[: min(longest, max(free // 2, 0))]
    room = free - len(question)
    if room < 1:
        raise UserError(f"{limit} tokens leave no room for a question and a context; raise batch.max_length")
    rows = windows(len(context), room, stride)
    return [Part(frame.row(question, context[one.start : one.stop]), one) for one in rows]


def located(answer: Given, context: str, number: int) -> tuple[int, int]:
    """Returns the characters of an answer in its context. Raises UserError, with the number of the row, where it is
    not there."""
    start = context.find(answer.text) if answer.start is None else answer.start
    stop = start + len(answer.text)
    if start < 0 or context[start:stop] != answer.text:
        where = "in its context" if answer.start is None else f"at character {answer.start} of its context"
        raise UserError(f"row {number}: the answer {answer.text[:60]!r} does not stand {where}; correct or remove it")
    return start, stop


def tokens_of(places: Sequence[tuple[int, int]], start: int, stop: int) -> tuple[int, int]:
    """Returns the first and last token that stand for these characters; -1, -1: none does."""
    own = [i for i, (a, b) in enumerate(places) if a < stop and b > start and b > a]
    return (own[0], own[-1]) if own else (-1, -1)


def likeliest(begins: NDArray[Any], ends: NDArray[Any], longest: int) -> tuple[float, int, int]:
    """Returns the largest begins[i] + ends[j] with i <= j < i + longest, and i and j; (T,) each."""
    best = (-np.inf, 0, 0)
    for more in range(min(longest, len(begins))):
        sums = begins[: len(begins) - more] + ends[more:]
        if len(sums) and sums[at := int(sums.argmax())] > best[0]:
            best = (float(sums[at]), at, at + more)
    return best


def stripped(text: str, start: int, stop: int) -> tuple[int, int]:
    """Returns a stretch without the blanks at its ends, which some tokens hold."""
    part = text[start:stop]
    start += len(part) - len(part.lstrip())
    return start, start + len(part.strip())


def nearest_sentence(context: str, question: str) -> str:
    """Returns the sentence of a context that has most of the question's words, the first of those."""
    words = set(plain(question).split())
    sentences = re.split(r"(?<=[.!?])\s+", context)
    return max(sentences, key=lambda one: len(words & set(plain(one).split())))
