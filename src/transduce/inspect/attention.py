"""The cross-attention weights of every layer of a decoder, recorded from outside: no forward has a flag for it."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.block import Block
from transduce.model.cache import Recall, Seen
from transduce.model.layout import Layout, dense
from transduce.model.mixers.mixer import Mixer
from transduce.model.models import Model
from transduce.model.state import State


@runtime_checkable
class Weighing(Protocol):
    """A mixer that can return the weight of each token that it sees: attention of any kind."""

    recall: Recall

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        """Returns the weights, (B, H, T, N)."""
        ...


@torch.no_grad()
def cross_attention(model: Model, source: list[int], inputs: list[int]) -> list[Tensor]:
    """Returns a map (H, T, N) of each decoder layer: by head, the weight of source token n for target token t.

    A layer that is applied several times gives several maps.
    source: ids as the encoder reads them.
    inputs: ids as the decoder reads them, <s> first.
    Raises UserError if the model has no attention between a source and a target.
    """
    model.require_source(source)
    crosses = [mixer for block in model.stacks()[-1].blocks for mixer in cast(Block, block).crosses()]
    if not crosses or not all(isinstance(mixer, Weighing) for mixer in crosses):
        raise UserError(
            "this model reads its source through a mixer without attention weights; there is no map to show"
        )
    by_layer: list[list[Tensor]] = [[] for _ in crosses]  # of each, one map per call: a token, or the whole target
    training = model.training
    model.eval()
    try:
        with ExitStack() as watched:
            for mixer, maps in zip(crosses, by_layer, strict=True):
                watched.enter_context(watching(mixer, maps))
            device = model.device
            ids, read = torch.tensor([inputs], device=device), torch.tensor([source], device=device)
            here, there = dense(1, len(inputs), device=device), dense(1, len(source), device=device)
            model.features(Batch(ids, here, ids, read, there))
    finally:
        model.train(training)
    joined = [torch.cat(maps, 1) for maps in by_layer]
    return [m[:, t : t + len(inputs)] for m in joined for t in range(0, m.shape[1], len(inputs))]


@contextmanager
def watching(mixer: Mixer, maps: list[Tensor]) -> Generator[None]:
    """Adds the weights of every `read` of a mixer to the maps, as long as the context is open."""
    weighing, read, before = cast(Weighing, mixer), mixer.read, vars(mixer).get("read")

    def reading(x: Tensor, layout: Layout, state: State) -> Tensor:
        maps.append(weighing.weights(x, layout, weighing.recall.read(layout, state))[0])
        return read(x, layout, state)

    mixer.read = reading
    try:
        yield
    finally:
        del mixer.read
        if before is not None:
            mixer.read = before
