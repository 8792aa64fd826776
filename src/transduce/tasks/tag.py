"""Tagging: which of a few tags each word of a text has, such as the names of persons and places."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data.columns import TAGS, WORDS, Columns
from transduce.data.examples import Ragged
from transduce.data.framed import Frame, framed
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.reader import Reader, Readers
from transduce.data.readers.tags import Tags, listed
from transduce.data.rows import Padded, Rows
from transduce.data.windows import windows
from transduce.errors import UserError, require_at_least
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.heads.token_classes import TokenClassesHead, TokenClassesHeadConfig
from transduce.model.models import Model, without
from transduce.tasks.measures.entities import EntityF1, TagAccuracy, prefixed, spans
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.reading import around_of, frame_of, log_softmax, outputs, require_one_stack
from transduce.tasks.task import Split, TaskConfig
from transduce.text.tokenizer import Tokenizer

OPENING, CLOSING = "([{\"'“‘«¿¡", ".,;:!?)]}\"'”’»…"  # signs that are words of their own at the ends of a word


class Entity(NamedTuple):
    """A stretch of a text that tags mark. start, stop: its characters in the text."""

    label: str
    text: str
    start: int
    stop: int


class Tagging(NamedTuple):
    """The tag of each word of a text.

    probabilities: of these tags.
    entities: what the tags mark, where they are B-, I- and the like.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Tagged:
    """Texts as ids, with the class of each token that begins a word; -1 for others."""

    tokens: Ragged
    classes: Ragged
    frame: Frame
    pad: int
    stride: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {WORDS: self.tokens}

    def cuts(self, config: BatchConfig) -> bool:
        return False  # what is longer is read in windows

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, which task=tag does not; leave it out")
        room = room_of(config.max_length, self.frame)
        rows, slots, example = list[Any](), list[list[int]](), list[int]()
        before, after = [-1] * len(self.frame.before), [-1] * len(self.frame.after)
        for i in range(len(self)):
            ids, classes = self.tokens[i].tolist(), self.classes[i].tolist()
            for start, stop, first, last in windows(len(ids), room, self.stride):
                own = [c if first <= at < last else -1 for at, c in enumerate(classes[start:stop], start)]
                if any(c >= 0 for c in own):
                    rows.append(self.frame.row(ids[start:stop]))
                    slots.append([*before, *own, *after])
                    example.append(i)
        if not rows:
            raise UserError("no text has a word with a tag, so there is nothing to learn; check data.path")
        parts = np.array(example, dtype=np.int64)
        return Padded(framed(rows, parts, self.pad, parts, slots), config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class TagConfig(TaskConfig):
    """Words, and one of a few tags for each: names of persons and places, parts of speech.

    The tag of a word is learnt at, and read from, the first of its tokens.   Devlin et al. 2018, sec. 5.3.

    stride: tokens that neighbouring windows of a long text share.
    """

    kind: ClassVar[str] = "tag"
    reads: ClassVar[tuple[str, ...]] = (WORDS, TAGS)
    verb: ClassVar[str] = "tag"
    shape: ClassVar[str] = "encoder"
    unit: ClassVar[str] = "word"
    gives: ClassVar[str] = "tags"
    stride: int = 32

    def __post_init__(self) -> None:
        require_at_least(0, stride=self.stride)

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "tagging"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {TAGS: Tags().fit(train[TAGS], TAGS)}

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return around_of(tokenizer)

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return [listed(value) for value in columns[WORDS]]

    def texts(self, columns: Columns) -> Sequence[str]:
        return [" ".join(listed(value)) for value in columns[WORDS]]

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """The same with a head that tells so many tags."""
        count = readers[TAGS].size
        require_one_stack(model, self.kind)
        if not isinstance(model.head, TokenClassesHeadConfig):
            return replace(model, head=TokenClassesHeadConfig(classes=count))
        if model.head.classes not in (None, count):
            raise UserError(f"model.head.classes={model.head.classes}, but the data have {count} tags; leave it out")
        return replace(model, head=replace(model.head, classes=count))

    def check(self, model: Model, readers: Readers) -> None:
        if not isinstance(model.head, TokenClassesHead) or model.head.size != readers[TAGS].size:
            raise UserError(f"there are {readers[TAGS].size} tags, but {without(model.head)}; leave model.head out")

    def examples(self, columns: Columns, readers: Readers) -> Tagged:
        words, classes = self.inputs(columns), cast(Ragged, readers[TAGS].encode(columns[TAGS], TAGS))
        rows, marks = list[list[int]](), list[list[int]]()
        for number, (row, own) in enumerate(zip(words, classes.lengths.tolist(), strict=True)):
            if len(row) != own:
                what = f"row {number + 1} has {len(row)} word{'s' * (len(row) != 1)} and {own} tag{'s' * (own != 1)}"
                raise UserError(f"{what}; each word needs one, so correct or remove it")
        for (ids, first), i in zip(aligned(words, readers.text), range(len(words)), strict=True):
            own = np.full(len(ids), -1, dtype=np.int32)
            at = np.array(first, dtype=np.int64)
            own[at[at >= 0]] = classes[i][at >= 0]
            rows.append(ids)
            marks.append(own.tolist())
        tokenizer = readers.text
        return Tagged(Ragged.of(rows), Ragged.of(marks), frame_of(tokenizer), tokenizer.pad, self.stride)

    def measures(self) -> tuple[Measure, ...]:
        return EntityF1(), TagAccuracy()

    def selects(self, kind: str, split: Columns, decoded: int) -> tuple[Measure, list[str]]:
        """Where no tag is B-, I- or the like, there are no entities, and single words count."""
        if kind == "auto" and not any(prefixed(listed(value)) for value in split[TAGS]):
            return TagAccuracy(), []
        return super().selects(kind, split, decoded)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Tagging]:  # fmt: skip
        """The tag of each word. An input is a list of words, or a text, which `parts` makes words of.

        A word without a token, such as one of nothing but control characters, has the tag of the most other words.
        """
        texts = [one if isinstance(one, str) else " ".join(one) for one in inputs]
        places = [parts(one) if isinstance(one, str) else joined(one) for one in inputs]
        words = [[text[a:b] for a, b in row] for text, row in zip(texts, places, strict=True)]
        logs = self.logs(model, readers, words)
        names, out = cast(Tags, readers[TAGS]).names, list[Tagging]()
        for text, row, own, log_p in zip(texts, places, words, logs, strict=True):
            best = log_p.argmax(-1)
            tags = tuple(names[int(i)] for i in best)
            shares = tuple(np.exp(log_p[np.arange(len(best)), best]).tolist())
            stretches = [(span.kind, row[span.start][0], row[span.stop - 1][1]) for span in spans(tags)]
            entities = tuple(Entity(kind, text[a:b], a, b) for kind, a, b in stretches)
            out.append(Tagging(tuple(own), tags, shares, entities))
        return out

    def logs(self, model: Model, readers: Readers, words: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """(words, tags) float64 for each text: log p of every tag. A long text is read in windows."""
        head, frame = model.head, frame_of(readers.text)
        assert isinstance(head, TokenClassesHead)
        rows, owners = list[Any](), list[tuple[int, int, int, int]]()
        pieces = list(aligned(words, readers.text))
        longest = max((len(ids) for ids, _ in pieces), default=0)
        room = longest if model.limit is None else room_of(model.limit, frame)
        for i, (ids, _) in enumerate(pieces):
            for start, stop, first, last in windows(len(ids), room, self.stride) if ids else ():
                rows.append(frame.row(ids[start:stop]))
                owners.append((i, start, first, last))
        tokens = [np.zeros((len(ids), head.size)) for ids, _ in pieces]
        results = outputs(model, rows, lambda hidden, layout: head(hidden))
        for (i, start, first, last), logits in zip(owners, results, strict=True):
            shift = len(frame.before) - start
            tokens[i][first:last] = log_softmax(logits[first + shift : last + shift])
        out = list[NDArray[np.float64]]()
        for (_, first), log_p in zip(pieces, tokens, strict=True):
            at = np.array(first, dtype=np.int64)
            own = np.zeros((len(at), head.size))
            own[at >= 0] = log_p[at[at >= 0]]
            if (at < 0).any():  # of words without a token
                usual = np.bincount(own[at >= 0].argmax(-1), minlength=head.size).argmax() if (at >= 0).any() else 0
                own[at < 0] = np.where(np.arange(head.size) == usual, 0.0, -np.inf)
            out.append(own)
        return out

    def line(self, prediction: Tagging) -> str:
        return " ".join(prediction.tags)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Those of all rows, since they cost no more than the loss; none where limit is 0."""
        if limit == 0:
            return []
        words, tags = self.inputs(split.columns), [listed(value) for value in split.columns[TAGS]]
        answers = self.predict(model, readers, words, options)
        rows = zip(words, tags, answers, strict=True)
        return [Sample(" ".join(own), " ".join(wanted), " ".join(one.tags), one) for own, wanted, one in rows]


def room_of(limit: int, frame: Frame) -> int:
    """Returns how many tokens of a text fit. Raises UserError where none do."""
    room = limit - frame.beside(two=False)
    if room < 1:
        raise UserError(f"{limit} tokens leave no room for a text beside those around it; raise batch.max_length")
    return room


def joined(words: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the characters of each word where they are joined by blanks."""
    out, start = list[tuple[int, int]](), 0
    for word in words:
        out.append((start, start + len(word)))
        start += len(word) + 1
    return out


def parts(text: str) -> list[tuple[int, int]]:
    """Returns the characters of each word of a text: between blanks, signs at the ends of a word apart."""
    out = list[tuple[int, int]]()
    for match in re.finditer(r"\S+", text):
        start, stop = match.span()
        head, tail = list[tuple[int, int]](), list[tuple[int, int]]()
        while stop - start > 1 and text[start] in OPENING:
            head.append((start, start + 1))
            start += 1
        while stop - start > 1 and text[stop - 1] in CLOSING:
            tail.append((stop - 1, stop))
            stop -= 1
        out += [*head, (start, stop), *tail[::-1]]
    return out


def aligned(words: Sequence[Sequence[str]], tokenizer: Tokenizer) -> "zip[tuple[list[int], list[int]]]":
    """Yields the ids of each text of words, joined by blanks, and the first token of each word; -1: it has none of its
    own. Raises UserError for an empty word."""
    for number, row in enumerate(words, 1):
        if empty := [i for i, word in enumerate(row, 1) if not word.strip()]:
            raise UserError(f"word {empty[0]} of row {number} is empty; correct or remove it")
    encoded = tokenizer.encode_spans([" ".join(row) for row in words])
    firsts = [firsts_of(joined(row), spans) for row, (_, spans) in zip(words, encoded, strict=True)]
    return zip([ids for ids, _ in encoded], firsts, strict=True)


def firsts_of(words: Sequence[tuple[int, int]], tokens: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the first token of each word. words, tokens: their characters, both in order."""
    out, at, last = list[int](), 0, -1
    for start, stop in words:
        while at < len(tokens) and tokens[at][1] <= start:
            at += 1
        own = at
        while own < len(tokens) and (own <= last or tokens[own][1] <= tokens[own][0]) and tokens[own][0] < stop:
            own += 1
        here = own < len(tokens) and tokens[own][0] < stop and tokens[own][1] > tokens[own][0] and own > last
        out.append(own if here else -1)
        last = own if here else last
    return out
