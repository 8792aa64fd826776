"""What the data hands to a model."""

from typing import NamedTuple

import torch
from torch import Tensor

from transduce.model.layout import Layout


class Batch(NamedTuple):
    """Rows of token ids with their geometry. `targets` is -1 where nothing is to be predicted.

    Decoder-only: `inputs` and `targets` are the text and the text shifted by one; `source` is None.
    Encoder-decoder: `source` is what the encoder reads. `examples` names the rows in the data set, for messages.
    `place`: from where in its text each row goes on, after the tokens of the batch before; None: it begins anew.
    """

    inputs: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64, -1 = none
    layout: Layout  # of inputs
    source: Tensor | None = None  # (B, N) int64
    source_layout: Layout | None = None
    examples: tuple[int, ...] = ()
    place: int | None = None

    @property
    def tokens(self) -> int:
        """Real tokens, source and inputs together."""
        count = int(self.layout.valid.sum())
        return count if self.source_layout is None else count + int(self.source_layout.valid.sum())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""

        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, non_blocking=True)

        def layout(x: Layout | None) -> Layout | None:
            return None if x is None else Layout(*(move(field) for field in x))  # type: ignore[arg-type]

        inputs, targets, here = self.inputs.to(device), self.targets.to(device), layout(self.layout)
        assert here is not None
        source, around = move(self.source), layout(self.source_layout)
        return Batch(inputs, targets, here, source, around, self.examples, self.place)
