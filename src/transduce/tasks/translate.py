"""From a source to a target: translation, and every other task that answers one text with another.

Tested in tests/tasks/test_laws.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from transduce.data import pieces
from transduce.data.columns import SOURCE, TARGET, Columns
from transduce.data.examples import Ragged, ids
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.pieces import Specials
from transduce.data.readers.reader import Readers
from transduce.data.rows import Packed, Padded, Rows
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.score import Scores, score
from transduce.model.models import Model
from transduce.tasks.answer import Answer, answer, distinct, room
from transduce.tasks.measures.bleu import ORDER, Bleu, BleuTokenizer, tokenizer_for, words
from transduce.tasks.measures.exact import ExactMatch
from transduce.tasks.measures.loss import Perplexity
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts as ids, without special tokens."""

    sources: Ragged
    targets: Ragged
    specials: Specials

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {SOURCE: self.sources, TARGET: self.targets}

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        whole = pieces.pairs(self.sources, self.targets, self.specials, config.max_length, drop)
        if config.packing:
            return Packed(whole, config.batch_tokens, config.max_length)
        return Padded(whole, config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class TranslateConfig(TaskConfig):
    """A text in, a text out.

    bleu_tokenizer: the rules by which BLEU cuts a text into words; auto: those that suit the script of the targets.
    """

    kind: ClassVar[str] = "translate"
    reads: ClassVar[tuple[str, ...]] = (SOURCE, TARGET)
    verb: ClassVar[str] = "translate"
    gives: ClassVar[str] = "text"
    refusal: ClassVar[str] = "this model answers a source; use translate"
    shape: ClassVar[str] = "encoder-decoder"
    replies: ClassVar[bool] = True
    bleu_tokenizer: BleuTokenizer = "auto"

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "translation"

    def way(self, data: DataConfig) -> str:
        return f"use data.kind=pairs or parallel, or task={data.task}"

    def check(self, model: Model, readers: Readers) -> None:
        if not model.takes_source:
            raise UserError(
                "the data gives pairs, which this model does not learn from; choose model.kind=encoder-decoder"
            )

    def examples(self, columns: Columns, readers: Readers) -> Pairs:
        tokenizer = readers.text
        sources = ids(columns[SOURCE], tokenizer, before=tokenizer.marks.before)
        return Pairs(sources, ids(columns[TARGET], tokenizer, answers=True), tokenizer)

    def measures(self) -> tuple[Measure, ...]:
        return Bleu(tokenizer=self.bleu_tokenizer), ExactMatch()

    def reported(self) -> tuple[Measure, ...]:
        return (Perplexity(),)

    def selects(self, kind: str, split: Columns, decoded: int) -> tuple[Measure, list[str]]:
        """Returns BLEU for auto, or exact match where no decoded target has the four words that BLEU compares."""
        chosen = selected(self, kind, split[TARGET], decoded, self.bleu_tokenizer)
        return super().selects(chosen, split, decoded) if isinstance(chosen, str) else chosen

    def validation(self, options: GenerateConfig) -> GenerateConfig:
        return replace(options, beam_size=1, nbest=1)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig, *, fit: bool = False
    ) -> list[list[Answer]]:
        """Returns the n best answers to each text, the best first; a text of blanks has no answer.

        Of several answers with the same text in other tokens the best is kept, so there may be fewer than n; answers
        that are sampled, not searched for, may repeat.

        fit: a text longer than the model's positions loses its end, and an answer has as many tokens as there are
            positions for; else both raise UserError.
        """
        tokenizer, full = readers.text, [text for text in inputs if text.strip()]
        given = sources(tokenizer, full, options.forced_bos is not None)
        limits = None
        if fit:
            longest = None if model.limit is None else model.limit - 1  # room for </s>
            given = given[0], [row[:longest] for row in given[1]]
            limits = room(model, options, [1] * len(full))
        rows = iter(decode(model, tokenizer, options, source=given[1], prompt=given[0], limits=limits) if full else [])
        answers = [[answer(tokenizer, h, options) for h in next(rows)] if text.strip() else [] for text in inputs]
        return answers if options.temperature > 0 else [distinct(row) for row in answers]

    def reads_as(self, readers: Readers, text: str, options: GenerateConfig) -> tuple[list[int] | None, list[int]]:
        begins, (source,) = sources(readers.text, [text], options.forced_bos is not None)
        return source, begins[0]

    def looks_at(self, readers: Readers, text: str, answer: str | None) -> tuple[list[int] | None, list[int]]:
        (begins,), (source,) = sources(readers.text, [text])
        (ids,) = readers.text.encode_batch([answer or ""], answers=True)
        return source, [*(begins or [readers.text.bos]), *ids]

    def scores_as(self, readers: Readers, row: Any) -> tuple[list[int] | None, list[int], int]:
        if isinstance(row, str) or len(row) != 2:
            raise UserError("this model scores a target given its source; give (source, target) pairs")
        (begins,), (source,) = sources(readers.text, [row[0]])
        (ids,), opens = readers.text.encode_batch([row[1]], answers=True), begins or [readers.text.bos]
        return source, [*opens, *ids, readers.text.eos], len(opens)

    def line(self, prediction: list[Answer]) -> str:
        return prediction[0].text if prediction else ""

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        given, wanted = split.columns[SOURCE], split.columns[TARGET]
        rows = spread(len(given), limit)
        answers = self.predict(model, readers, [given[i] for i in rows], options, fit=True)
        best = [row[0].text if row else "" for row in answers]
        return [Sample(given[i], wanted[i], text, row) for i, text, row in zip(rows, best, answers, strict=True)]

    def score(self, model: Model, readers: Readers, rows: Iterable[Any]) -> list[Scores]:
        """Returns log p of each target given its source. rows: pairs of texts. Raises UserError."""
        rows = list(rows)
        if any(isinstance(row, str) or len(row) != 2 for row in rows):
            raise UserError("this model scores a target given its source; give (source, target) pairs")
        given, wanted = ([str(row[side]) for row in rows] for side in (0, 1))
        prompts, source = sources(readers.text, given)
        targets = readers.text.encode_batch(wanted, answers=True)
        return score(model, readers.text, sources=source, prompts=prompts, targets=targets)


