"""A Transformer that reads an image as a sequence of patches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data
from transduce.model.architecture import EncoderConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.layout import dense
from transduce.model.norms.norm import LayerNorm
from transduce.reproduce.fit import PLAIN


class VisionTransformer(nn.Module):
    """(B, channels, size, size) -> (B, classes).   Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 1 to 4.

    Patches of patch x patch pixels are projected, one learned token is put in front of them, learned vectors of
    position are added, and Pre-LN blocks of an encoder follow; the class is told from the first token alone.
    """

    def __init__(
        self, classes: int, seed: int, *, size: int, patch: int, channels: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        shape = {
            **PLAIN, "width": width, "layers": layers, "mixer": {"kind": "attention", "heads": heads, "bias": True},
            "feedforward": {"kind": "mlp", "hidden": 4 * width, "activation": "gelu"}, "positions": "none",
            "norm": {"kind": "layer-norm", "eps": 1e-6}, "head": "none",
        }  # fmt: skip
        encoder = from_data(EncoderConfig, shape).build(1, seed)
        self.patch, tokens = patch, (size // patch) ** 2 + 1
        self.project = nn.Linear(channels * patch**2, width)
        self.first = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.stack = encoder.stacks()[0]
        self.head = ClassesHeadConfig(classes=classes, pool=("first",)).build(1, width, LayerNorm(), None)

    def patches(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B, N, channels * patch^2), row by row."""
        return F.unfold(images, self.patch, stride=self.patch).mT

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.patches(images), torch.arange(len(self.positions) - 1))

    def read(self, patches: Tensor, places: Tensor) -> Tensor:
        """Takes patches in any order, and where each stands: places (N,), counted from 0 -> logits (B, classes)."""
        rows = len(patches)
        x = torch.cat([self.first.expand(rows, 1, -1), self.project(patches)], 1)
        x = x + torch.cat([self.positions[:1], self.positions[1:][places]])
        layout = dense(rows, x.shape[1])
        return self.head(self.stack(x, layout)[0], layout)
