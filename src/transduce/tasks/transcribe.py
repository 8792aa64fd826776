"""Transcribing: what is said in a sound."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch

from transduce.data import listened, pieces
from transduce.data.columns import TEXT, Columns
from transduce.data.dictated import Dictated
from transduce.data.examples import Examples, ids
from transduce.data.heard import Heard
from transduce.data.readers.files import named
from transduce.data.readers.reader import Reader, Readers
from transduce.data.sounds import SOUND
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.ctc import greedy, prefix_beam
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.architecture.listener import ListenerConfig
from transduce.model.embed.frames import Frames as Stem
from transduce.model.heads.ctc import CtcHead, CtcHeadConfig
from transduce.model.layout import dense
from transduce.model.listener import marked
from transduce.model.models import Model, without
from transduce.tasks.listening import Frames, ListeningConfig, groups, stem
from transduce.tasks.measures.errors import CharacterErrorRate, WordErrorRate
from transduce.tasks.measures.exact import ExactMatch
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.task import Split, spread
from transduce.tasks.writing import apart, written
from transduce.text.tokenizer import Tokenizer

LANGUAGE = re.compile("[a-z]{2,3}")
CODE = re.compile(r"<\|[a-z]{2,3}\|>")  # the token of a language
TWO_STACKS = (EncoderDecoderConfig.kind, ListenerConfig.kind)  # kinds of models


class Transcribed(NamedTuple):
    """The text of a sound.

    log_p: in nats, of the tokens that were written; of a head of labels, of the ways of spelling the text that were
        looked at: with beam_size=1 one.
    """

    text: str
    log_p: float


@dataclass(frozen=True, kw_only=True)
class TranscribeConfig(ListeningConfig):
    """A sound, and what is said in it: by labels of its steps (Graves et al. 2006), or written by a decoder.

    A model with two stacks writes token by token (Radford et al. 2022, arXiv:2212.04356); any other one says a label,
    or nothing, at every step.

    decoder: the text is written by a decoder; where it is left out, that follows from model.kind.
    language: the code of what is said, such as de, for a tokeniser that has a token for each language (None: as the
        folder says that was imported).
    """

    kind: ClassVar[str] = "transcribe"
    reads: ClassVar[tuple[str, ...]] = (SOUND, TEXT)
    verb: ClassVar[str] = "transcribe"
    unit: ClassVar[str] = "label"
    gives: ClassVar[str] = "text"
    decoder: bool = False
    language: str | None = None

    @classmethod
    def completed(cls, section: Mapping[str, Any], model_kind: str) -> dict[str, Any]:
        """Returns plain data of the task, with `decoder` as the kind of the model has it."""
        return {"decoder": True, **section} if model_kind in TWO_STACKS else dict(section)

    @classmethod
    def goes_on(cls, kind: str, there: str) -> bool:
        return (kind in TWO_STACKS) != (there in TWO_STACKS)

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "translation" if model_kind in TWO_STACKS else "ctc"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {SOUND: self.features.fit(train[SOUND], SOUND)}

    def texts(self, columns: Columns) -> Iterable[str]:
        return columns[TEXT]

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return listened.examined(splits, SOUND, None)

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a stem for frames, and with a head of labels and blank, or tokens that are written."""
        if self.decoder:
            return self.listener(model, readers)
        model, labels = self.stemmed(model), readers.text.vocab_size
        if not isinstance(model.head, CtcHeadConfig):
            return replace(model, head=CtcHeadConfig(labels=labels))
        if model.head.labels not in (None, labels):
            what = f"model.head.labels={model.head.labels}, but the tokeniser has {labels} tokens"
            raise UserError(f"{what}; leave it out")
        return replace(model, head=replace(model.head, labels=labels))

    def listener(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns a model with two stacks that reads frames and writes tokens. Raises UserError for another one."""
        if not isinstance(model, EncoderDecoderConfig):
            what = f"task.decoder=true writes with a second stack, but model.kind={model.kind} has one"
            raise UserError(f"{what}; choose model.kind={ListenerConfig.kind}, or leave task.decoder out")
        own = model if isinstance(model, ListenerConfig) else ListenerConfig.of(apart(model, stem(model.embedding)))
        mels = super().size(readers)
        if own.source_vocab not in (None, mels):
            what = f"model.source_vocab={own.source_vocab}, but sounds are read in {mels} mels"
            raise UserError(f"{what}; leave it out")
        return replace(apart(own, stem(own.embedding)), source_vocab=mels)

    def begin(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """Returns the ids that every transcript begins with. Raises UserError for a language without a token."""
        opens, names = tokenizer.marks.opens, tokenizer.tokenizer
        if self.language is None:
            return opens
        own = names.token_to_id(f"<|{self.language}|>") if LANGUAGE.fullmatch(self.language) else None
        at = next((n for n, i in enumerate(opens) if CODE.fullmatch(names.id_to_token(i) or "")), None)
        if own is None or at is None:
            what = f"task.language={self.language} has no token <|{self.language}|> in this tokeniser"
            raise UserError(f"{what if at is not None else 'this tokeniser tells no languages apart'}; leave it out")
        return (*opens[:at], own, *opens[at + 1 :])

    def size(self, readers: Readers) -> int:
        return readers.text.vocab_size if self.decoder else super().size(readers)

    def check(self, model: Model, readers: Readers) -> None:
        if model.takes_source:
            if not isinstance(model.towers()[0].embed, Stem) or model.token_head.size != readers.text.vocab_size:
                what = f"task=transcribe writes {readers.text.vocab_size} tokens of frames, which this model does not"
                raise UserError(f"{what}; leave model.embedding and model.head out")
        elif not isinstance(model.head, CtcHead) or model.head.blank != readers.text.vocab_size:
            what = f"there are {readers.text.vocab_size} tokens and a blank, but {without(model.head)}"
            raise UserError(f"{what}; leave model.head out")

    def examples(self, columns: Columns, readers: Readers) -> Examples:
        texts, tokenizer, reader = cast(Sequence[str], columns[TEXT]), readers.text, self.reader(readers)
        if not self.decoder:
            return Heard.of(columns[SOUND], ids(texts, tokenizer), reader, SOUND, self.augment)
        written_ids = ids(texts, tokenizer, before=self.begin(tokenizer)[1:], answers=True)
        sounds = named(columns[SOUND], SOUND, "sound")
        return Dictated.of(sounds, written_ids, tokenizer, reader, SOUND, self.augment)

    def unlearnable(self, model: ModelConfig, readers: Readers, name: str, examples: Examples) -> list[str]:
        if self.decoder:
            return longer(name, cast(Dictated, examples))
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
        """Returns the text of each sound, the path of a file: of the likeliest way, or by a beam.

        What a decoder writes of a sound that is longer than its reader takes is written window by window.
        """
        if not self.decoder:
            return self.spelt(model, readers, self.frames(readers, inputs), options)
        reader = self.reader(readers)
        windows = [reader.windows(value) for value in named(inputs, SOUND, "sound")]
        return self.dictated(model, readers, windows, options)

    def dictated(
        self, model: Model, readers: Readers, sounds: Sequence[Sequence[Frames]], options: GenerateConfig
    ) -> list[Transcribed]:  # fmt: skip
        """Returns what a decoder writes of sounds, each in one window or several.

        On a CPU each window is read alone, so that what else is asked does not change a bit of it.
        """
        one, out = replace(options, nbest=1), list[Transcribed]()
        for group in groups((window for windows in sounds for window in windows), model.device):
            longest = max(map(len, group))
            numbers = [marked(pieces.tensor(frames), longest) for frames in group]
            best = [row[0] for row in written(model, readers.text, one, numbers, self.begin(readers.text))]
            out += [Transcribed(answer.text.strip(), answer.log_p) for answer in best]
        rest = iter(out)
        return [joined([next(rest) for _ in windows]) for windows in sounds]

    def spelt(
        self, model: Model, readers: Readers, sounds: Iterable[Frames], options: GenerateConfig
    ) -> list[Transcribed]:  # fmt: skip
        """Returns what labels of steps say of sounds."""
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
        examples, texts = split.examples, split.columns[TEXT]
        chosen = spread(len(examples), limit)
        if self.decoder:
            dictated = cast(Dictated, examples)
            values = dictated.sounds.values
            answers = self.dictated(model, readers, [dictated.windows(i) for i in chosen], options)
        else:
            heard = cast(Heard, examples)
            values, answers = heard.values, self.spelt(model, readers, map(heard.of_row, chosen), options)
        rows = zip(chosen, answers, strict=True)
        return [Sample(str(values[i]), texts[i], one.text, one) for i, one in rows]


def joined(windows: Sequence[Transcribed]) -> Transcribed:
    """Returns the text of a sound that was heard in windows."""
    return Transcribed(" ".join(one.text for one in windows if one.text), sum(one.log_p for one in windows))


def longer(name: str, examples: Dictated) -> list[str]:
    """Returns a sentence on sounds that are longer than their reader takes; none, where there are none."""
    if not (count := int(examples.long.sum())):
        return []
    seconds, first = examples.sounds.reader.seconds, examples.sounds.values[int(examples.long.argmax())]
    what = f"{name}: {count:,} of {len(examples):,} sounds are longer than {seconds:g} seconds and are left out"
    return [f"{what} ({first}); cut them into parts with a text each"]


def needed(labels: Sequence[int]) -> int:
    """Returns the fewest steps that spell labels: a blank stands between two equal ones."""
    row = list(labels)
    return max(1, len(row) + sum(a == b for a, b in pairwise(row)))
