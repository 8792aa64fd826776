"""The weights of a model by name, and copied from a file, strict both ways."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.runs import base, checkpoint, migrate
from transduce.runs.checkpoint import Tensors

OPTIMIZER = "optimizer.safetensors"


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns the state of a model by name, detached; a tensor that has several names stands under its first."""
    return {name: tensor.detach() for tensor, name in names(model).items()}


def names(model: nn.Module) -> dict[Tensor, str]:
    """Returns the first name of every parameter and buffer.

    Which tensors are the same is a matter of identity: on the meta device all have one address, and views of one
    storage are different tensors. A weight under an adapter keeps its name (`q.weight`), and the adapter's tensors
    stand below it (`q.weight.0.A`).
    """
    first: dict[Tensor, str] = {}
    for name, tensor in cast("dict[str, Tensor]", model.state_dict(keep_vars=True)).items():
        first.setdefault(tensor, name.replace(".parametrizations.", ".").removesuffix(".original"))
    return first


def load_weights(model: nn.Module, path: Path) -> None:
    """Copies a safetensors file into a model, strict both ways. Raises UserError."""
    assign(weights(model), read_weights(model, path), str(path))


def read_weights(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a file of a checkpoint, under the names that they have in the model.

    Those that never move, which the run keeps once, are among them.
    """
    beside = {} if path.name == OPTIMIZER else base.read_base(path.parent)
    return migrate.renamed({**beside, **checkpoint.read_tensors(path)}, model, checkpoint.schema(path.parent))


def best_weights(directory: Path) -> Path:
    """Returns the weights file of a checkpoint to use: the moving average where it has one."""
    average = directory / "ema.safetensors"
    return average if average.exists() else directory / "model.safetensors"


@torch.no_grad()
def assign(into: Tensors, values: Tensors, what: str = "the checkpoint") -> None:
    """Copies tensors name by name. Raises UserError unless names and shapes are the same."""
    if odd := sorted(into.keys() ^ values.keys()):
        side = "lacks" if odd[0] in into else "has, but this model does not,"
        raise UserError(f"{what} {side} `{odd[0]}` ({len(odd)} names differ); load it with the config it was made with")
    for name, tensor in into.items():
        if tensor.shape != values[name].shape:
            shapes = f"{list(values[name].shape)}, but this model's is {list(tensor.shape)}"
            raise UserError(f"{what}: `{name}` has shape {shapes}; load it with the config it was made with")
        tensor.copy_(values[name])
