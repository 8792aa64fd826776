"""From the encoder's last state to the decoder's first."""

from itertools import islice

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.block import Block, Encode
from transduce.model.mixers.mixer import Mixer
from transduce.model.stack import Stack
from transduce.model.state import State, nbytes, over, tensors


class Copy(nn.Module):
    """The state as it is.   Sutskever, Vinyals & Le 2014, arXiv:1409.3215."""

    def forward(self, kept: State) -> State:
        return kept


class Project(nn.Module):
    """tanh(W s) of all that the encoder kept, for every tensor of the first state.   Bahdanau et al. 2014, A.2.2."""

    def __init__(self, kept: State, begun: State) -> None:
        super().__init__()
        size = sum(x[0].numel() for x in tensors(kept))
        self.shapes = over(begun, lambda x: x[0])
        self.maps = nn.ModuleList(nn.Linear(size, x[0].numel()) for x in tensors(begun))

    def forward(self, kept: State) -> State:
        flat = torch.cat([x.flatten(1) for x in tensors(kept)], 1)
        made = iter([full(layer(flat)).tanh() for layer in self.maps])
        return over(self.shapes, lambda x: next(made).view(-1, *x.shape))


def full(x: Tensor) -> Tensor:
    """At least float32, which states are kept in."""
    return x if x.dtype == torch.float64 else x.float()


def bridge_of(kind: str, encoder: Stack, layer: int, mixer: Mixer) -> nn.Module:
    """What turns the state that the encoder's block `layer` keeps into the first one of a decoder's mixer.

    Raises UserError if there is no such block, or its state grows with the sequence or is of another form.
    """
    block: Block | None = next(islice(encoder, layer, None), None)
    part = block.parts[0] if block is not None and len(block.parts) else None
    if not isinstance(part, Encode):
        raise UserError(
            f"bridge={kind} hands the state of each encoder layer to the decoder layer of its number, but layer "
            f"{layer + 1} has no such partner; give both sides as many layers"
        )
    where = next(part.parameters())
    both = [[m.init_state(1, n, device=where.device, dtype=where.dtype) for n in (2, 3)] for m in (part.mixer, mixer)]
    (kept, longer), (begun, more) = both
    if nbytes(kept) != nbytes(longer) or nbytes(begun) != nbytes(more):
        raise UserError(
            f"bridge={kind} needs memories of constant size on both sides, but those of attention grow; use bridge=none"
        )
    if kind == "project":
        return Project(kept, begun)
    mine, theirs = ([tuple(x.shape) for x in tensors(state)] for state in (begun, kept))
    if mine != theirs:
        raise UserError(
            f"bridge=state needs the same mixer on both sides, but the decoder begins with {mine} and the encoder "
            f"leaves {theirs}; use bridge=project"
        )
    return Copy()
