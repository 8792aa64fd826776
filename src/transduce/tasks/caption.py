"""Captioning: a text that says what a picture shows, written word by word."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np

from transduce.data import looked_at, pieces
from transduce.data.captioned import Described
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import ids
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured
from transduce.data.readers.files import named
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.embed.pictures import PictureEmbedding
from transduce.model.models import Model
from transduce.tasks.answer import Answer
from transduce.tasks.classify import texts_of
from transduce.tasks.measures.bleu import Bleu, BleuTokenizer
from transduce.tasks.measures.errors import CharacterErrorRate
from transduce.tasks.measures.exact import ExactMatch
from transduce.tasks.measures.loss import Perplexity
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.seeing import SeeingConfig
from transduce.tasks.task import Split, spread
from transduce.tasks.translate import selected
from transduce.tasks.writing import apart, written

NO_DECODER = "task=caption reads a picture with one stack and writes with another; use model.kind=encoder-decoder"


@dataclass(frozen=True, kw_only=True)
class CaptionConfig(SeeingConfig):
    """A picture in, a text out.   Vinyals et al. 2014, arXiv:1411.4555; Xu et al. 2015, arXiv:1502.03044.

    bleu_tokenizer: the rules by which BLEU cuts a text into words; auto: those that suit the script of the captions.
    """

    kind: ClassVar[str] = "caption"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, TEXT)
    verb: ClassVar[str] = "caption"
    gives: ClassVar[str] = "text"
    refusal: ClassVar[str] = "this model writes what a picture shows; use caption"
    shape: ClassVar[str] = "encoder-decoder"
    replies: ClassVar[bool] = True
    bleu_tokenizer: BleuTokenizer = "auto"

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "translation"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: self.unfitted().fit(train[IMAGE], IMAGE)}

    def texts(self, columns: Columns) -> Iterable[str]:
        return texts_of(columns[TEXT])

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return looked_at.examined(splits, IMAGE, None)

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with an encoder for pictures of this size, and a table of its own for the decoder."""
        if not isinstance(model, EncoderDecoderConfig):
            raise UserError(NO_DECODER)
        model = apart(model, self.embedded(model.embedding, readers))
        return replace(model, source_vocab=self.reader(readers).channels)

    def check(self, model: Model, readers: Readers) -> None:
        if not model.takes_source or not isinstance(model.towers()[0].embed, PictureEmbedding):
            raise UserError(NO_DECODER)

    def examples(self, columns: Columns, readers: Readers) -> Described:
        tokenizer, numbers = readers.text, np.arange(len(columns), dtype=np.int64)
        pictures = Pictured.of(named(columns[IMAGE], IMAGE), numbers, self.reader(readers), IMAGE, self.augment)
        return Described(pictures, ids(texts_of(columns[TEXT]), tokenizer, answers=True), tokenizer)

    def measures(self) -> tuple[Measure, ...]:
        return Bleu(tokenizer=self.bleu_tokenizer), ExactMatch(), CharacterErrorRate()

    def reported(self) -> tuple[Measure, ...]:
        return (Perplexity(),)

    def selects(self, kind: str, split: Columns, decoded: int) -> tuple[Measure, list[str]]:
        chosen = selected(self, kind, texts_of(split[TEXT]), decoded, self.bleu_tokenizer)
        return super().selects(chosen, split, decoded) if isinstance(chosen, str) else chosen

    def validation(self, options: GenerateConfig) -> GenerateConfig:
        return replace(options, beam_size=1, nbest=1)

    def looks_at(self, readers: Readers, text: str, answer: str | None) -> tuple[list[int] | None, list[int]]:
        raise UserError("this model reads pictures, of which no map of tokens is drawn; use caption")

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[Answer]]:
        """Returns the n best captions of each picture, the path of a file, the best first."""
        values = named(inputs, IMAGE)
        unknown = np.full(len(values), -1, dtype=np.int64)
        return self.written_of(model, readers, Pictured(values, unknown, self.reader(readers), IMAGE, None), options)

    def written_of(
        self,
        model: Model,
        readers: Readers,
        pictures: Pictured,
        options: GenerateConfig,
        rows: Sequence[int] | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        """Returns those of some rows of pictures (None: of all)."""
        chosen = list(range(len(pictures))) if rows is None else list(rows)
        out = list[list[Answer]]()
        for start in range(0, len(chosen), 256):  # pictures are in memory for as long
            some = np.array(chosen[start : start + 256], dtype=np.int64)
            numbers = pieces.tensor(pictures.reader.numbers(pictures.bytes(some)))
            out += written(model, readers.text, options, list(numbers))
        return out

    def line(self, prediction: list[Answer]) -> str:
        return prediction[0].text if prediction else ""

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        described, wanted = cast(Described, split.examples), texts_of(split.columns[TEXT])
        rows = spread(len(wanted), limit)
        answers = self.written_of(model, readers, described.pictures, options, rows)
        values = described.pictures.values
        return [
            Sample(str(values[i]), wanted[i], row[0].text if row else "", row)
            for i, row in zip(rows, answers, strict=True)
        ]
