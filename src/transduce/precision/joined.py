"""Maps of the same input, such as those to queries, keys and values, as one product."""

import threading
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from transduce.model.block import Block
from transduce.model.heads.linear import LinearHead
from transduce.precision.codes import Int4, Int8
from transduce.precision.maps import Map

QUERY = "q"  # of a mixer that reads a source, reads another input than the rest


class Joint:
    """The product of the last input, until all parts of it were taken. Every thread has its own."""

    def __init__(self, product: nn.Module, parts: int) -> None:
        self.product, self.parts, self.last = product, parts, threading.local()

    def of(self, x: Tensor) -> Tensor:
        """Returns the maps of x, (..., N), side by side."""
        last = vars(self.last)
        if last.get("x") is not x:
            last.update(x=x, y=self.product(x), left=self.parts)
        y, last["left"] = cast(Tensor, last["y"]), last["left"] - 1
        if not last["left"]:
            last.clear()
        return y


class Part(Map):
    """Features start to stop of a joint product; the first part that is asked multiplies for all."""

    def __init__(self, joint: Joint, start: int, stop: int, in_features: int) -> None:
        super().__init__(stop - start, in_features, None)
        self.joint, self.start = joint, start

    def forward(self, x: Tensor) -> Tensor:
        return self.joint.of(x).narrow(-1, self.start, self.out_features)


def groups(model: nn.Module, parts: Mapping[str, nn.Linear | LinearHead]) -> Iterator[list[str]]:
    """Yields the names of maps that always read the same input, as their modules declare it in `same_input`."""
    names = {part: name for name, part in parts.items()}
    crossing = {mixer for block in model.modules() if isinstance(block, Block) for mixer in block.crosses()}
    for module in model.modules():
        wanted = [name for name in getattr(module, "same_input", ()) if module not in crossing or name != QUERY]
        maps = [getattr(module, name) for name in wanted]
        if len(maps) > 1 and all(part in names for part in maps):
            alike = {(part.in_features, part.bias is None) for part in maps}
            if len(alike) == 1 and len(set(maps)) == len(maps):
                yield [names[part] for part in maps]


def stacked(codes: list[Int8 | Int4]) -> Int8 | Int4:
    """Returns the codes of matrices with as many columns, one below the other."""
    assert len({type(one) for one in codes}) == 1
    return type(codes[0])(*(torch.cat(field) for field in zip(*codes, strict=True)))
