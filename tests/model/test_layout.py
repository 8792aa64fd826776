"""Layouts against what they say, slot by slot: slices, documents, and who sees whom."""

from itertools import product

import pytest
import torch
from torch import Tensor

from transduce.model.layout import (
    Marks,
    Visibility,
    dense,
    documents,
    infilling,
    left_padded,
    packed,
    prefixed,
    right_padded,
)
from transduce.model.state import tensors

T = 7
LAYOUTS = {
    "dense": dense(3, T),
    "later": dense(3, T, start=4),
    "right": right_padded(torch.tensor([T, 2, 4]), T),
    "left": left_padded(torch.tensor([T, 2, 4]), T),
    "packed": packed([[3, 4], [1, 1, 3], [5]], T),
    "prefix": prefixed(right_padded(torch.tensor([T, 2, 4]), T), torch.tensor([[3], [1], [0]])),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_fields_say_one_thing(name: str) -> None:
    layout = LAYOUTS[name]
    assert torch.equal(layout.valid, layout.positions >= 0)
    assert torch.equal(layout.starts, layout.positions == 0)
    assert torch.equal(layout.place, layout.positions)
    if layout.lengths is not None:
        assert torch.equal(layout.lengths, layout.valid.sum(1))
    if not layout.padded:
        assert layout.valid.all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_slice_is_every_field_sliced(name: str) -> None:
    whole = LAYOUTS[name]
    whole = whole._replace(marks=Marks(torch.arange(T).expand(3, -1), whole.positions + 1)).seen(
        2 * whole.positions, None
    )
    for start, stop in ((a, b) for a, b in product(range(T), range(1, T + 1)) if a < b):
        part = whole.slice(start, stop)
        for field in ("positions", "segments", "types", "inner", "places", "reach"):
            full, cut = getattr(whole, field), getattr(part, field)
            assert (full is None) == (cut is None)
            assert full is None or torch.equal(cut, full[:, start:stop]), field
        assert (part.lengths is None) == (whole.lengths is None)
        if part.lengths is not None:
            assert part.lengths.tolist() == part.valid.sum(1).tolist()


def test_rows_are_rows_of_every_field() -> None:
    order = torch.tensor([2, 0, 0])
    for layout in LAYOUTS.values():
        marked = layout._replace(marks=Marks(layout.positions + 1)).seen(None, layout.positions + 2)
        for full, chosen in zip(tensors(marked), tensors(marked.rows(order)), strict=True):
            assert torch.equal(chosen, full[order])
        assert [x is None for x in marked] == [x is None for x in marked.rows(order)]


@pytest.mark.parametrize("name", ["dense", "right", "left", "packed"])
def test_documents_are_split_and_joined(name: str) -> None:
    layout = LAYOUTS[name]
    each, x = documents(layout), torch.randn(3, T, 2) * LAYOUTS[name].valid[..., None]
    parts = each.split(x)
    assert torch.equal(each.join(parts), x)
    expected = list[Tensor]()
    for row in range(3):
        numbers = torch.zeros(T) if layout.segments is None else layout.segments[row]
        for number in numbers[layout.valid[row]].unique():
            expected.append(x[row][layout.valid[row] & (numbers == number)])
    assert each.layout.lengths is not None
    assert each.layout.lengths.tolist() == [len(alone) for alone in expected]
    for part, alone in zip(parts, expected, strict=True):
        assert torch.equal(part[: len(alone)], alone)
    assert each.layout.positions[:, 0].tolist() == [0] * len(expected)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("window", "sinks"), [(None, 0), (1, 0), (3, 0), (2, 1), (3, 2)])
def test_a_mask_is_the_rule_asked_of_every_pair(name: str, causal: bool, window: int | None, sinks: int) -> None:
    layout = LAYOUTS[name]
    mask = Visibility(causal=causal, window=window, sinks=sinks).mask(layout, layout.positions, layout.segments)
    mask = mask.expand(3, 1, T, T)
    for row, i, j in product(range(3), range(T), range(T)):
        q, k = int(layout.positions[row, i]), int(layout.positions[row, j])
        if q < 0:
            continue  # a row of padding may see anything
        sees = k >= 0
        if layout.reach is not None:
            sees = sees and k <= int(layout.reach[row, i])
        elif causal:
            sees = sees and k <= q
        if window is not None:
            near = q - k < window if causal else abs(q - k) < window
            sees = sees and (near or k < sinks)
        if layout.segments is not None:
            sees = sees and bool(layout.segments[row, i] == layout.segments[row, j])
        assert bool(mask[row, 0, i, j]) == sees, (row, i, j)


def test_padding_sees_something_so_that_it_stays_finite() -> None:
    for name in ("right", "left", "packed"):
        layout = LAYOUTS[name]
        mask = Visibility(causal=True, window=1).mask(layout, layout.positions, layout.segments)
        assert mask[:, 0][~layout.valid].any(-1).all()


def test_the_figure_of_glm() -> None:
    """Du et al. 2021, fig. 2: x1 x2 M x4 M, then x5 x6 in the blank at 5, and x3 in the one at 3 (numbered from 0)."""
    layout = infilling([(5, [(4, 3), (2, 2)])], 11)
    assert layout.place.tolist() == [[0, 1, 2, 3, 4, 4, 4, 4, 2, 2, -1]]
    assert layout.inner is not None
    assert layout.inner.tolist() == [[0, 0, 0, 0, 0, 1, 2, 3, 1, 2, 0]]
    assert layout.reach is not None
    assert layout.reach[0, :10].tolist() == [4, 4, 4, 4, 4, 5, 6, 7, 8, 9]
