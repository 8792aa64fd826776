"""A model that removes noise: an encoder that is told the time, and perhaps a class.

Tested in tests/model/test_condition.py.
"""

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.condition import CaptionCondition, Condition
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, PooledHead
from transduce.model.heads.pixels import PixelsHead
from transduce.model.layout import Layout
from transduce.model.models import EncoderOnly
from transduce.model.process.process import Noisy, Process
from transduce.model.stack import Stack


class Denoiser(EncoderOnly):
    """Embedding, stack, head, and the condition that residuals of the stack take; where none does, it is added to the
    embedded inputs. It is computed once for a batch. Inputs that are not `Noisy` are data: of time 0, and no class.
    """

    def __init__(
        self, embed: Embedding, stack: Stack, head: Head | None, condition: Condition | CaptionCondition,
        process: Process,
    ) -> None:  # fmt: skip
        super().__init__(embed, stack, head)
        self.condition, self.process, self.adapts = condition, process, stack.conditioned
        self.classes, self.guides = condition.size, bool(condition.size) and bool(condition.none)

    def features(self, batch: Batch) -> Tensor:
        self.require_source(batch.source)
        noisy = batch.inputs if isinstance(batch.inputs, Noisy) else self.clean(batch.inputs)
        condition = self.condition(noisy.time, noisy.given)
        x, layout = self.embed(noisy.x, batch.layout), self.embed.arrange(batch.layout)
        if self.adapts:
            return self.stack(x, layout, condition=condition)[0]
        return self.stack(x + condition[:, None], layout)[0]

    def denoise(self, x: Tensor, time: Tensor, given: Tensor, layout: Layout) -> Tensor:
        assert self.process is not None
        assert isinstance(self.head, PooledHead | PixelsHead)
        hidden = self.features(Batch(Noisy(x, self.process.clock(time), given), layout, given))
        return self.head(hidden, self.arranged(layout))[:, : x[0].numel()].view(x.shape)

    def clean(self, x: Tensor) -> Noisy:
        """Returns data as the model reads it. Raises UserError where it always reads a class, too."""
        if self.classes and not self.guides:
            raise UserError("this model has no row for no class, so it reads data with a class alone")
        time = torch.zeros(len(x), device=x.device)
        return Noisy(x, time, self.no_request(len(x)))
