"""Everything that moves in training: gathered into a checkpoint, and put back bit for bit."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from transduce.objectives.carry import Carried
from transduce.runs import checkpoint
from transduce.runs.average import Average
from transduce.runs.checkpoint import Tensors
from transduce.runs.weights import OPTIMIZER, assign, best_weights, load_weights, read_weights, weights
from transduce.tune.tuning import Tuning


@dataclass
class Moving:
    """The tensors that move."""

    model: nn.Module
    optimizers: list[Optimizer]
    average: Average | None
    device: torch.device
    carried: Carried
    tuning: Tuning
    fixed: frozenset[str] = frozenset()  # names of weights that never move

    def averaged(self) -> AbstractContextManager[None]:
        """Lets the model compute with the moving average of its weights, if it has one, inside the context."""
        return nullcontext() if self.average is None else self.average.swapped()

    def parts(self) -> dict[str, Tensors]:
        """Returns the tensors of a checkpoint by file."""
        moving = {name: tensor for name, tensor in weights(self.model).items() if name not in self.fixed}
        parts = {"model.safetensors": moving, OPTIMIZER: self.optimizer_state()}
        parts |= {} if self.average is None else {"ema.safetensors": self.average.mean}
        return parts | ({"carried.safetensors": self.carried.parts()} if self.carried.state is not None else {})

    def still(self) -> Tensors:
        """Returns the tensors that never move."""
        return {name: tensor for name, tensor in weights(self.model).items() if name in self.fixed}

    def optimizer_state(self) -> Tensors:
        """Returns every tensor that the optimisers keep, named `what/parameter`."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        states = [(names[id(p)], s) for optimizer in self.optimizers for p, s in optimizer.state.items()]
        return {f"{what}/{name}": value for name, state in states for what, value in state.items()}

    def load(self, directory: Path) -> None:
        """Copies the tensors of a checkpoint back."""
        load_weights(self.model, directory / "model.safetensors")
        if self.average is not None:  # which begins, in a run of an imported model, at what was imported
            average = read_weights(self.model, best_weights(directory))
            assign(self.average.mean, {name: x for name, x in average.items() if name not in self.fixed})
        carried = directory / "carried.safetensors"
        self.carried.load(checkpoint.read_tensors(carried) if carried.exists() else {})
        saved: dict[str, dict[str, Tensor]] = {}
        for key, value in read_weights(self.model, directory / OPTIMIZER).items():
            what, _, name = key.partition("/")
            saved.setdefault(name, {})[what] = value.to(self.device)
        parameters = dict(self.model.named_parameters())
        for optimizer in self.optimizers:
            owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
            optimizer.state.clear()
            optimizer.state.update({parameters[n]: s for n, s in saved.items() if id(parameters[n]) in owned})

    def finite(self) -> bool:
        """Says whether every weight is a finite number."""
        live = [*self.model.parameters(), *(self.average.mean.values() if self.average else ())]
        return bool(torch.stack([p.detach().isfinite().all() for p in live]).all())