def selected(
    task: TaskConfig, kind: str, targets: Sequence[str], decoded: int, tokenizer: BleuTokenizer
) -> tuple[Measure, list[str]] | str:
    """Returns BLEU for auto, or exact match where no decoded target has the four words that BLEU compares.

    A kind: that measure, which is for the contract of tasks to find. Raises UserError.
    """
    own = {measure.kind: measure for measure in task.measures()}
    if decoded == 0:
        if kind in own:
            raise UserError(f"train.metric={kind} needs decoded examples, but train.samples=0; use 200, or loss")
        return "loss"
    chosen = [targets[i] for i in spread(len(targets), decoded)]
    meant = words(chosen, tokenizer_for(tokenizer, targets)) >= ORDER
    if kind == "auto":
        return own["bleu" if meant else "exact"], []
    if kind == "bleu" and not meant:
        why = "no target that is decoded has four words, so exact match chooses the best model, not BLEU"
        return own["exact"], [why]
    return kind


def sources(
    tokenizer: Tokenizer, texts: Sequence[str], forced: bool = False
) -> tuple[list[list[int]], list[list[int]]]:  # fmt: skip
    """Returns the ids that each answer begins with, and the ids of each source with the special tokens around it.

    forced: an answer begins with one token, since the config of decoding forces the second.
    """
    marks = tokenizer.marks
    rows = [[*marks.before, *row, *marks.after] for row in tokenizer.encode_batch(texts)]
    return [list(marks.opens[: 1 if forced else None])] * len(rows), rows
