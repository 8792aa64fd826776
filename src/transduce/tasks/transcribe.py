"""Transcribing: what is said in a sound."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch

from transduce.data import listened
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import Examples, ids
from transduce.data.heard import Heard
from transduce.data.readers.reader import Reader, Readers
from transduce.data.sounds import SOUND
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.ctc import greedy, prefix_beam
from transduce.model.architecture import ModelConfig
from transduce.model.heads.ctc import CtcHead, CtcHeadConfig
from transduce.model.layout import dense
from transduce.model.models import Model, without
from transduce.tasks.listening import Frames, ListeningConfig
from transduce.tasks.measures.errors import CharacterErrorRate, WordErrorRate
from transduce.tasks.measures.exact import ExactMatch
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, spread


class Transcribed(NamedTuple):
    """The text of a sound. log_p: in nats, of the ways of spelling it that were looked at: with beam_size=1 one."""

    text: str
    log_p: float


@dataclass(frozen=True, kw_only=True)
class TranscribeConfig(ListeningConfig):
    """A sound, and what is said in it."""

    kind: ClassVar[str] = "transcribe"
    reads: ClassVar[tuple[str, ...]] = (SOUND, TEXT)
    verb: ClassVar[str] = "transcribe"
    unit: ClassVar[str] = "label"
    gives: ClassVar[str] = "text"

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "ctc"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {SOUND: self.features.fit(train[SOUND], SOUND)}

    def texts(self, columns: Columns) -> Iterable[str]:
        return columns[TEXT]

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return listened.examined(splits, SOUND, None)

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a stem for frames and a head of labels and blank."""
        model, labels = self.stemmed(model), readers.text.vocab_size
        if not isinstance(model.head, CtcHeadConfig):
            return replace(model, head=CtcHeadConfig(labels=labels))
        if model.head.labels not in (None, labels):
            what = f"model.head.labels={model.head.labels}, but the tokeniser has {labels} tokens"
            raise UserError(f"{what}; leave it out")
        return replace(model, head=replace(model.head, labels=labels))

    def check(self, model: Model, readers: Readers) -> None:
        if not isinstance(model.head, CtcHead) or model.head.blank != readers.text.vocab_size:
            what = f"there are {readers.text.vocab_size} tokens and a blank, but {without(model.head)}"
            raise UserError(f"{what}; leave model.head out")

    def examples(self, columns: Columns, readers: Readers) -> Heard:
        targets = ids(cast(Sequence[str], columns[TEXT]), readers.text)
        return Heard.of(columns[SOUND], targets, self.reader(readers), SOUND, self.augment)

    def unlearnable(self, model: ModelConfig, readers: Readers, name: str, examples: Examples) -> list[str]:
        heard = cast(Heard, examples)
        with torch.device("meta"):
            built = self.shaped(model, readers).assemble(self.size(readers))
        steps = {frames: built.arranged(dense(1, frames)).positions.shape[1] for frames in set(heard.slots.tolist())}
        short = [
            (row, steps[frames], need)
            for row, frames in enumerate(heard.slots.tolist())
            if (need := needed(cast(Any, heard.targets)[row])) > steps[frames]
        ]
        if not short:
            return []
        row, have, need = short[0]
        what = f"{name}: {len(short):,} of {len(heard):,} sounds are shorter than their texts and are skipped"
        first = f"{heard.values[row]} has {have} steps, its text needs {need}"
        return [f"{what} ({first}); correct them, or lower model.embedding.strides"]

    def measures(self) -> tuple[Measure, ...]:
        return WordErrorRate(), CharacterErrorRate(), ExactMatch()

    @torch.inference_mode()
    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Transcribed]:  # fmt: skip
        """Returns the text of each sound, the path of a file: of the likeliest way, or by a beam of beginnings."""
        return self.spelt(model, readers, self.frames(readers, inputs), options)

    def spelt(
        self, model: Model, readers: Readers, sounds: Iterable[Frames], options: GenerateConfig
    ) -> list[Transcribed]:  # fmt: skip
        if options.temperature > 0:
            raise UserError("a transcript is not drawn at random; leave temperature out, or use beam_size")
        head, out = model.head, list[Transcribed]()
        assert isinstance(head, CtcHead)
        for hidden, layout in self.heard(model, sounds):
            logits = head(hidden[layout.valid]).double().log_softmax(-1)
            log_p = cast("np.ndarray[Any, np.dtype[np.float64]]", logits.cpu().numpy())
            size = options.beam_size
            best = greedy(log_p, head.blank) if size == 1 else prefix_beam(log_p, head.blank, size)[0]
            out.append(Transcribed(readers.text.decode(list(best.labels)), best.log_p))
        return out

    def line(self, prediction: Transcribed) -> str:
        return prediction.text

    @torch.inference_mode()
    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        heard = cast(Heard, split.examples)
        chosen = spread(len(heard), limit)
        answers = self.spelt(model, readers, map(heard.of_row, chosen), options)
        rows = zip(chosen, answers, strict=True)
        return [Sample(str(heard.values[i]), split.columns[TEXT][i], one.text, one) for i, one in rows]


def needed(labels: Sequence[int]) -> int:
    """Returns the fewest steps that spell labels: a blank stands between two equal ones."""
    row = list(labels)
    return max(1, len(row) + sum(a == b for a, b in pairwise(row)))
