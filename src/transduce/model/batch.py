"""The batch that the data hands to a model."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from transduce.model.layout import Layout
from transduce.model.state import State, over

Value = Any  # ids (B, T), or numbers: frames (B, T, F), pictures (B, C, H, W); or a NamedTuple of such tensors


SLOTS = 3  # of a step of an episode: what is still to be earned, the state, the action


class Steps(NamedTuple):
    """Steps of episodes as inputs. Slot p of a row belongs to step p // 3: its return, its state, then its action."""

    returns: Tensor  # (B, T, 1) float32, returns-to-go
    states: Tensor  # (B, T, S) float32
    actions: Tensor  # (B, T) int64 classes, or (B, T, A) float32
    times: Tensor  # (B, T) int64, steps since the episode began


class Batch(NamedTuple):
    """Rows with their geometry, and what an objective compares a model's predictions with.

    Language: `inputs` and `targets` are the text and the text shifted by one. Translation: `source` is what the encoder
    reads. Classification: one target per row. `examples` names the rows in the data set, for messages.
    """

    inputs: Value  # what is embedded; first dimension B
    layout: Layout  # of inputs
    targets: Tensor  # (B, T) int64 ids, -1 = none; (B,) int64 classes, -1 = none; (B,) or (B, T, F) float32 numbers
    source: Value | None = None  # (B, N) int64, as inputs
    source_layout: Layout | None = None
    weights: Tensor | None = None  # float32, shape of the targets: how much a target counts; None: 1
    extra: State = None  # what one objective alone reads, such as the log p of a reference model
    examples: tuple[int, ...] = ()
    offset: int | None = None  # tokens of each row's text in the batches before; None: it begins anew

    @property
    def tokens(self) -> int:
        """Returns the real slots, source and inputs together."""
        count = int(self.layout.valid.sum())
        return count if self.source_layout is None else count + int(self.source_layout.valid.sum())

    @property
    def slots(self) -> int:
        """Returns all slots, padding too."""
        count = self.layout.positions.numel()
        return count if self.source_layout is None else count + self.source_layout.positions.numel()

    def to(self, device: torch.device) -> "Batch":
        """Returns the same batch on another device."""
        tensors = cast("tuple[Any, ...]", over(tuple(self[:7]), lambda x: x.to(device, non_blocking=True)))
        return Batch(*tensors, examples=self.examples, offset=self.offset)
