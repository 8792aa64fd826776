"""Prompts and sources are read at once, or in groups of like length, so that each is read as it is alone, to the bit.

What a product or a sum over keys gives for a row depends, in its last bits, on the shape it is computed in. So a row is
read in shapes that its own length decides: 1 token, or so many blocks of 16, at most 2 of them at once.
"""

import torch
from torch import Tensor

from transduce.generate.inputs import Ids, Shown, pad
from transduce.model.cache import BLOCK, blocks
from transduce.model.layout import Layout, dense, right_padded
from transduce.model.models import Model
from transduce.model.state import State, assign, join, over, select, tensors

CHUNK = 32  # tokens read at once, so that rows that write do not wait long for one that is read


def read_prompts(
    model: Model, prompts: Ids, room: int, memory: State, same: bool = False
) -> tuple[Tensor, State, Tensor]:  # fmt: skip
    """Reads what the decoder begins with. room: slots for each row, those of the prompt included. same: each prompt is
    read as it is alone, to the last bit.

    Returns the hidden states of the last tokens (B, M), the state, and the positions of the last tokens (B, 1).
    """
    groups, device = grouped(prompts, same), model.device
    order = [row for _, rows in groups for row in rows]
    state, hidden, start = model.init_state(len(order), room), list[Tensor](), 0
    for width, rows in groups:
        stop, some = start + len(rows), torch.tensor(rows, device=device)
        part = over(state, lambda x, a=start, b=stop: x[a:b])
        ids, layout = grid([prompts[row] for row in rows], width, same, device)
        layout = layout._replace(start=0)
        most = CHUNK if same else width
        source = memory if len(groups) == 1 else select(memory, some)
        y = torch.empty(0)
        for at in range(0, width, most):
            piece = layout if width <= most else layout.slice(at, at + most)
            y, after = model.step(ids[:, at : at + most], piece, part, source)
            part = keep(part, after)
        last = layout.positions.amax(1) % most
        hidden.append(y[torch.arange(len(rows), device=device), last])
        start = stop
    whole, lengths = torch.cat(hidden), torch.tensor([[len(row) - 1] for row in prompts], device=device)
    if order == sorted(order):
        return whole, state, lengths
    back = torch.tensor(order, device=device).argsort()
    return whole[back], select(state, back), lengths


def keep(state: State, after: State) -> State:
    """`state` with the numbers of `after`, which mostly are there already: lists of tokens grow in place."""
    for mine, new in zip(tensors(state), tensors(after), strict=True):
        if mine.data_ptr() != new.data_ptr():
            assign(mine, new)
    return state


def read_sources(model: Model, sources: Ids, same: bool = False) -> State:
    """Returns what the decoder reads of the sources at every step. same: as in `read_prompts`."""
    if same and any(isinstance(row, Shown) for row in sources):
        return join([model.remember(*pad([row], model.device)) for row in sources])
    groups, device = grouped(sources, same, least=BLOCK), model.device
    order = [row for _, rows in groups for row in rows]
    memory = join(
        [model.remember(*grid([sources[row] for row in rows], width, same, device)) for width, rows in groups]
    )
    return memory if order == sorted(order) else select(memory, torch.tensor(order, device=device).argsort())


def grouped(rows: Ids, same: bool, least: int = 1) -> list[tuple[int, list[int]]]:
    """Returns how wide a grid is, and the numbers of the rows that stand in it, for every grid, the narrowest first.

    same: rows stand in grids of whole blocks that their own lengths decide; otherwise all stand in one. least: slots of
    the narrowest, where a row of a single token stands in every step of decoding.
    """
    if not same:
        return [(max(map(len, rows)), list(range(len(rows))))]
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(least if len(row) == 1 else blocks(len(row)), []).append(i)
    return sorted(groups.items())


def grid(rows: Ids, width: int, same: bool, device: torch.device) -> tuple[Tensor, Layout]:
    """Returns (B, width) ids with zeros on the right, and their layout. same: it is that of padded rows, even where
    there is no padding, since a row may not be read in another way for what stands beside it."""
    if not same:
        return pad(rows, device)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    if width == 1:
        return ids, dense(len(rows), 1, device=device)
    return ids, right_padded(torch.tensor([len(row) for row in rows], device=device), width)
