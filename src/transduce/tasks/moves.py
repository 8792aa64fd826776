"""Moves: a history of words, such as a game of chess, to go on with; a referee says which words are legal."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from transduce.data.columns import TEXT
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import pad
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.tasks.language import LanguageConfig
from transduce.tasks.measures.legal import Judged, Legal, LegalAtFirst, LegalMass
from transduce.tasks.measures.loss import Perplexity
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.worlds.referees.chess import Chess
from transduce.worlds.referees.referee import RefereeConfig

AT_ONCE = 16  # histories whose probabilities are held together


@dataclass(frozen=True, kw_only=True)
class MovesConfig(LanguageConfig):
    """The moves of a game, a word each, to go on with.

    referee: who says which are legal, for measures and where `--only-legal` is asked for.
    """

    kind: ClassVar[str] = "moves"
    gives: ClassVar[str] = "moves"
    refusal: ClassVar[str] = "this model goes on with moves; use generate with the moves of a beginning"
    referee: RefereeConfig = field(default_factory=Chess)

    def check(self, model: Model, readers: Readers) -> None:
        super().check(model, readers)
        if self.stream or not readers.text.of_words:
            raise UserError("task=moves reads a move as a word; use tokenizer={kind: word, split: whitespace}")

    def measures(self) -> tuple[Measure, ...]:
        """Returns none where the referee cannot judge, so that the loss selects the best model."""
        return () if self.referee.missing() else (Legal(), LegalAtFirst(), LegalMass())

    def reported(self) -> tuple[Measure, ...]:
        return (Perplexity(),)

    @torch.inference_mode()
    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns histories of the split beside the likeliest word after each of their beginnings, with what the
        referee says of it. What ends a history is no word, and has no share of the probability."""
        if limit == 0 or not model.writes or self.referee.missing():
            return []
        tokenizer, texts, out = readers.text, split.columns[TEXT], list[Sample]()
        chosen = [texts[i] for i in spread(len(texts), limit)]
        ids = {word: i for word, i in tokenizer.tokenizer.get_vocab().items() if i not in tokenizer.silent}
        silent = sorted(tokenizer.silent)
        for start in range(0, len(chosen), AT_ONCE):
            rows = [[tokenizer.bos, *tokenizer.encode(text)][: model.limit] for text in chosen[start : start + AT_ONCE]]
            inputs, layout = pad([row[:-1] or row for row in rows], model.device)
            logits = model.token_head(model.features(Batch(inputs, layout, inputs))).float()
            logits[..., silent] = -torch.inf
            shares, best = logits.softmax(-1).cpu().numpy(), logits.argmax(-1).tolist()
            for number, row in enumerate(rows):
                text, length = chosen[start + number], len(row) - 1
                allowed = [[ids[w] for w in words if w in ids] for words in judged(self.referee, text)[:length]]
                mass = [float(shares[number, place, some].sum()) for place, some in enumerate(allowed)]
                legal = [best[number][place] in some for place, some in enumerate(allowed)]
                beside = Judged(np.array(legal, dtype=np.bool_), np.array(mass), self.referee.phases, self.referee.unit)
                out.append(Sample("", text, tokenizer.decode(best[number][:length]), beside=beside))
        return out


@lru_cache(maxsize=1024)
def judged(referee: RefereeConfig, text: str) -> list[frozenset[str]]:
    """Returns the words that may follow each beginning of a history, from the empty one to all of it but its end."""
    words = text.split()
    return [referee.follows(words[:n]) for n in range(len(words))]


def referee_of(task: TaskConfig) -> RefereeConfig:
    """Returns the referee of a task. Raises UserError for a task that has none."""
    if isinstance(task, MovesConfig):
        return task.referee
    raise UserError(f"a referee says what is legal in task=moves, and this model was trained for task={task.kind}")
