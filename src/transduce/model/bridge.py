"""From the encoder's last state to the decoder's first."""

from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.block import Block
from transduce.model.cache import BLOCK, Cache
from transduce.model.mixers.mixer import Mixer
from transduce.model.stack import Stack
from transduce.model.state import State, nbytes, over, tensors
from transduce.model.sublayers import Encode


class Copy(nn.Module):
    """The state as it is.   Sutskever, Vinyals & Le 2014, arXiv:1409.3215."""

    def forward(self, state: State) -> State:
        return state


class Project(nn.Module):
    """tanh(W s) of all that the encoder kept, for every tensor of the first state.   Bahdanau et al. 2014, A.2.2."""

    def __init__(self, encoder_state: State, first: State) -> None:
        super().__init__()
        size = sum(x[0].numel() for x in tensors(encoder_state))
        self.shapes = over(first, lambda x: x[0])
        self.maps = nn.ModuleList(nn.Linear(size, x[0].numel()) for x in tensors(first))

    def forward(self, encoder_state: State) -> State:
        flat = torch.cat([x.flatten(1) for x in tensors(encoder_state)], 1)
        parts = iter([full(layer(flat)).tanh() for layer in self.maps])
        return over(self.shapes, lambda x: next(parts).view(-1, *x.shape))


def full(x: Tensor) -> Tensor:
    """Returns x in float32 at least, as states are kept."""
    return x if x.dtype == torch.float64 else x.float()


def grows(mixer: Mixer) -> bool:
    """Says whether the memory of a mixer grows with the sequence, or is a list of its tokens."""
    where = next(mixer.parameters())
    short, long = (mixer.init_state(1, n, device=where.device, dtype=where.dtype) for n in (2, 2 * BLOCK + 2))
    return nbytes(short) != nbytes(long) or lists_tokens(short)


def lists_tokens(state: State) -> bool:
    """Says whether a state holds a cache, whose size a window may bound."""
    if isinstance(state, Cache):
        return True
    return isinstance(state, tuple) and any(lists_tokens(part) for part in cast("tuple[State, ...]", state))


def bridge_of(kind: str, encoder: Stack, layer: int, mixer: Mixer) -> nn.Module:
    """Returns what turns the state of the encoder's block `layer` into the first one of a decoder's mixer.

    Raises UserError if the encoder has no such block, or its state grows with the sequence or is of another form.
    """
    block: Block | None = next(islice(encoder, layer, None), None)
    if block is None:
        raise UserError(
            f"bridge={kind} hands the state of each encoder layer to the decoder layer of its number, but the encoder "
            f"has {len(encoder.order)} layers and the decoder more; set model.encoder_layers or model.decoder_layers"
        )
    part = block.sublayers[0]
    if not isinstance(part, Encode):
        raise UserError(f"bridge={kind} needs a mixer of its own in each encoder layer; use bridge=none")
    above = block.mixer(part.mixer)
    if grows(above) or grows(mixer):
        raise UserError(
            f"bridge={kind} needs memories of constant size on both sides, but those of attention grow; use bridge=none"
        )
    where = next(above.parameters())
    encoder_state, first = (m.init_state(1, 2, device=where.device, dtype=where.dtype) for m in (above, mixer))
    if not nbytes(encoder_state):
        raise UserError(f"bridge={kind} needs an encoder that leaves a memory, and this one leaves none; drop it")
    if kind == "project":
        return Project(encoder_state, first)
    decoder_shapes, encoder_shapes = ([tuple(x.shape) for x in tensors(state)] for state in (first, encoder_state))
    if decoder_shapes != encoder_shapes:
        raise UserError(
            "bridge=state needs the same mixer on both sides, and one that reads in one direction; use bridge=project, "
            "or model.encoder_mixer={kind: bidirectional, directions: backward, mixer: ...}"
        )
    return Copy()
