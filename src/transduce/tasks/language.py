"""Language modelling: continuing a text, or filling in its masked tokens.

Tested in tests/tasks/test_laws.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from transduce.config import to_data
from transduce.data import pieces
from transduce.data.columns import STREAM, TEXT, Columns
from transduce.data.examples import Encoded, Ragged, ids
from transduce.data.lanes import Lanes
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.pieces import Specials
from transduce.data.readers.reader import Readers
from transduce.data.rows import Packed, Padded, Rows, Windows
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.score import Scores, score
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.models import Model
from transduce.tasks.answer import Answer, answer, room
from transduce.tasks.measures.loss import BitsPerByte, Perplexity
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.text.tokenizer import Tokenizer

SAMPLES, PROMPT, LENGTH = 3, 32, 200  # how many samples, tokens of their prompts, tokens that are written at most


@dataclass(frozen=True)
class Documents:
    """Texts as ids, without special tokens; each is a sequence with a start and an end."""

    texts: Ragged
    specials: Specials

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.texts}

    def cuts(self, config: BatchConfig) -> bool:
        return not config.packing

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            parts = pieces.split(self.texts, self.specials, config.max_length)
            return Packed(parts, config.batch_tokens, config.max_length)
        return Padded(pieces.whole(self.texts, self.specials, config.max_length, drop), config.batch_tokens)


@dataclass(frozen=True)
class Stream:
    """A stream of text, which may be cut anywhere. name: of its column."""

    texts: Ragged
    name: str = STREAM

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {self.name: self.texts}

    def cuts(self, config: BatchConfig) -> bool:
        return False

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        return (Lanes if config.carry else Windows)(self.texts.flat, config.batch_tokens, config.max_length)


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(TaskConfig):
    """A text, to go on with or to fill in.

    stream: a text has no beginning and no end; None: as the data are.
    """

    kind: ClassVar[str] = "language"
    reads: ClassVar[tuple[str, ...]] = (TEXT,)
    verb: ClassVar[str] = "generate"
    refusal: ClassVar[str] = "this model has no encoder, so it cannot translate; use generate with a prompt"
    shape: ClassVar[str] = "decoder"
    tabular: ClassVar[bool] = False
    stream: bool | None = None

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "masked-lm" if model_kind == "encoder" else "next-token"

    def suited(self, data: DataConfig) -> Self:
        if data.gives in (None, (TEXT,), (STREAM,)):
            return replace(self, stream=data.gives == (STREAM,)) if self.stream is None else self
        return super().suited(data)

    def way(self, data: DataConfig) -> str:
        return f"use data.kind=text, or task={data.task_of(to_data(data))}"

    def check(self, model: Model, readers: Readers) -> None:
        if model.takes_source:
            raise UserError(
                "the data gives texts without a source, which this model does not learn from; choose model.kind=decoder"
            )
        if readers.text.eos < 0 and not self.stream:
            raise UserError(
                "the tokeniser has no token that ends a text, so texts cannot be parted; use data.unit=file"
            )

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the ids before and after a text: <s> before it, if the tokeniser was trained here.

        A stream has no beginning, so it has no <s>.
        """
        return (() if self.stream else tokenizer.marks.opens, ()) if tokenizer.made_here else super().around(tokenizer)

    def texts(self, columns: Columns) -> Iterable[str]:
        return columns.given

    def examples(self, columns: Columns, readers: Readers) -> Documents | Stream:
        encoded = ids(columns.given, readers.text)
        return Stream(encoded, columns.names[0]) if self.stream else Documents(encoded, readers.text)

    def measures(self) -> tuple[Measure, ...]:
        return ()

    def reported(self) -> tuple[Measure, ...]:
        return Perplexity(), BitsPerByte()

    def bytes(self, columns: Columns) -> int:
        texts = columns.given
        return texts.utf8 if isinstance(texts, Encoded) else sum(len(text.encode()) for text in texts)

    def split(self, name: str, columns: Columns, readers: Readers, batch: BatchConfig, seed: int) -> Split:
        split = super().split(name, columns, readers, batch, seed)
        if self.stream and (tokens := len(split.examples.ids[columns.names[0]].flat)) < 2:
            way = "give a longer text for it, leave it out, or set data.valid_fraction higher where it is held out"
            raise UserError(f"{name} has {tokens} token{'' if tokens == 1 else 's'}, but predicting takes two; {way}")
        return split

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[Answer]:  # fmt: skip
        """Returns the text with which the model continues each prompt."""
        prompts = [self.prompt(readers, text) for text in inputs]
        rows = decode(model, readers.text, options, prompt=prompts)
        return [answer(readers.text, row[0], options) for row in rows]

    def reads_as(self, readers: Readers, text: str, options: GenerateConfig) -> tuple[list[int] | None, list[int]]:
        return None, self.prompt(readers, text)

    def scores_as(self, readers: Readers, row: Any) -> tuple[list[int] | None, list[int], int]:
        if not isinstance(row, str):
            raise UserError("this model has no encoder, so it scores texts, not pairs; give strings")
        ids, tokenizer = readers.text.encode(row), readers.text
        return (None, ids, 0) if self.stream else (None, [tokenizer.bos, *ids, tokenizer.eos], 1)

    def prompt(self, readers: Readers, text: str) -> list[int]:
        """Returns the ids of a prompt, after the tokens that every text begins with. Raises UserError."""
        row = readers.text.encode(text)
        if not self.stream:
            return [*readers.text.marks.opens, *row]
        if not row:
            raise UserError("this model was trained on a stream, which has no beginning; give a prompt to go on from")
        return row

    def command(self, model: ModelConfig) -> str | None:
        return None if isinstance(model, EncoderConfig) else self.verb

    def line(self, prediction: Answer) -> str:
        return prediction.text

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns samples in which the model continues a few openings of the split, evenly spread."""
        if limit == 0 or not model.writes:
            return []
        tokenizer, (texts,) = readers.text, split.examples.ids.values()
        pairs = self.openings(texts, PROMPT if model.limit is None else min(PROMPT, model.limit // 2))
        prompts = [[*([] if self.stream else [tokenizer.bos]), *prompt] for prompt, _ in pairs]
        options = replace(options, max_new_tokens=min(options.max_new_tokens, LENGTH), max_length=None)
        limits = room(model, options, [len(p) for p in prompts])
        rows = decode(model, tokenizer, options, prompt=prompts, limits=limits)
        columns = [[prompt for prompt, _ in pairs], [rest for _, rest in pairs], [best[0].ids for best in rows]]
        return [Sample(*row) for row in zip(*map(tokenizer.decode_batch, columns), strict=True)]

    def openings(self, texts: Ragged, longest: int) -> list[tuple[list[int], list[int]]]:
        """Returns pairs (at most `longest` ids, the ids after them): of beginnings of documents, or of a stream."""
        if self.stream:
            most = longest + LENGTH
            parts = [texts.flat[start : start + most] for start in spread(max(len(texts.flat) - longest, 1), SAMPLES)]
        else:
            parts = [texts[i] for i in spread(len(texts), SAMPLES)]
        given = [min(longest, (len(row) + 1) // 2) for row in parts]
        return [(row[:n].tolist(), row[n : n + LENGTH].tolist()) for row, n in zip(parts, given, strict=True)]

    def score(self, model: Model, readers: Readers, rows: Iterable[Any]) -> list[Scores]:
        """Returns log p of each text. In a stream a text is scored from its second token on."""
        rows = list(rows)
        if not all(isinstance(row, str) for row in rows):
            raise UserError("this model has no encoder, so it scores texts, not pairs; give strings")
        encoded = readers.text.encode_batch(rows)
        if not self.stream:
            return score(model, readers.text, targets=encoded)
        heads, tails = [row[:1] for row in encoded], [row[1:] for row in encoded]
        return score(model, readers.text, prompts=heads, targets=tails, ends=False)
