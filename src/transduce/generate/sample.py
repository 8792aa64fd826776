"""Drawing tokens: temperature, then top-k, then top-p, then min-p, in the order `transformers` applies them.

Each row has its own stream of random numbers, named by what the row is asked and not by where it stands, so that it
draws the same alone or in a batch, in any order.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transduce.generate.config import GenerateConfig

FEW = 512  # tokens looked at first


def candidates(logits: Tensor, config: GenerateConfig) -> tuple[Tensor, Tensor | None]:
    """What may be drawn of logits (R, V): weights (R, C), not yet summing to 1, and ids (R, C), None if all in order.

    temperature: logits are divided by it. top_k: only the k most likely. top_p: of these, the fewest whose
    probabilities sum to at least p. min_p: only tokens at least min_p times as likely as the likeliest.
    """
    logits, ids, top_p = logits / config.temperature, None, 1.0 if config.top_p is None else config.top_p
    if config.top_k is not None:
        logits, ids = logits.topk(min(config.top_k, logits.shape[-1]))
    p = logits.softmax(-1)
    if config.top_k is None and top_p < 1:
        p, ids = likeliest(p, top_p)
    if top_p < 1:
        before = p.cumsum(-1) - p  # the mass of all likelier tokens; the first token has none and always stays
        p = p.where(before < top_p, 0.0)
    if config.min_p is not None:
        p = p.where(p >= config.min_p * p.amax(-1, keepdim=True), 0.0)
    return p, ids


def likeliest(p: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """p (R, V) and their ids in falling order, as many of them as it takes to reach `mass`, or more.

    On a CPU a few hundred are found in a small part of the time it takes to sort them all, and are mostly enough.
    """
    if p.device.type == "cpu" and p.shape[-1] > 2 * FEW:
        values, ids = p.topk(FEW)
        if bool((values.sum(-1) >= mass).all()):
            return values, ids
    return p.sort(descending=True)


def draw(p: Tensor, uniform: Tensor) -> Tensor:
    """The index at which the running sum of p (R, C) passes uniform (R, 1) times its total.  Returns (R, 1)."""
    mass = p.cumsum(-1, dtype=torch.float64)
    return torch.searchsorted(mass, uniform * mass[:, -1:], right=True).clamp_(max=p.shape[-1] - 1)


def name_streams(rows: Sequence[tuple[Sequence[int], ...]], draws: int, seed: int) -> list[list[int]]:
    """The seeds of `draws` streams per row. rows: what each is asked; asked again, it goes on to new streams."""
    seen: dict[bytes, int] = {}
    names: list[list[int]] = []
    for asked in rows:
        text = ";".join(",".join(map(str, ids)) for ids in asked).encode()
        first = seen.get(text, 0)
        seen[text] = first + draws
        digests = (hashlib.blake2b(b"%d|%d|%s" % (seed, first + i, text), digest_size=8).digest() for i in range(draws))
        names.append([int.from_bytes(digest) >> 1 for digest in digests])
    return names


def uniforms(names: Sequence[Sequence[int]], length: int) -> npt.NDArray[np.float64]:
    """(S, draws, length) numbers in [0, 1), from one generator per stream; a greater length only adds numbers."""
    generators = [[torch.Generator().manual_seed(name) for name in row] for row in names]
    return np.stack(
        [np.stack([torch.rand(length, generator=g, dtype=torch.float64).numpy() for g in row]) for row in generators]
    )
