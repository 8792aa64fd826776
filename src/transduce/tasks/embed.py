"""Vectors of texts, learnt from pairs that belong together: of like texts, or of questions and passages.

Tested in tests/tasks/test_rank.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from transduce.data import order
from transduce.data.columns import NEGATIVE, OTHER, PASSAGE, QUESTION, TEXT, Columns
from transduce.data.examples import Examples, Index, Ragged, ids
from transduce.data.framed import Frame, FramedPieces, framed
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.pieces import Spans, padded, tensor
from transduce.data.readers.reader import Readers
from transduce.data.rows import Padded, Rows
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.heads.vector import VectorHeadConfig
from transduce.model.models import Model
from transduce.objectives.contrastive import Negatives
from transduce.tasks.bm25 import Bm25, rank_of
from transduce.tasks.classify import texts_of
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.ranking import RecallAt1, RecallAt10, ReciprocalRank
from transduce.tasks.reading import around_of, frame_of, require_one_stack, row_outputs
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.text.tokenizer import Tokenizer

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Against:
    """The hard negatives of pairs. of: (rows,), which of all second texts and negatives each is; -1: a row has none."""

    rows: Spans
    of: Index


@dataclass(frozen=True)
class TwinPieces(FramedPieces):
    """Pairs of rows: `target` has the first ones, `second` those that belong to them."""

    second: Spans | None = None
    against: Against | None = None

    @property
    def lengths(self) -> tuple[Index, Index]:
        assert self.second is not None
        if self.against is None:
            return self.second.lengths, self.target.lengths
        longest = np.maximum(self.second.lengths, np.where(self.against.of >= 0, self.against.rows.lengths, 0))
        return 2 * longest, self.target.lengths  # of a batch whose rows all have one

    def padded(self, chosen: Index) -> Batch:
        assert self.second is not None
        source, layout = padded(self.second, chosen, self.pad)
        batch = super().padded(chosen)._replace(source=source, source_layout=layout)
        some = chosen[:0] if self.against is None else chosen[self.against.of[chosen] >= 0]
        if self.against is None or not len(some):
            return batch
        return batch._replace(
            extra=Negatives(*padded(self.against.rows, some, self.pad), tensor(self.against.of[some]))
        )


class Mixed(Padded):
    """Pairs of any length in a batch: of like lengths many would share a passage, and be no wrong answer to another."""

    def plan(self, rng: np.random.Generator) -> list[Index]:
        source, target = self.pieces.lengths
        return order.cut(rng.permutation(len(target)), source, target, self.budget)

    def fixed(self) -> list[Index]:
        return self.plan(np.random.default_rng(0))


@dataclass(frozen=True)
class Twins:
    """Pairs of texts as ids, and which of all second texts each one is.

    negatives: a hard negative of each pair; empty where `wrong`, which of all texts it is, is -1. None: there are none.
    """

    names: tuple[str, ...]
    firsts: Ragged
    seconds: Ragged
    which: Index
    frame: Frame
    pad: int
    negatives: Ragged | None = None
    wrong: Index | None = None

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def beside(self) -> int:
        return self.frame.beside(two=False)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return dict(zip(self.names, self.sides, strict=True))

    @property
    def sides(self) -> tuple[Ragged, ...]:
        return (self.firsts, self.seconds) if self.negatives is None else (self.firsts, self.seconds, self.negatives)

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but each has a vector; leave it out")
        limit, every = config.max_length, np.arange(len(self), dtype=np.int64)
        longest = np.stack([side.lengths for side in self.sides]).max(0) + self.beside
        chosen = np.flatnonzero(longest <= limit) if drop else every
        one, other, *more = (
            framed([self.frame.cut(texts[i].tolist(), None, limit) for i in chosen.tolist()], chosen, self.pad, every)
            for texts in self.sides
        )
        against = None if self.wrong is None else Against(more[0].target, self.wrong[chosen])
        pieces = TwinPieces(
            one.target, chosen, self.pad, None, self.which[chosen], second=other.target, against=against
        )
        return Mixed(pieces, config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class PairedConfig(TaskConfig):
    """A task of pairs of texts whose vectors are near each other."""

    shape: ClassVar[str] = "encoder"
    unit: ClassVar[str] = "pair"
    gives: ClassVar[str] = "rank"
    embeds: ClassVar[bool] = True

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "contrastive"

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return around_of(tokenizer)

    def texts(self, columns: Columns) -> Sequence[str]:
        return [text for name in columns.names for text in dict.fromkeys(texts_of(columns[name]))]

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a head that gives a vector."""
        require_one_stack(model, self.kind)
        if isinstance(model.head, VectorHeadConfig):
            return model
        return replace(model, head=VectorHeadConfig(pool=("last",) if isinstance(model, DecoderConfig) else ("mean",)))

    def check(self, model: Model, readers: Readers) -> None:
        assert model.pooled_head.size

    def examples(self, columns: Columns, readers: Readers) -> Twins:
        tokenizer, (first, second, *_) = readers.text, self.reads
        texts, hard = texts_of(columns[second]), negatives_of(columns)
        place = {text: i for i, text in enumerate(dict.fromkeys([*texts, *hard]))}
        which = np.array([place[text] for text in texts], dtype=np.int64)
        firsts, seconds = ids(texts_of(columns[first]), tokenizer), ids(texts, tokenizer)
        twins = Twins((first, second), firsts, seconds, which, frame_of(tokenizer), tokenizer.pad)
        if not any(text.strip() for text in hard):
            return twins
        wrong = np.array([place[text] if text.strip() else -1 for text in hard], dtype=np.int64)
        return replace(twins, names=(first, second, NEGATIVE), negatives=ids(hard, tokenizer), wrong=wrong)

    def unlearnable(self, model: ModelConfig, readers: Readers, name: str, examples: Examples) -> list[str]:
        """Returns a sentence about hard negatives that are what they should be told from."""
        wrong = cast(Twins, examples).wrong
        if wrong is None or not (same := int((wrong == cast(Twins, examples).which).sum())):
            return []
        what = f"{name}: {same:,} of {int((wrong >= 0).sum()):,} negatives are the same text as what they stand beside"
        return [f"{what}; these are no wrong answers, so nothing is learnt from them"]

    def measures(self) -> tuple[Measure, ...]:
        return ReciprocalRank(), RecallAt1(), RecallAt10()

    def vectors(self, model: Model, readers: Readers, texts: Sequence[str]) -> Floats:
        """Returns (texts, features) float32, each of length 1."""
        if not texts:
            return np.zeros((0, model.pooled_head.size), dtype=np.float32)
        rows = np.array(row_outputs(model, readers.text, texts), dtype=np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns for each first text the best second one of the split, and the ranks of its own: here, and by BM25.

        Hard negatives of the split are among the texts that are ranked.
        """
        if limit == 0:
            return []
        first, second = (texts_of(split.columns[name]) for name in self.reads[:2])
        candidates = [*dict.fromkeys([*second, *(text for text in negatives_of(split.columns) if text.strip())])]
        place, there = {text: i for i, text in enumerate(candidates)}, self.vectors(model, readers, candidates)
        chosen, words = spread(len(first), limit), Bm25(candidates)
        here = self.vectors(model, readers, [first[i] for i in chosen])
        out = list[Sample]()
        for i, vector in zip(chosen, here, strict=True):
            scores, own = there @ vector, place[second[i]]
            ranks = rank_of(scores, own), rank_of(words.scores(first[i]), own)
            out.append(Sample(first[i], second[i], candidates[int(scores.argmax())], None, ranks))
        return out


def negatives_of(columns: Columns) -> Sequence[str]:
    """Returns the hard negative of each row, "" where it has none; nothing where the data have no such column."""
    return texts_of(columns[NEGATIVE]) if NEGATIVE in columns.names else ()


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(PairedConfig):
    """Two texts that belong together, and a vector of each, so that like texts have like vectors.

    Reimers & Gurevych 2019, arXiv:1908.10084. The other pairs of a batch are what a text does not belong to.
    """

    kind: ClassVar[str] = "embed"
    reads: ClassVar[tuple[str, ...]] = (TEXT, OTHER, NEGATIVE)
    verb: ClassVar[str] = "embed"

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[list[float]]:  # fmt: skip
        """Returns the vector of each text."""
        return self.vectors(model, readers, inputs).tolist()

    def line(self, prediction: list[float]) -> str:
        return " ".join(f"{x:.6g}" for x in prediction)


class Ranked(NamedTuple):
    """Passages, the best first. order: their numbers, from 0. scores: the cosine of each."""

    order: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RankConfig(PairedConfig):
    """A question and a passage that answers it, so that passages can be ranked by their vectors.

    Karpukhin et al. 2020, arXiv:2004.04906, with one encoder for both. The other passages of a batch answer it not.
    """

    kind: ClassVar[str] = "rank"
    reads: ClassVar[tuple[str, ...]] = (QUESTION, PASSAGE, NEGATIVE)
    verb: ClassVar[str] = "rank"

    def inputs(self, columns: Columns) -> Sequence[Any]:
        passages = tuple(dict.fromkeys(texts_of(columns[PASSAGE])))
        return [(question, passages) for question in texts_of(columns[QUESTION])]

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Ranked]:  # fmt: skip
        """Returns the order of the passages of each question. An input is a question and a list of passages."""
        for number, one in enumerate(inputs):
            if isinstance(one, str) or len(one) != 2 or isinstance(one[1], str):
                raise UserError(f"text {number} is not a question and a list of passages; task=rank needs both")
        passages = [*dict.fromkeys(text for _, texts in inputs for text in texts)]
        place, there = {text: i for i, text in enumerate(passages)}, self.vectors(model, readers, passages)
        here = self.vectors(model, readers, [question for question, _ in inputs])
        rows = zip(inputs, here, strict=True)
        return [ranked(there[[place[text] for text in texts]], vector) for (_, texts), vector in rows]

    def line(self, prediction: Ranked) -> str:
        return " ".join(map(str, prediction.order))


def ranked(passages: Floats, question: Floats) -> Ranked:
    """Returns the order of passages for a question. passages: (N, features), of length 1, as is question."""
    scores = passages @ question
    best = np.argsort(-scores, kind="stable")
    return Ranked(tuple(map(int, best)), tuple(map(float, scores[best])))


@dataclass(frozen=True)
class TaskVectors:
    """Makes vectors of texts with a model that was trained for a task that embeds."""

    task: TaskConfig
    model: Model
    readers: Readers
    note: ClassVar[str] = ""  # nothing was assumed

    @property
    def features(self) -> int:
        """Returns the numbers in the vector of a text."""
        return self.model.pooled_head.size

    def embed(
        self, texts: Sequence[str], *, batch_tokens: int = 4096, precision: str = "fp32", prompt: str | None = None
    ) -> Floats:  # fmt: skip
        """Returns (texts, features) float32. precision: bf16 multiplies in bfloat16."""
        with self.low(precision):
            return self.task.vectors(self.model, self.readers, [f"{prompt or ''}{text}" for text in texts])

    def embed_inputs(self, inputs: Sequence[Any], *, precision: str = "fp32") -> Floats:
        """Returns the same of what the task reads beside texts, such as files of pictures. Raises UserError."""
        if not self.task.embeds_inputs:
            raise UserError(f"this model was trained for task={self.task.kind}, which embeds texts alone")
        with self.low(precision):
            return self.task.vectors_of_inputs(self.model, self.readers, inputs)

    def low(self, precision: str) -> torch.autocast:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=precision == "bf16")
