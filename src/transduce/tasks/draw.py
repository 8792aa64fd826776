"""Drawing: pictures like those of the data, of a label that is asked for.

Tested in tests/tasks/test_draw.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from transduce.data.columns import TEXT, Columns
from transduce.data.examples import Examples
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured
from transduce.data.readers.labels import SHOWN, Labels
from transduce.data.readers.reader import Reader, Readers
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.tasks.classifying import LABEL
from transduce.tasks.picturing import PicturingConfig

FEW = 2  # pictures of a label on the average, below which labels are rather captions


@dataclass(frozen=True, kw_only=True)
class DrawConfig(PicturingConfig):
    """A label, and a picture that is drawn of it. Pixels are numbers from -1, black, to 1, white."""

    kind: ClassVar[str] = "draw"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, LABEL)

    def way(self, data: DataConfig) -> str:
        if TEXT in (data.gives or ()):
            return "the recipe `illustrate` draws by captions"
        return super().way(data)

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: self.fitted(train[IMAGE]), LABEL: self.seeing().labels(train)}

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return self.seeing().examined(splits)

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return [f"{label}#{number}" for number, label in enumerate(columns[LABEL])]

    def size(self, readers: Readers) -> int:
        return readers[IMAGE].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches, with these labels. Raises UserError."""
        model, count = self.patched(model, readers), readers[LABEL].size
        if not isinstance(model, DenoiserConfig):
            return model
        if model.classes not in (None, count):
            raise UserError(f"model.classes={model.classes}, but the data have {count} labels; leave it out")
        return replace(model, classes=count)

    def class_of(self, readers: Readers, label: Any) -> int:
        own = cast(Labels, readers[LABEL])
        name = own.name_of(label)
        if name not in own.names:
            known = ", ".join(own.names[:SHOWN]) + (", ..." if own.size > SHOWN else "")
            raise UserError(f"this model was never trained on the label {name!r}; it draws {known}")
        return own.names.index(name)

    def unlearnable(self, model: ModelConfig, readers: Readers, name: str, examples: Examples) -> list[str]:
        """Returns a sentence about labels that hardly a picture shares, which are rather captions."""
        count = readers[LABEL].size
        if name != "train" or count * FEW <= len(examples):
            return []
        what = f"train has {count:,} labels for {len(examples):,} pictures"
        return [f"{what}, so that most are seen once; where they are captions, the recipe `illustrate` draws by words"]

    def examples(self, columns: Columns, readers: Readers) -> Pictured:
        own, seeing = cast(Labels, readers[LABEL]), self.seeing()
        try:
            return seeing.examples(columns, readers)
        except UserError as error:
            if {own.name_of(label) for label in columns[LABEL]} <= set(own.names):
                raise
            raise UserError(
                f"{error}; where labels are captions, the recipe `illustrate` draws by their words"
            ) from None
