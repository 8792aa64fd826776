"""The taps of a convolution against torch.nn.Conv1d, and against a walk through each document."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.layout import Layout, dense, packed, right_padded
from transduce.model.ops.conv import around, before, depthwise

SHAPES = [(2, 1), (3, 1), (3, 4), (4, 3), (5, 2)]


def walk(x: Tensor, layout: Layout, kernel: int, dilation: int) -> list[Tensor]:
    """Tap j of every token, found in the list of what the document had before it."""
    taps = [torch.zeros_like(x) for _ in range(kernel)]
    for row in range(x.shape[0]):
        document: list[Tensor] = []
        for t in range(x.shape[1]):
            if layout.positions[row, t] < 0:
                continue
            document = document if layout.positions[row, t] else []
            document.append(x[row, t])
            for j in range(kernel):
                if j * dilation < len(document):
                    taps[j][row, t] = document[-1 - j * dilation]
    return taps


def holed() -> Layout:
    """Two documents and padding between, before and inside them."""
    positions = [[-1, 0, 1, -1, 2, 3, -1, -1, 0, 1, -1, 2, -1], [4, -1, 5, 6, 0, 0, 1, 2, -1, -1, 3, 4, 5]]
    segments = [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2]]
    return Layout(torch.tensor(positions), segments=torch.tensor(segments))


@pytest.mark.parametrize(("kernel", "dilation"), SHAPES)
def test_taps_side_by_side_are_the_convolution_of_torch(kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 13, 5, dtype=torch.float64)
    for groups in (1, 5):
        conv = torch.nn.Conv1d(5, 5, kernel, dilation=dilation, groups=groups, bias=False, dtype=torch.float64)
        taps, past = before(x, dense(2, 13), kernel, dilation)
        assert past is None
        flipped = conv.weight.flip(2)  # torch's last tap is the token itself
        if groups == 1:
            y = F.linear(torch.cat(taps, -1), flipped.transpose(1, 2).flatten(1))
        else:
            y = depthwise(taps, flipped[:, 0].mT)
        torch.testing.assert_close(y, conv(F.pad(x.mT, ((kernel - 1) * dilation, 0))).mT)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_around_is_the_convolution_with_same_padding(kernel: int) -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(2, 13, 5, dtype=torch.float64), torch.tensor([13, 6])
    conv = torch.nn.Conv1d(5, 5, kernel, dilation=2, padding="same", groups=5, bias=False, dtype=torch.float64)
    y = depthwise(around(x, right_padded(lengths, 13), kernel, 2), conv.weight.flip(2)[:, 0].mT)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[row, :n], conv(x[row : row + 1, :n].mT).mT[0])


@pytest.mark.parametrize(("kernel", "dilation"), SHAPES)
@pytest.mark.parametrize(
    "layout", [dense(2, 13), packed([[5, 1, 6], [8, 4]], 13), right_padded(torch.tensor([4, 13]), 13), holed()]
)
def test_taps_stay_in_their_document_in_any_chunks(layout: Layout, kernel: int, dilation: int) -> None:
    x = torch.randn(2, 13, 3, generator=torch.Generator().manual_seed(0))
    expected, valid = walk(x, layout, kernel, dilation), layout.valid
    for tap, other in zip(before(x, layout, kernel, dilation)[0], expected, strict=True):
        assert torch.equal(tap[valid], other[valid])
    for cuts in ([0, 13], [0, 4, 5, 13], [0, 2, 3, 7, 8, 13], list(range(14))):
        inside = layout.positions[:, 0] > 0  # elsewhere what is past is of another document
        past = torch.where(inside, 0.0, 7.0)[:, None, None].expand(2, (kernel - 1) * dilation, 3)
        parts: list[list[Tensor]] = []
        for start, stop in pairwise(cuts):
            taps, after = before(x[:, start:stop], layout.slice(start, stop), kernel, dilation, past)
            assert after is not None
            assert after.shape == past.shape
            past = after
            parts.append(taps)
        for tap, other in zip(zip(*parts, strict=True), expected, strict=True):
            assert torch.equal(torch.cat(tap, 1)[valid], other[valid])


def test_what_is_past_is_given_on_when_the_first_token_is_not_a_start() -> None:
    past = torch.arange(1.0, 5.0).view(1, 4, 1)
    x = torch.tensor([[[5.0], [6.0]]])
    taps, after = before(x, dense(1, 2, start=1), 3, 2, past)  # as a decoder goes on from an encoder
    assert [tap.flatten().tolist() for tap in taps] == [[5.0, 6.0], [3.0, 4.0], [1.0, 2.0]]
    assert after is not None
    assert after.flatten().tolist() == [3.0, 4.0, 5.0, 6.0]


def test_padding_on_the_right_is_not_past() -> None:
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    right = right_padded(torch.tensor([2, 4]), 5)
    _, past = before(x, right, 3, 2, torch.full((2, 4, 3), 7.0))
    assert past is not None
    assert torch.equal(past[0], torch.cat([torch.zeros(2, 3), x[0, :2]]))
    assert torch.equal(past[1], x[1, :4])


def test_a_long_row_with_gaps_is_its_documents() -> None:
    """Tokens keep their order however many there are, with padding between them."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(2, 300, generator=generator) < 0.7
    rank = real.cumsum(1) - 1
    positions = torch.where(real, torch.where(rank < 90, rank, rank - 90), -1)
    layout = Layout(positions, segments=(rank >= 90).long())
    x = torch.randn(2, 300, 3, generator=generator)
    for ours, expected in zip(before(x, layout, 4, 3)[0], walk(x, layout, 4, 3), strict=True):
        assert torch.equal(ours[real], expected[real])
