"""Maps of all mixers of a model on a text of one's own, recorded from outside: no forward has a flag for it.

Tested in tests/inspect/test_maps.py.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.inspect.maps import Call, map_of
from transduce.model.batch import Batch
from transduce.model.block import Block
from transduce.model.layout import Layout, dense
from transduce.model.mixers.mixer import Mixer
from transduce.model.models import Model, Tower
from transduce.model.state import State

ROLES = {"forward": "forward", "encode": "encode", "encode_and_write": "encode", "read": "read", "write": "write"}


class Map(NamedTuple):
    """A map of a mixer. name: where it stands. kind: see `inspect.maps`. rows, columns: the tokens.

    weights: (H, T, N), how much row t takes of column n.
    """

    name: str
    kind: str
    rows: list[str]
    columns: list[str]
    weights: Tensor


class Place(NamedTuple):
    """Where a mixer stands. name: for people. child: its name in the block."""

    name: str
    tower: Tower
    block: Block
    child: str
    mixer: Mixer


class Heard(NamedTuple):
    """A call of a mixer. tower: where it stands."""

    name: str
    tower: str
    call: Call


Written = dict[Mixer, tuple[Tensor, Layout]]


def maps(
    model: Model,
    inputs: Sequence[int],
    names: Callable[[Sequence[int]], list[str]],
    source: Sequence[int] | None = None,
) -> list[Map]:
    """Returns a map of every mixer that reads the inputs, or the source, in order.

    inputs: ids as the model reads them. source: ids, for a model that reads one. names: ids to texts for people.
    Raises UserError where the model and what is given do not fit.
    """
    model.require_source(source)
    training, device = model.training, model.device
    model.eval()
    try:
        with torch.no_grad(), listening(model) as calls:
            ids, here = torch.tensor([list(inputs)], device=device), dense(1, len(inputs), device=device)
            there = None if source is None else torch.tensor([list(source)], device=device)
            layout = None if source is None else dense(1, len(source), device=device)
            model.features(Batch(ids, here, ids, there, layout))
        out = list[Map]()
        for one in joined(calls, len(inputs)):
            kind, weights = map_of(one.call)
            own = list(source or ()) if one.tower == "encoder" else list(inputs)
            asks = list(source or ()) if one.call.role == "read" else own
            rows, columns = (labels(names, row, size) for row, size in zip((own, asks), weights.shape[1:], strict=True))
            out.append(Map(one.name, kind, rows, columns, weights.float().cpu()))
        return out
    finally:
        model.train(training)


def labels(names: Callable[[Sequence[int]], list[str]], ids: list[int], size: int) -> list[str]:
    """Returns a text for each slot: its token, or its number where the embedding makes others of the tokens."""
    return names(ids) if len(ids) == size else [str(i) for i in range(size)]


@contextmanager
def listening(model: Model) -> Generator[list[Heard]]:
    """Inside, every call of a mixer by its block is noted; what mixers call in one another is not."""
    calls, inside, written = list[Heard](), [0], Written()
    with ExitStack() as stack:
        for place in places(model):
            for role in ROLES:
                stack.enter_context(replaced(place.mixer, role, noting(place, role, calls, inside, written)))
        yield calls


def places(model: Model) -> Generator[Place]:
    """Yields the places of all mixers of a model, in order."""
    for tower in model.towers():
        for number, block in enumerate(tower.stack.blocks, 1):
            for child, mixer in block.named_children():
                if isinstance(mixer, Mixer):
                    name = " ".join(word for word in (tower.name, f"layer {number}", child) if word)
                    yield Place(name, tower, cast(Block, block), child, mixer)


def noting(
    place: Place, role: str, calls: list[Heard], inside: list[int], written: Written
) -> Callable[..., Any]:  # fmt: skip
    """Returns a method that notes what it is called with. written: what was written last into each mixer."""
    mixer, title, tower = place.mixer, place.name, place.tower.name
    act = getattr(mixer, role)

    def method(x: Tensor, layout: Layout, state: State = None) -> Any:
        if not inside[0]:
            if role == "write":
                written[mixer] = x, layout
            source, there = written.get(mixer, (None, None)) if role == "read" else (None, None)
            if role not in ("read", "write") or (role == "read" and source is not None):
                calls.append(Heard(title, tower, Call(mixer, ROLES[role], x, layout, source, there)))
        inside[0] += 1
        try:
            return act(x, layout) if role in ("encode", "encode_and_write") else act(x, layout, state)
        finally:
            inside[0] -= 1

    return method


@contextmanager
def replaced(mixer: nn.Module, role: str, method: Callable[..., Any]) -> Generator[None]:
    """Inside, a method of one module is another."""
    before = vars(mixer).get(role)
    setattr(mixer, role, method)
    try:
        yield
    finally:
        delattr(mixer, role)
        if before is not None:
            setattr(mixer, role, before)


def joined(calls: list[Heard], tokens: int) -> list[Heard]:
    """Returns calls that were made token by token as one, of all tokens together, in the place of the first."""
    out, groups = list[Heard](), dict[tuple[Mixer, str], list[Heard]]()
    for one in calls:
        if one.call.x.shape[1] != 1 or tokens == 1:
            out.append(one)
            continue
        group = groups.setdefault((one.call.mixer, one.call.role), [])
        group.append(one)
        if len(group) == tokens:
            x = torch.cat([part.call.x for part in group], 1)
            places = torch.cat([part.call.layout.positions for part in group], 1)
            out.append(one._replace(call=one.call._replace(x=x, layout=Layout(places))))
            group.clear()
    return out
