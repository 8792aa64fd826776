"""The head of pixels puts patches where the embedding takes them from."""

from typing import Any

import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.embed.patches import PatchesConfig
from transduce.model.heads.pixels import PixelsHead, PixelsHeadConfig
from transduce.model.layout import dense
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.position import Positions


@pytest.mark.parametrize("class_token", [False, True])
def test_patches_that_are_cut_out_come_back_in_their_place(class_token: bool) -> None:
    """The head with the identity for its map undoes the cut of the embedding."""
    picture, patch, channels = (6, 4), 2, 3
    cut: Any = PatchesConfig(picture=picture, patch=patch, class_token=class_token).build(
        channels, 12, LayerNorm(), Positions(), scale=1.0, p=0.0
    )
    head: Any = PixelsHeadConfig(picture=picture, patch=patch).build(channels, 12, LayerNorm(), None)
    with torch.no_grad():
        head.output.weight.copy_(torch.eye(12))
        head.output.bias.zero_()
    pictures = torch.randn(2, channels, *picture)
    slots = cut.cut(pictures)
    if class_token:
        slots = torch.cat([torch.full((2, 1, 12), 9.0), slots], 1)
    assert torch.equal(head(slots, dense(2, slots.shape[1])).view(pictures.shape), pictures)


def test_it_begins_with_zeros_and_has_as_many_numbers_as_a_picture() -> None:
    head = PixelsHeadConfig(picture=(6, 4), patch=2, channels=5).build(3, 8, LayerNorm(), None)
    assert isinstance(head, PixelsHead)
    assert (head.size, head.per) == (5 * 6 * 4, "row")
    assert set(head.start()) == {"output.weight", "output.bias"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "does not know how large pictures"), ({"picture": [4, 4]}, "does not know how large"),
        ({"picture": [5, 4], "patch": 2}, "5 x 4 pixels are not whole patches"), ({"picture": [4]}, "not a height"),
        ({"picture": [4, 4], "patch": 0}, "patch=0 must be"),
    ],
)  # fmt: skip
def test_what_makes_no_picture_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(PixelsHeadConfig, data).build(3, 8, LayerNorm(), None)
