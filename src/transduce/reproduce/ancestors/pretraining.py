"""Layer by layer without labels: each layer learns to restore what the layer below says of the data.

Hinton, Osindero, Teh 2006 (restricted Boltzmann machines); Vincent et al. 2008 (denoising); studied by Erhan et al.
2010, JMLR 11. Layers are `nn.Linear` followed by the logistic function; the way back is the transposed matrix.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Learn = Callable[[nn.Linear, Tensor, torch.Generator], list[float]]


def pretrain(layers: Sequence[nn.Linear], x: Tensor, learn: Learn, generator: torch.Generator) -> list[list[float]]:
    """Trains each layer on the codes of those below, which then stay as they are. Returns what each epoch cost."""
    losses = list[list[float]]()
    for layer in layers:
        losses.append(learn(layer, x, generator))
        x = layer(x).sigmoid().detach()
    return losses


def denoising(noise: float = 0.25, epochs: int = 30, batch: int = 64, rate: float = 3e-3) -> Learn:
    """x' = s(W^T s(W x~ + b) + c), x~ = x with a share of `noise` set to zero; cross entropy of x' and x."""

    def learn(layer: nn.Linear, x: Tensor, generator: torch.Generator) -> list[float]:
        back = nn.Parameter(torch.zeros(layer.in_features))
        optimizer, losses = torch.optim.Adam([*layer.parameters(), back], rate), list[float]()
        for _ in range(epochs):
            total = 0.0
            for part in batches(x, batch, generator):
                kept = (torch.rand(part.shape, generator=generator) >= noise).to(part.dtype)
                restored = F.linear(layer(part * kept).sigmoid(), layer.weight.T, back)
                loss = F.binary_cross_entropy_with_logits(restored, part)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(part) / len(x)
            losses.append(total)
        return losses

    return learn


def contrastive(epochs: int = 30, batch: int = 64, rate: float = 0.1, momentum: float = 0.5) -> Learn:
    """CD-1: what data does to the weights of a restricted Boltzmann machine, less what its own answer does.

    dW = <h0 v0^T - h1 v1^T>, h0 = s(W v0 + b), v1 = s(W^T h + c) for h drawn from h0, h1 = s(W v1 + b).
    Hinton 2002, Neural Computation 14.
    """

    @torch.no_grad()
    def learn(layer: nn.Linear, x: Tensor, generator: torch.Generator) -> list[float]:
        back, losses = torch.zeros(layer.in_features), list[float]()
        values = [layer.weight, layer.bias, back]
        speeds = [torch.zeros_like(value) for value in values]
        for _ in range(epochs):
            total = 0.0
            for v0 in batches(x, batch, generator):
                h0 = layer(v0).sigmoid()
                v1 = F.linear(torch.bernoulli(h0, generator=generator), layer.weight.T, back).sigmoid()
                h1 = layer(v1).sigmoid()
                steps = (h0.T @ v0 - h1.T @ v1) / len(v0), (h0 - h1).mean(0), (v0 - v1).mean(0)
                for value, speed, step in zip(values, speeds, steps, strict=True):
                    value += speed.mul_(momentum).add_(rate * step)
                total += float((v0 - v1).square().mean()) * len(v0) / len(x)
            losses.append(total)
        return losses

    return learn


def batches(x: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yields all rows once, in a new order."""
    order = torch.randperm(len(x), generator=generator)
    for start in range(0, len(x), size):
        yield x[order[start : start + size]]
