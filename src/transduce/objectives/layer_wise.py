"""Pre-training without labels, block by block: each restores what the blocks below give, from what is left of it."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layered import RESTORE, each_block, width_of_block
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.objectives.masked import hashed
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, model_of
from transduce.objectives.restoring import require_alone, require_share
from transduce.text.tokenizer import Tokenizer

GOLDEN = 0.6180339887498949  # multiples of it fill [0, 1) evenly


def noise(x: Tensor, batch: Batch, whole: bool, training: bool) -> Tensor:
    """Returns (B, T, M) in [0, 1), or (B, T, 1) for whole vectors: drawn in training, else of the places alone."""
    size = (*x.shape[:2], 1 if whole else x.shape[2])
    if training:
        return torch.rand(size, device=x.device)
    feature = torch.arange(size[2], device=x.device, dtype=torch.float64) * GOLDEN
    return ((hashed(batch, 0)[..., None] + feature) % 1).float()


def restored(x: Tensor, guess: Tensor, valid: Tensor) -> Tensor:
    """Returns the sum over valid slots of |x' - guess|^2 / M, x' being x with mean 0 and deviation 1 over its features.

    So 0 for a guess costs 1, in every block, and a block gains nothing by making its own output small.
    """
    target = F.layer_norm(x if x.dtype == torch.float64 else x.float(), x.shape[-1:])
    return (target - guess).square().mean(-1)[valid].sum()


@contextmanager
def still(model: Model) -> Generator[None]:
    """Lets a model compute without dropout and without a gradient."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def inputs(model: Model, batch: Batch, layout: Layout, last: int) -> list[Tensor]:
    """Returns what the blocks up to number `last`, from 0, are given: (B, T, M) each."""
    [tower] = model.towers()
    with still(model):
        streams = {tower.stack.order[0]: (x := tower.stack.enter(tower.embed(batch.inputs, batch.layout)))}
        for number, following in zip(tower.stack.order, tower.stack.order[1:], strict=False):
            if len(streams) > last:
                break
            x, _ = tower.stack.blocks[number](x, layout)
            streams.setdefault(following, x)
    return list(streams.values())


def layer_wise_loss(learner: Learner, batch: Batch, config: "DenoisingAutoencoderConfig") -> Loss:
    """Returns the loss of the blocks whose maps move, in the mean over them; outside of training that of all blocks."""
    require_alone(batch.offset, config.kind)
    model = model_of(learner)
    blocks = each_block(model)
    heads = [model.heads[RESTORE.format(number)] for number in range(1, len(blocks) + 1)]
    moving = [i for i, head in enumerate(heads) if next(head.parameters()).requires_grad]
    chosen = moving if learner.training and moving else list(range(len(blocks)))
    layout = model.arranged(batch.layout)
    placed = batch._replace(layout=layout)
    streams, parts = inputs(model, batch, layout, chosen[-1]), list[Tensor]()
    for i in chosen:
        x = streams[i]
        mask = noise(x, placed, config.vectors, learner.training) >= config.fraction
        y, _ = blocks[i](x * mask, layout)
        parts.append(restored(x, heads[i](y), layout.valid))
    total = torch.stack(parts).mean()
    return Loss(total, layout.valid.sum(), {"nll": total.detach()})


@dataclass(frozen=True, kw_only=True)
class DenoisingAutoencoderConfig(ObjectiveConfig):
    """|x' - W h(x with parts set to 0) - b|^2 / M of each block h, x: what the blocks below give, x': x standardised.

    Vincent et al. 2010, JMLR 11, sec. 3 (masking noise) and 4.1; Erhan et al. 2010, JMLR 11. The blocks are trained one
    after the other (tune=layer-wise). The embedding keeps its start values, so what is restored cannot collapse. A
    validation takes the mean over all blocks, of which one that is still untrained costs about 1.

    fraction: of the features of each vector that is set to 0.
    vectors: whole vectors are set to 0, this fraction of them, and not single features.
    """

    kind: ClassVar[str] = "denoising-autoencoder"
    mute: ClassVar[tuple[str, ...]] = ("bits-per-byte", "perplexity")
    fraction: float = 0.25
    vectors: bool = False

    def __post_init__(self) -> None:
        require_share(fraction=self.fraction)

    def build(self) -> Objective:
        raise AssertionError(f"{self.kind} is built for a model")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if len(model.towers()) != 1:
            raise UserError(f"objective={self.kind} trains the blocks of one stack; set model.kind=encoder or decoder")
        [stack] = model.stacks()
        if RESTORE.format(1) not in model.heads:
            raise UserError(f"objective={self.kind} trains one block after the other; set tune=layer-wise")
        if stack.conditioned:
            raise UserError(f"objective={self.kind} has no condition for model.residual; use pre-norm or post-norm")
        width = width_of_block(each_block(model)[0])
        if not isinstance(stack.enter(torch.zeros(1, 1, width, device=model.device, dtype=model.dtype)), Tensor):
            raise UserError(f"objective={self.kind} restores one stream; set model.residual=pre-norm or post-norm")
        return partial(layer_wise_loss, config=self)
