"""Drawing tokens: temperature, then top-k, then top-p, then min-p, in the order `transformers` applies them.

Each row has its own stream of random numbers, named by what the row is asked and not by where it stands, so that it
draws the same alone or in a batch, in any order.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.generate.config import GenerateConfig

FEW = 512  # tokens looked at first
COLDEST = 1e-30  # a lower temperature would divide to infinity in float32; at this one, too, only the likeliest is left


def candidates(logits: Tensor, config: GenerateConfig) -> tuple[Tensor, Tensor | None]:
    """Returns what may be drawn of logits (R, V): weights (R, C), not summing to 1 yet, and ids (R, C) or None (all).

    temperature: logits are divided by it.
    top_h: of the likeliest 100, as many as hold top_h of the entropy.   arXiv:2509.02510.
    top_k: only the k most likely, and those that are as likely as the last of them.
    top_p: of these, the fewest whose probabilities sum to at least p.
    min_p: only tokens at least min_p times as likely as the likeliest.
    typical_p: the fewest whose -log p is nearest to the entropy and that hold this mass.   arXiv:2202.00666.
    epsilon_cutoff, eta_cutoff: only tokens this likely, or, for eta, min(eta, sqrt(eta) e^-entropy).
        arXiv:2210.15191.
    """
    if config.temperature < COLDEST:
        logits = (logits - logits.amax(-1, keepdim=True)) / COLDEST
    else:
        logits = logits / config.temperature
    ids, top_p = None, 1.0 if config.top_p is None else config.top_p
    if config.top_h is not None:
        logits = top_entropy(logits, config.top_h)
    if config.top_k is not None:
        logits, ids = top_few(logits, config.top_k)
    p = logits.softmax(-1)
    if config.top_k is None and top_p < 1:
        p, ids = likeliest(p, top_p)
    if top_p < 1:
        before = p.cumsum(-1) - p  # the mass of all likelier tokens; the first token has none and always stays
        p = p.where(before < top_p, 0.0)
    if config.min_p is not None:
        p = p.where(p >= config.min_p * p.amax(-1, keepdim=True), 0.0)
    if config.typical_p is not None and config.typical_p < 1:
        p = typical(p, config.typical_p)
    for cutoff, bounded in ((config.epsilon_cutoff, False), (config.eta_cutoff, True)):
        if cutoff is not None and 0 < cutoff < 1:
            p = likely(p, cutoff, bounded)
    return p, ids


def surprise(p: Tensor) -> Tensor:
    """Returns -p log p, whose sum over a row is its entropy in nats."""
    return -torch.xlogy(p, p)


def top_entropy(logits: Tensor, share: float) -> Tensor:
    """Returns logits without all but the likeliest that hold this share of the entropy of the likeliest 100."""
    values, ids = logits.topk(min(100, logits.shape[-1]))
    parts = surprise(values.softmax(-1))
    inside = parts.cumsum(-1) <= share * parts.sum(-1, keepdim=True)
    inside[:, 0] = True
    return torch.full_like(logits, -torch.inf).scatter(1, ids, values.where(inside, -torch.inf))


def top_few(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest logits of each row in falling order, those equal to the last too, and their ids."""
    if k >= logits.shape[-1]:
        return logits.topk(logits.shape[-1])
    values, ids = logits.topk(k + 1)
    if not bool((values[:, k] == values[:, k - 1]).any()):
        return values[:, :k], ids[:, :k]
    values, ids = logits.sort(descending=True, stable=True)
    return values.where(values >= values[:, k - 1 : k], -torch.inf), ids


def typical(p: Tensor, mass: float) -> Tensor:
    """Returns p of the tokens nearest to the entropy in -log p, as many as it takes to hold `mass`.   p: (R, C)."""
    p = p / p.sum(-1, keepdim=True)
    far = (-p.log() - surprise(p).sum(-1, keepdim=True)).abs()
    far, order = far.sort()
    last = (p.gather(1, order).cumsum(-1) < mass).sum(1, keepdim=True).clamp_(max=p.shape[-1] - 1)
    dropped = far > far.gather(1, last)
    return p.masked_fill(torch.zeros_like(dropped).scatter(1, order, dropped), 0.0)


def likely(p: Tensor, cutoff: float, bounded: bool) -> Tensor:
    """Returns p of the tokens as likely as a cutoff, which the entropy lowers where `bounded`; the likeliest stays."""
    p = p / p.sum(-1, keepdim=True)
    least = torch.full_like(p[:, :1], cutoff)
    if bounded:
        least = torch.minimum(least, cutoff**0.5 * (-surprise(p).sum(-1, keepdim=True)).exp())
    return p.where((p >= least) | (p == p.amax(-1, keepdim=True)), 0.0)


def likeliest(p: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """Returns p (R, V) and their ids in falling order, as many of them as it takes to reach `mass`, or more.

    On a CPU a few hundred are found in a small part of the time it takes to sort them all, and are mostly enough. Only
    rows for which they are not are sorted, so that the order of a row does not depend on the rows beside it.
    """
    if p.device.type != "cpu" or p.shape[-1] <= 2 * FEW:
        return p.sort(descending=True)
    values, ids = p.topk(FEW)
    short = values.sum(-1) < mass
    if not bool(short.any()):
        return values, ids
    missing = p.shape[-1] - FEW
    values, ids = F.pad(values, (0, missing)), F.pad(ids, (0, missing))
    values[short], ids[short] = p[short].sort(descending=True)
    return values, ids


def draw(p: Tensor, uniform: Tensor) -> Tensor:
    """Returns (R, 1): the index at which the running sum of p (R, C) passes uniform (R, 1) times its total."""
    mass = p.cumsum(-1, dtype=torch.float64)
    return torch.searchsorted(mass, uniform * mass[:, -1:], right=True).clamp_(max=p.shape[-1] - 1)


def share(p: Tensor, index: Tensor, uniform: Tensor) -> Tensor:
    """Returns where uniform (R, 1) stands inside the share of the index (R, 1) that it has drawn from p (R, C)."""
    mass = p.cumsum(-1, dtype=torch.float64)
    own = p.gather(1, index).double()
    inside = (uniform * mass[:, -1:] - (mass.gather(1, index) - own)) / own
    return inside.clamp(0.0, 1 - 2**-53)


def name_streams(rows: Sequence[tuple[Sequence[int], ...]], draws: int, seed: int) -> list[list[int]]:
    """Returns the seeds of `draws` streams per row. rows: the ids of each; a repeated row has new streams."""
    seen: dict[bytes, int] = {}
    names: list[list[int]] = []
    for row in rows:
        text = ";".join(",".join(map(str, ids)) for ids in row).encode()
        first = seen.get(text, 0)
        seen[text] = first + draws
        digests = (hashlib.blake2b(b"%d|%d|%s" % (seed, first + i, text), digest_size=8).digest() for i in range(draws))
        names.append([int.from_bytes(digest) >> 1 for digest in digests])
    return names


def uniforms(names: Sequence[Sequence[int]], length: int) -> npt.NDArray[np.float64]:
    """Returns (S, draws, length) numbers in [0, 1), one generator per stream; a greater length only adds numbers."""
    generators = [[torch.Generator().manual_seed(name) for name in row] for row in names]
    return np.stack(
        [np.stack([torch.rand(length, generator=g, dtype=torch.float64).numpy() for g in row]) for row in generators]
    )
