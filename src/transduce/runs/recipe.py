"""A recipe: the whole of a run as frozen data.

Tested in tests/test_config.py.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from transduce.data.loader import BatchConfig
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.objectives.objective import ObjectiveConfig
from transduce.optim import OptimizerConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import InverseSqrt, ScheduleConfig
from transduce.runs import assumed
from transduce.runs.migrate import SCHEMA, upgraded
from transduce.tasks.measures.measure import Measure
from transduce.tasks.task import TaskConfig
from transduce.text.tokenizer import TokenizerConfig
from transduce.tune.full import Full
from transduce.tune.tuning import TuneConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The length of a training, its speed, its safety, and what it shows on the way.

    Weights, sums and norms are always float32.

    max_steps: updates.
    max_epochs: how often all training data is read, in place of max_steps, which then follows from it (None: max_steps
        counts).
    accumulate: batches per update.
    clip: largest norm of the gradient (None: any).
    ema: decay of the average of the weights that is validated and used, such as 0.999 (None: the weights themselves).
    precision: of the products in an update; auto: bf16 where the processor has instructions for it that are faster.
    compile: blocks are compiled by `torch.compile`.
    recompute: activations are computed again in the backward pass instead of kept, block by block.
    kernels: of linear attention, the delta rule and their kin; fla: those of flash-linear-attention, on a GPU, in TF32.
    validate_every: updates between two validations.
    save_every: updates between two checkpoints (None: one at every validation).
    save_minutes: save when so much time has passed, so that a kill costs no more; this changes no number.
    log_every: updates between two lines of metrics.
    keep: how many checkpoints, beside the best.
    patience: stop after so many validations without a better one (None: never).
    average: at the end, try the mean of the last so many checkpoints.
    seed: of start values, of the order of the data and of dropout.
    threads: of the CPU (None: as many as PyTorch takes).
    device: where it is computed; auto: on a GPU where there is one.
    metric: the measure that chooses the best, by its name; auto: the one that the task has.
    samples: validation examples that are decoded each time.
    tensorboard: write what TensorBoard shows, too.
    """

    max_steps: int = 10_000
    max_epochs: float | None = None
    accumulate: int = 1
    clip: float | None = 1.0
    ema: float | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    recompute: bool = False
    kernels: Literal["torch", "fla"] = "torch"
    validate_every: int = 500
    save_every: int | None = None
    save_minutes: float = 5.0
    log_every: int = 10
    keep: int = 3
    patience: int | None = None
    average: int = 1
    seed: int = 0
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    metric: str = "auto"
    samples: int = 200
    tensorboard: bool = False

    def __post_init__(self) -> None:
        counts = ("max_steps", "accumulate", "validate_every", "save_every", "log_every", "keep", "patience", "average")
        for name in (*counts, "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.accumulate > 65_536:
            raise ValueError(
                f"accumulate={self.accumulate} must be at most 65536: the batches of an update stay in memory"
            )
        if self.max_epochs is not None and not 0 < self.max_epochs <= 1e9:
            raise ValueError(f"max_epochs={self.max_epochs} must be more than 0 and at most a billion, such as 3")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed={self.seed} must be at least 0 and below 2^63")
        if not self.save_minutes > 0:
            raise ValueError(f"save_minutes={self.save_minutes} must be more than 0; use 5")
        if self.samples < 0:
            raise ValueError(f"samples={self.samples} is negative; use 0 to decode nothing")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip={self.clip} would stop every update; use 1.0, or null for no limit")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema={self.ema} must lie between 0 and 1; use 0.999, or null for none")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the numbers of a run.

    name: the directory of the run.
    data: where the texts come from.
    tokenizer: how a text becomes ids (None: the task reads no text).
    model: what is trained.
    task: what a user gets of it: which columns are read, what is measured and predicted.
    objective: what the gradient is of.
    batch: how examples become batches.
    optimizer: how gradients become updates.
    tune: which weights move.
    prepared: a folder that `transduce prepare` made of this recipe; run: the run keeps the ids of its data in its
        cache; auto: it does so where they are files of 16 MB and more; never: all is encoded at every start. The
        numbers are the same.
    start: what the weights, the tokeniser and the readers come from: scratch, a run, a folder, or hub:OWNER/NAME.
    schedule: how the learning rate moves.
    train: how long, how safe, and what is looked at on the way.
    generate: how texts are written in validation, and later by default.
    schema: the version of this form.
    """

    name: str
    data: DataConfig
    tokenizer: TokenizerConfig | None
    model: ModelConfig
    task: TaskConfig
    objective: ObjectiveConfig
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    schedule: ScheduleConfig = field(default_factory=InverseSqrt)
    tune: TuneConfig = field(default_factory=Full)
    start: str = "scratch"
    prepared: str = "auto"
    train: TrainConfig = field(default_factory=TrainConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    schema: int = SCHEMA

    @classmethod
    def written_out(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns plain data of any schema as that of today's, with what follows from the rest."""
        return assumed.complete(upgraded(data))

    def __post_init__(self) -> None:
        if not self.name or self.name.strip(".") == "" or "/" in self.name or "\0" in self.name:
            raise ValueError(f"name={self.name!r} cannot be a directory; use letters, digits and dashes")
        if any("\ud800" <= c <= "\udfff" for c in self.name):
            raise ValueError(f"name={self.name!r} is not UTF-8; use letters, digits and dashes")
        if self.schema < 1:
            raise ValueError(f"schema={self.schema} is not a version of recipes; leave it out, or use {SCHEMA}")
        if self.schema > SCHEMA:
            raise ValueError(f"schema={self.schema} is newer than this transduce, which reads up to {SCHEMA}; upgrade")

    def resolve(self) -> Self:
        """Returns the recipe with values that follow from others filled in, as it is written into the run."""
        train = dataclasses.replace(self.train, save_every=self.train.save_every or self.train.validate_every)
        schedule = self.schedule if train.max_epochs is not None else self.schedule.resolve(train.max_steps)
        return dataclasses.replace(self, schedule=schedule, train=train, task=self.task.suited(self.data))

    def reported(self) -> tuple[Measure, ...]:
        """Returns what a full evaluation measures beside what a validation does, without what means nothing here."""
        return tuple(measure for measure in self.task.reported() if measure.kind not in self.objective.mute)

    def in_steps(self, batches: int) -> Self:
        """Returns the same with max_steps as max_epochs has it, if that is given. batches: of an epoch."""
        if self.train.max_epochs is None:
            return self
        steps = max(1, math.ceil(self.train.max_epochs * batches / self.train.accumulate))
        train = dataclasses.replace(self.train, max_steps=min(steps, 2**63 - 1))
        try:
            return dataclasses.replace(self, schedule=self.schedule.resolve(train.max_steps), train=train)
        except ValueError as error:
            epochs = f"train.max_epochs={train.max_epochs:g} are {train.max_steps:,} steps here"
            raise UserError(f"{epochs}, and {error}") from None
