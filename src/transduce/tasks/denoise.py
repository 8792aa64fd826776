"""A text with blanks, which a model fills in: what an encoder-decoder gives that was trained on text alone.

Tested in tests/tasks/test_laws.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar

from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.score import Scores
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.objectives.spans import filled
from transduce.tasks.answer import Answer, answer, room
from transduce.tasks.language import PROMPT, SAMPLES, LanguageConfig
from transduce.tasks.measures.loss import Perplexity
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, TaskConfig
from transduce.text.tokenizer import Tokenizer

BLANK = "<mask>"  # as users write it
WORDS = 2  # of a blank in a sample


@dataclass(frozen=True, kw_only=True)
class DenoiseConfig(LanguageConfig):
    """A text with blanks, to be filled in: learnt from text alone by an encoder-decoder.

    Where the tokeniser has sentinels, a blank is one of them, and what the model writes is put in its place; else it is
    the mask, and the answer is what the model writes.
    """

    kind: ClassVar[str] = "denoise"
    verb: ClassVar[str] = "predict"
    refusal: ClassVar[str] = f"this model fills in blanks; use predict, with {BLANK} where something is missing"
    shape: ClassVar[str] = "encoder-decoder"
    replies: ClassVar[bool] = True
    tabular: ClassVar[bool] = True

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "span-corruption"

    def check(self, model: Model, readers: Readers) -> None:
        if not model.takes_source:
            raise UserError("task=denoise reads one text and writes another; choose model.kind=encoder-decoder")
        if readers.text.eos < 0:
            raise UserError("task=denoise needs a token that ends what is written, and the tokeniser has none")

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return TaskConfig.around(self, tokenizer)

    def reported(self) -> tuple[Measure, ...]:
        return (Perplexity(),)

    def command(self, model: ModelConfig) -> str | None:
        return self.verb

    def prompt(self, readers: Readers, text: str) -> list[int]:
        raise UserError(self.refusal)

    def source(self, readers: Readers, text: str) -> list[int]:
        """The ids of a text with blanks, without those around it. Raises UserError for more blanks than sentinels."""
        tokenizer, given = readers.text, text.split(BLANK)
        rows = tokenizer.encode_batch([*(part.rstrip(" ") for part in given[:-1]), given[-1]])
        names = tokenizer.sentinels or (tokenizer.mask,) * len(given)
        if len(given) - 1 > len(names):
            raise UserError(f"a text has {len(given) - 1} blanks, but the tokeniser has tokens for {len(names)}")
        return [*rows[0], *chain.from_iterable([name, *row] for name, row in zip(names, rows[1:], strict=False))]

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[Answer]:  # fmt: skip
        """Each text with its blanks filled in, or what the model writes to it; of a text of blanks "" with no log p."""
        tokenizer = readers.text
        marks, texts = tokenizer.marks, [text for text in inputs if text.strip()]
        sources = [self.source(readers, text) for text in texts]
        rows = [[*marks.before, *source, *marks.after] for source in sources]
        limits, prompts = room(model, options, [len(marks.opens)] * len(rows)), [list(marks.opens)] * len(rows)
        written = decode(model, tokenizer, options, source=rows, prompt=prompts, limits=limits) if rows else []
        best = [row[0] for row in written]
        answers = [answer(tokenizer, row, options) for row in best]
        if tokenizer.sentinels:
            full = [filled(source, row.ids, tokenizer.sentinels) for source, row in zip(sources, best, strict=True)]
            answers = [one._replace(text=text) for one, text in zip(answers, tokenizer.decode_batch(full), strict=True)]
        given = iter(answers)
        return [next(given) if text.strip() else Answer("", 0.0, 0) for text in inputs]

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """How the model fills a blank in a few places of the split, evenly spread."""
        if limit == 0:
            return []
        (texts,) = split.examples.ids.values()
        longest = PROMPT // 2 if model.limit is None else min(PROMPT, model.limit) // 2
        openings = readers.text.decode_batch([row for row, _ in self.openings(texts, longest)])
        given, wanted = zip(*(with_blank(text) for text in openings[:SAMPLES]), strict=True)
        answers = self.predict(model, readers, given, replace(options, beam_size=1, nbest=1))
        return [Sample(*row) for row in zip(given, wanted, [a.text for a in answers], strict=True)]

    def score(self, model: Model, readers: Readers, rows: Iterable[Any]) -> list[Scores]:
        return TaskConfig.score(self, model, readers, rows)


def with_blank(text: str) -> tuple[str, str]:
    """Returns a text with a blank in the place of a few words in its middle, and the text."""
    words = text.split(" ")
    start = max(len(words) // 2 - WORDS // 2, 0)
    return " ".join([*words[:start], BLANK, *words[start + WORDS :]]), text
