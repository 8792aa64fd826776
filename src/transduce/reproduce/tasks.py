"""Tasks made in place: what has to be remembered, copied and looked up is known exactly."""

from typing import NamedTuple

import torch
from torch import Tensor

from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model

BEGIN = 0  # the first input of a decoder


class Recall(NamedTuple):
    """Symbols (B, T), and as targets (B, T) the first of them, asked for at the end; -1 elsewhere."""

    ids: Tensor
    targets: Tensor


def recall(rows: int, tokens: int, symbols: int, generator: torch.Generator) -> Recall:
    """Returns rows whose answer is what stood first, `tokens` - 1 places ago."""
    ids = torch.randint(symbols, (rows, tokens), generator=generator)
    targets = torch.full_like(ids, -1)
    targets[:, -1] = ids[:, 0]
    return Recall(ids, targets)


def copying(rows: int, tokens: int, symbols: int, generator: torch.Generator) -> Batch:
    """Random strings of symbols 1..symbols to be written as they were read. The decoder is given the target shifted
    by one, behind BEGIN, so that it never sees what it is to write."""
    source = torch.randint(1, symbols + 1, (rows, tokens), generator=generator)
    inputs = torch.cat([torch.full((rows, 1), BEGIN), source[:, :-1]], 1)
    return Batch(inputs, dense(rows, tokens), source, source, dense(rows, tokens))


@torch.no_grad()
def written(model: Model, source: Tensor) -> Tensor:
    """Returns what the model writes by itself: its likeliest tokens, as many as were read. (B, N) ids -> (B, N)."""
    rows, tokens = source.shape
    memory, state = model.remember(source, dense(rows, tokens)), model.init_state(rows, tokens)
    ids, parts = torch.full((rows, 1), BEGIN), list[Tensor]()
    for t in range(tokens):
        hidden, state = model.step(ids, dense(rows, 1, t), state, memory)
        ids = model.token_head(hidden).argmax(-1)
        parts.append(ids)
    return torch.cat(parts, 1)
