"""Points: rows of numbers, and a model that draws others like them.

Tested in tests/tasks/test_points.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from transduce.data import pieces
from transduce.data.columns import Columns
from transduce.data.examples import Index, Ragged
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.points import Points
from transduce.data.readers.reader import Reader, Readers
from transduce.data.ring import LABEL, POINT
from transduce.data.rows import Padded, Rows
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.embed.vectors import VectorsConfig
from transduce.model.heads.numbers import NumbersHeadConfig
from transduce.model.models import Model
from transduce.tasks.drawing import DrawingConfig, numbered
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.modes import NearModes, RarestMode
from transduce.tasks.task import Split, spread


@dataclass(frozen=True)
class Pointed:
    """Points, one step each. classes: (rows,), -1: none."""

    points: Ragged
    classes: Index

    def __len__(self) -> int:
        return len(self.points)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {POINT: self.points}

    def cuts(self, config: BatchConfig) -> bool:
        return False

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but a point has its own; leave it out")
        return Padded(pieces.with_values(self.points, self.classes, 0, 1, 1, drop=False), config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class PointsConfig(DrawingConfig):
    """Points, and others that are drawn like them. The label of a point is not told, but tells what is measured."""

    kind: ClassVar[str] = "points"
    reads: ClassVar[tuple[str, ...]] = (POINT, LABEL)
    unit: ClassVar[str] = "point"
    gives: ClassVar[str] = "point"
    together: ClassVar[int] = 512

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {POINT: Points().fit(train[POINT], POINT)}

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return range(len(columns))

    def size(self, readers: Readers) -> int:
        return readers[POINT].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with numbers where tokens come in and go out."""
        if isinstance(model, EncoderDecoderConfig):
            raise UserError(f"task={self.kind} reads a point with one stack; choose model.kind=denoiser")
        if isinstance(model.embedding, TableConfig):
            model = replace(model, embedding=VectorsConfig())
        head = model.head if isinstance(model.head, NumbersHeadConfig) else NumbersHeadConfig()
        return replace(model, head=replace(head, size=readers[POINT].size))

    def form(self, readers: Readers) -> tuple[int, ...]:
        return 1, readers[POINT].size

    def shown(self, readers: Readers, numbers: Tensor) -> list[tuple[float, ...]]:
        return cast(Points, readers[POINT]).decode(numbers[:, 0].numpy())

    def examples(self, columns: Columns, readers: Readers) -> Pointed:
        rows = cast(Points, readers[POINT]).encode(columns[POINT], POINT)
        return Pointed(Ragged.of(list(rows[:, None]), np.float32), np.full(len(rows), -1, dtype=np.int64))

    def measures(self) -> tuple[Measure, ...]:
        return NearModes(), RarestMode()

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[tuple[float, ...]]:  # fmt: skip
        """Returns the point of each number, counted from 0, of the seed of the options."""
        return self.draw(model, readers, None, [numbered(one) for one in inputs], self.manner(), options.seed)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns points that are drawn, each beside one of the data."""
        rows = spread(len(split.columns), limit)
        points = cast(Points, readers[POINT]).plain(split.columns[POINT], POINT).tolist()
        drawn, labels = self.predict(model, readers, rows, options), split.columns[LABEL]
        each = zip(rows, drawn, strict=True)
        return [Sample(str(i), "", self.line(x), x, (tuple(points[i]), labels[i])) for i, x in each]

    def line(self, prediction: tuple[float, ...]) -> str:
        return "\t".join(f"{x:.6g}" for x in prediction)

    def require_place(self, path: Path | None) -> None:
        if path is not None:
            raise UserError(f"{path} is not written, since points are printed, a line each; leave out --out")
