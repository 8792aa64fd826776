"""The step and the counts of a training, without its tensors, as a checkpoint keeps them."""

import base64
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from transduce.data.loader import Cursor
from transduce.errors import UserError
from transduce.runs.versions import made_with


@dataclass
class Position:
    """The step and the counts of a training, without its tensors. best_score: see Evaluation.score."""

    step: int = 0  # updates done
    cursor: Cursor = field(default_factory=lambda: Cursor(0, 0))  # the next batch
    skip: list[Cursor] = field(default_factory=list[Cursor])  # batches that gave numbers that are not finite
    tokens: int = 0  # targets learned from
    sums: dict[str, float] = field(default_factory=dict[str, float])  # since the last line of metrics
    best_score: tuple[float, float] | None = None
    best_step: int | None = None
    stale: int = 0  # validations since the best one
    metrics_bytes: int = 0

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Position":
        position = cls(**data)  # JSON has lists where we have tuples
        position.cursor, position.skip = Cursor(*data["cursor"]), [Cursor(*cursor) for cursor in data["skip"]]
        position.best_score = data["best_score"] and (data["best_score"][0], data["best_score"][1])
        return position


def to_state(position: Position, rng: dict[str, Tensor], **more: Any) -> dict[str, Any]:
    """Returns the content of state.json."""
    coded = {name: base64.b64encode(value.numpy().tobytes()).decode() for name, value in rng.items()}
    return {**dataclasses.asdict(position), **more, "rng": coded, "made_with": made_with()}


def from_state(state: dict[str, Any]) -> tuple[Position, dict[str, Tensor]]:
    """Returns the arguments of `to_state`. Raises UserError for anything else."""
    try:
        rng = {n: torch.frombuffer(bytearray(base64.b64decode(v)), dtype=torch.uint8) for n, v in state["rng"].items()}
        return Position.from_data({f.name: state[f.name] for f in dataclasses.fields(Position)}), rng
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        problem = (
            f"the newest checkpoint's state.json does not say where training stood ({type(error).__name__}: {error})"
        )
        raise UserError(f"{problem}; remove that checkpoint to go on from the one before") from None
