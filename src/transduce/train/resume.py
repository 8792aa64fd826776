"""Everything that moves in training: gathered into a checkpoint, and put back bit for bit."""

import base64
import dataclasses
import importlib.metadata
import platform
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, swa_utils

from transduce.data.loader import Cursor
from transduce.errors import UserError
from transduce.train import checkpoint
from transduce.train.carry import Carried
from transduce.train.checkpoint import Tensors


@dataclass
class Position:
    """Where training stands, but for tensors. best_score: see Evaluation.score."""

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


class Average:
    """The moving average of the weights: a <- d a + (1 - d) w, where d rises to `decay` as (1 + step) / (10 + step).

    The rise lets go of the start values sooner than d alone would.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.live = weights(model)  # buffers too: what is not trained is its own average
        self.mean = {name: p.detach().clone() for name, p in self.live.items()}

    def update(self, step: int) -> None:
        """After update number `step`."""
        live, decay = [p.detach() for p in self.live.values()], min(self.decay, (1 + step) / (10 + step))
        swa_utils.get_ema_multi_avg_fn(decay)(list(self.mean.values()), live, None)

    @contextmanager
    def swapped(self) -> Generator[None]:
        """The model computes with the average inside."""
        kept = {name: p.detach().clone() for name, p in self.live.items()}
        assign(self.live, self.mean)
        try:
            yield
        finally:
            assign(self.live, kept)


@dataclass
class Moving:
    """The tensors that move."""

    model: nn.Module
    optimizers: list[Optimizer]
    average: Average | None
    device: torch.device
    carried: Carried

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model computes with the moving average of its weights, if there is one."""
        return nullcontext() if self.average is None else self.average.swapped()

    def parts(self) -> dict[str, Tensors]:
        """The tensors of a checkpoint by file."""
        parts = {"model.safetensors": weights(self.model), "optimizer.safetensors": self.optimizer_state()}
        parts |= {} if self.average is None else {"ema.safetensors": self.average.mean}
        return parts | ({"carried.safetensors": self.carried.parts()} if self.carried.state is not None else {})

    def optimizer_state(self) -> Tensors:
        """Every tensor the optimisers keep, named `what/parameter`."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        states = [(names[id(p)], s) for optimizer in self.optimizers for p, s in optimizer.state.items()]
        return {f"{what}/{name}": value for name, state in states for what, value in state.items()}

    def load(self, directory: Path) -> None:
        """Put the tensors of a checkpoint back."""
        load_weights(self.model, directory / "model.safetensors")
        if self.average is not None:  # which begins, in a run of an imported model, at what was imported
            assign(self.average.mean, checkpoint.read_tensors(best_weights(directory)))
        carried = directory / "carried.safetensors"
        self.carried.load(checkpoint.read_tensors(carried) if carried.exists() else {})
        saved: dict[str, dict[str, Tensor]] = {}
        for key, value in checkpoint.read_tensors(directory / "optimizer.safetensors").items():
            what, _, name = key.partition("/")
            saved.setdefault(name, {})[what] = value.to(self.device)
        parameters = dict(self.model.named_parameters())
        for optimizer in self.optimizers:
            owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
            optimizer.state.clear()
            optimizer.state.update({parameters[n]: s for n, s in saved.items() if id(parameters[n]) in owned})

    def finite(self) -> bool:
        """Whether every weight is a number."""
        live = [*self.model.parameters(), *(self.average.mean.values() if self.average else ())]
        return bool(torch.stack([p.detach().isfinite().all() for p in live]).all())


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, a tied tensor once, under its first name."""
    first: dict[tuple[int, torch.Size], str] = {}
    state = model.state_dict()
    for name, tensor in state.items():
        first.setdefault((tensor.data_ptr(), tensor.shape), name)
    return {name: state[name] for name in first.values()}


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy a safetensors file into a model, strict both ways. Raises UserError."""
    assign(weights(model), checkpoint.read_tensors(path), str(path))


def best_weights(directory: Path) -> Path:
    """The file of a checkpoint to use the model with: the moving average where there is one."""
    average = directory / "ema.safetensors"
    return average if average.exists() else directory / "model.safetensors"


@torch.no_grad()
def assign(into: Tensors, values: Tensors, what: str = "the checkpoint") -> None:
    """Copy tensors name by name. Raises UserError unless names and shapes are the same."""
    if odd := sorted(into.keys() ^ values.keys()):
        side = "lacks" if odd[0] in into else "has, but this model does not,"
        raise UserError(f"{what} {side} `{odd[0]}` ({len(odd)} names differ); load it with the config it was made with")
    for name, tensor in into.items():
        if tensor.shape != values[name].shape:
            shapes = f"{list(values[name].shape)}, but this model's is {list(tensor.shape)}"
            raise UserError(f"{what}: `{name}` has shape {shapes}; load it with the config it was made with")
        tensor.copy_(values[name])


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """The generators that training draws from."""
    here = {"cpu": torch.get_rng_state()}
    return here if device.type != "cuda" else {**here, "cuda": torch.cuda.get_rng_state(device)}


def set_rng_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def to_state(position: Position, rng: dict[str, Tensor], **more: Any) -> dict[str, Any]:
    """What state.json holds."""
    coded = {name: base64.b64encode(value.numpy().tobytes()).decode() for name, value in rng.items()}
    return {**dataclasses.asdict(position), **more, "rng": coded, "made_with": made_with()}


def from_state(state: dict[str, Any]) -> tuple[Position, dict[str, Tensor]]:
    """What `to_state` was given. Raises UserError for anything else."""
    try:
        rng = {n: torch.frombuffer(bytearray(base64.b64decode(v)), dtype=torch.uint8) for n, v in state["rng"].items()}
        return Position.from_data({f.name: state[f.name] for f in dataclasses.fields(Position)}), rng
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        told = f"the newest checkpoint's state.json does not say where training stood ({type(error).__name__}: {error})"
        raise UserError(f"{told}; remove that checkpoint to go on from the one before") from None


def made_with() -> dict[str, str]:
    """What the last bits of a number can depend on."""
    return {**versions(), "threads": str(torch.get_num_threads()), "machine": platform.machine()}


def versions() -> dict[str, str]:
    """Python and the libraries that have a part in the numbers."""
    names = ("transduce", "torch", "numpy", "tokenizers", "safetensors", "sacrebleu", "babel")
    found = {d.metadata["Name"].lower(): d.version for d in map(_distribution, names) if d is not None}
    return {"python": platform.python_version(), **found}


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
