"""Illustrating: pictures like those of the data, of a caption that is asked for.

Tested in tests/tasks/test_illustrate.py.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from transduce.data import looked_at
from transduce.data.captioned import Captioned
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import ids
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured
from transduce.data.readers.files import named
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import Notice, UserError
from transduce.generate.diffuse import Given
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.illustrator import IllustratorConfig
from transduce.model.illustrator import Illustrator
from transduce.model.models import Model
from transduce.tasks.classify import texts_of
from transduce.tasks.picturing import PicturingConfig
from transduce.tasks.reading import around_of, frame_of, row_outputs
from transduce.text.tokenizer import Tokenizer

NUMBERED = re.compile(r"(.*)#(\d+)", re.DOTALL)
NO_CAPTIONS = "task=illustrate draws by captions, which an encoder of texts reads; use model.kind=illustrator"


@dataclass(frozen=True, kw_only=True)
class IllustrateConfig(PicturingConfig):
    """A caption, and a picture that is drawn of it. Pixels are numbers from -1, black, to 1, white."""

    kind: ClassVar[str] = "illustrate"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, TEXT)
    shape: ClassVar[str] = "illustrator"
    reads_text: ClassVar[bool] = True

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: self.fitted(train[IMAGE])}

    def texts(self, columns: Columns) -> Iterable[str]:
        return texts_of(columns[TEXT])

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return around_of(tokenizer)

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return looked_at.examined(splits, IMAGE, None)

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return [f"{text}#{number}" for number, text in enumerate(columns[TEXT])]

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches, and their channels. Raises UserError."""
        model, have = self.patched(model, readers), self.reader(readers).channels
        if not isinstance(model, IllustratorConfig):
            raise UserError(NO_CAPTIONS)
        if model.channels not in (None, have):
            raise UserError(f"model.channels={model.channels}, but pictures are read with {have}; leave it out")
        return replace(model, channels=have)

    def check(self, model: Model, readers: Readers) -> None:
        super().check(model, readers)
        if not isinstance(model, Illustrator):
            raise UserError(NO_CAPTIONS)

    def examples(self, columns: Columns, readers: Readers) -> Captioned:
        tokenizer, captions = readers.text, texts_of(columns[TEXT])
        none = np.full(len(columns), -1, dtype=np.int64)
        pictures = Pictured.of(named(columns[IMAGE], IMAGE), none, self.reader(readers), IMAGE, self.augment)
        return Captioned(pictures, ids(captions, tokenizer), frame_of(tokenizer), tokenizer.pad)

    def parted(self, value: str) -> tuple[str, int]:
        match = NUMBERED.fullmatch(value)
        return (match[1], int(match[2])) if match else (value, 0)

    def request(self, model: Model, readers: Readers, label: Any) -> Given:
        """Returns the vector of a caption. Words that were not in the training data are told."""
        text, tokenizer = str(label), readers.text
        if not text.strip():
            raise UserError("the caption is blank, so it says nothing to draw; write some words, or leave it out")
        if strange := [word for word in text.split() if tokenizer.unk in tokenizer.encode(word)]:
            what = f"no caption of the training data has {', '.join(map(repr, dict.fromkeys(strange)))}"
            warnings.warn(f"{what}; all such words are the same to this model", Notice, stacklevel=2)
        assert isinstance(model, Illustrator)
        return torch.from_numpy(row_outputs(model.texts, tokenizer, [text])[0]).to(model.device)
