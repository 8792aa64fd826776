"""What the decoder looked at: the cross-attention weights of every layer, without a flag in any forward."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transduce.data.batch import Batch
from transduce.errors import UserError
from transduce.model.block import Cross
from transduce.model.layout import dense
from transduce.model.mixers.attention import Attention
from transduce.model.models import Model


@torch.no_grad()
def cross_attention(model: Model, source: list[int], inputs: list[int]) -> list[Tensor]:
    """Of each decoder layer, (H, T, N): the weight that target token t gives to source token n, by head.

    source: ids as the encoder reads them. inputs: ids as the decoder reads them, <s> first.
    Raises UserError if the model has no attention between a source and a target.
    """
    if not model.takes_source:
        raise UserError("this model has no encoder, so there is no attention to a source to show")
    crosses = [p for block in model.stacks()[1].blocks for p in block.modules() if isinstance(p, Cross)]
    mixers = [cross.mixer for cross in crosses if isinstance(cross.mixer, Attention)]
    if not mixers or len(mixers) < len(crosses):
        raise UserError(
            "this model reads its source through a mixer without attention weights; there is no map to show"
        )
    asked: dict[int, Tensor] = {}
    written: dict[int, Tensor] = {}

    def keep(store: dict[int, Tensor], i: int) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, x: object, y: Tensor) -> None:
            store[i] = y

        return hook

    handles = [m.q.register_forward_hook(keep(asked, i)) for i, m in enumerate(mixers)]
    handles += [m.k.register_forward_hook(keep(written, i)) for i, m in enumerate(mixers)]
    training = model.training
    model.eval()
    try:
        device = model.head.weight.device
        ids, read = torch.tensor([inputs], device=device), torch.tensor([source], device=device)
        here, there = dense(1, len(inputs), device=device), dense(1, len(source), device=device)
        model.features(Batch(ids, ids, here, read, there))
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    return [weights(mixer, asked[i], written[i]) for i, mixer in enumerate(mixers)]


def weights(mixer: Attention, q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) of one row, (H, T, N), from projections (1, T, H D) and (1, N, G D)."""
    q, k = mixer.heads(q)[0].transpose(0, 1), mixer.heads(k)[0].transpose(0, 1)
    k = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
    return (q @ k.mT * mixer.head_dim**-0.5).softmax(-1)
