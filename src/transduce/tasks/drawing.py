"""The part that tasks share which draw: from noise, with a model that removes it.

Tested in tests/tasks/test_points.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.generate.diffuse import DiffuseConfig, Given, Sampler, diffuse
from transduce.model.models import Model
from transduce.tasks.task import TaskConfig

NOTHING = -1  # the class of what is drawn without one


@dataclass(frozen=True, kw_only=True)
class DrawingConfig(TaskConfig, ABC):
    """The keys that tasks share which draw.

    steps: of drawing.
    sampler: the way from noise to data: ddpm, ddim, euler or heun (auto: ddim, or euler of a flow).
    """

    verb: ClassVar[str] = "draw"
    shape: ClassVar[str] = "denoiser"
    reads_text: ClassVar[bool] = False
    takes_inputs: ClassVar[bool] = False
    together: ClassVar[int]  # that are computed at once
    steps: int = 50
    sampler: Sampler = "auto"

    def __post_init__(self) -> None:
        self.manner()

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "denoise"

    def manner(self, **changes: Any) -> DiffuseConfig:
        """Returns the way of drawing, with changes to it. Raises UserError."""
        return replace(DiffuseConfig(steps=self.steps, sampler=self.sampler), **changes)

    def check(self, model: Model, readers: Readers) -> None:
        if model.process is None:
            raise UserError(f"task={self.kind} draws by removing noise; choose model.kind=denoiser")

    @abstractmethod
    def form(self, readers: Readers) -> tuple[int, ...]:
        """Returns the shape of what is drawn, as the model has it."""

    def class_of(self, readers: Readers, label: Any) -> int:
        """Returns the class of a label. Raises UserError where it was never trained."""
        raise UserError(f"this model was trained without labels, so it cannot be asked for {label!r}; leave it out")

    def request(self, model: Model, readers: Readers, label: Any) -> Given:
        """Returns what a label asks of a model, as it takes it. Raises UserError where it was never trained."""
        return self.class_of(readers, label)

    @abstractmethod
    def shown(self, readers: Readers, numbers: Tensor) -> list[Any]:
        """Returns what is drawn, in the unit of the data."""

    def draw(
        self, model: Model, readers: Readers, label: Any, numbers: Sequence[int], manner: DiffuseConfig, seed: int
    ) -> list[Any]:
        """Returns what is drawn under these numbers. label: a label or caption that is asked for (None: no one)."""
        given = NOTHING if label is None else self.request(model, readers, label)
        return self.shown(readers, diffuse(model, self.form(readers), given, numbers, manner, seed, self.together))

    @abstractmethod
    def require_place(self, path: Path | None) -> None:
        """Raises UserError where what is drawn cannot be written there; None: it is printed."""

    def write(self, rows: Sequence[Sequence[Any]], labels: Sequence[Any], path: Path) -> list[list[str]]:
        """Writes what is drawn, a row for each label, and returns the file of each. Raises UserError."""
        raise AssertionError("a task whose drawings are not printed defines write")


def numbered(value: Any) -> int:
    """Returns the number of something to draw. Raises UserError where it is none."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise UserError(f"{value!r} is not the number of something to draw; use 0, 1, 2, ...")
    return number
