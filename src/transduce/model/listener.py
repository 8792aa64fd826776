"""A model that hears, and sounds as decoding hands them over: numbers alone, which say themselves where a sound ends.

Tested in tests/model/test_listener.py.
"""

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.layout import Layout, dense, right_padded
from transduce.model.models import EncoderDecoder
from transduce.model.state import State


class Listener(EncoderDecoder):
    """An encoder of frames (B, T, F), and a decoder that writes. It takes frames with a mark (B, T, F + 1), too."""

    def __init__(self, both: EncoderDecoder, features: int) -> None:
        """Takes the two stacks of a model. features: of a frame."""
        super().__init__(both.encoder, both.decoder, both.by_document)
        self.frame = features

    def remember(self, source: Tensor | None, layout: Layout | None) -> State:
        if source is not None and not source.is_floating_point():
            what = "this model hears frames of sound, but its source is tokens"
            raise UserError(f"{what}; use objective=translation, or model.kind=encoder-decoder for texts")
        if source is not None and source.shape[-1] == self.frame + 1:
            source, layout = unmarked(source)
        return super().remember(source, layout)


def marked(frames: Tensor, length: int) -> Tensor:
    """(T, F) -> (length, F + 1): zeros behind a sound, and one feature more, which is 1 on its frames."""
    out = frames.new_zeros(length, frames.shape[1] + 1)
    out[: len(frames), :-1] = frames
    out[: len(frames), -1] = 1
    return out


def unmarked(source: Tensor) -> tuple[Tensor, Layout]:
    """(B, T, F + 1) -> (B, T, F) frames and their layout, as `marked` had them."""
    rows, slots = source.shape[:2]
    lengths = (source[..., -1] > 0.5).sum(1)
    full = bool((lengths == slots).all())
    layout = dense(rows, slots, device=source.device) if full else right_padded(lengths.to(torch.int64), slots)
    return source[..., :-1], layout
