"""The matrices of a model in fewer bits, and their exchange for maps that multiply by those."""

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.model.heads.head import Head
from transduce.model.heads.linear import LinearHead
from transduce.precision.codes import Int4, Int8, round_int4, round_int8
from transduce.precision.joined import Joint, Part, groups, stacked
from transduce.precision.maps import Int4Map, Int8Map, LowMap, Map, MapHead

Precision = Literal["fp32", "bf16", "int8", "int4"]
Asked = Literal["auto", "fp32", "bf16", "int8", "int4"]
Codes = Mapping[str, Int8 | Int4]
LEAST = 1 << 12  # numbers of a matrix; a smaller one stays as it is, since nothing would be gained


class Share(NamedTuple):
    """low: numbers of matrices that are in fewer bits. all: numbers of the model."""

    low: int
    all: int

    def __str__(self) -> str:
        return f"{100 * self.low / max(self.all, 1):.0f} % of {self.all:,} numbers"


def matrices(model: nn.Module, least: int = LEAST) -> dict[str, nn.Linear | LinearHead]:
    """Returns what can be exchanged, by name: linear maps of blocks, bridges and embeddings, and the head for tokens.

    Not those that a module multiplies by itself (`multiplied`), that have hooks, or that are small; nor the maps inside
    of a head.
    """
    return {name: part for name, part in named(model, "", set()) if part.weight.numel() >= least}


def named(module: nn.Module, prefix: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Linear | LinearHead]]:
    """Yields the linear maps below a module, each once."""
    own: tuple[str, ...] = getattr(module, "multiplied", ())
    for name, part in module.named_children():
        if part in seen or name in own:
            continue
        seen.add(part)
        hooked = vars(part)["_forward_hooks"] or vars(part)["_forward_pre_hooks"]
        if type(part) in (nn.Linear, LinearHead):
            if not hooked and part.weight.dtype == torch.float32:
                yield prefix + name, cast("nn.Linear | LinearHead", part)
        elif not isinstance(part, Head):
            yield from named(part, f"{prefix}{name}.", seen)


def rounded(part: nn.Linear | LinearHead, precision: Precision) -> Int8 | Int4:
    """Returns the codes of a matrix, without compensation. Those of a head have eight bits."""
    return round_int4(part.weight) if precision == "int4" and type(part) is nn.Linear else round_int8(part.weight)


def lowered(part: nn.Linear | LinearHead, precision: Precision, codes: Int8 | Int4 | None = None) -> nn.Module:
    """Returns what stands in the place of a part. codes: of its matrix (None: they are found here)."""
    if precision != "bf16" and codes is None:
        codes = rounded(part, precision)
    coded = mapped(part.weight, cast("Tensor | None", part.bias), codes)
    return MapHead(part, coded) if isinstance(part, LinearHead) else coded


def mapped(weight: Tensor, bias: Tensor | None, codes: Int8 | Int4 | None) -> Map:
    """Returns the map that multiplies by codes, or where there are none by the matrix in bfloat16."""
    if codes is None:
        return LowMap(weight, bias)
    return Int8Map(codes, bias) if isinstance(codes, Int8) else Int4Map(codes, bias, weight.shape[1])


def convert(model: nn.Module, precision: Precision, codes: Codes | None = None, least: int = LEAST) -> Share:
    """Exchanges the matrices of a model, which gives them up. codes: by name (None: they are found here).

    The table of an embedding stays in float32, also where it is that of the head.
    """
    parts, total = matrices(model, least), sum(p.numel() for p in model.parameters())
    low = sum(part.weight.numel() for part in parts.values())
    for names in list(groups(model, parts)):
        some = [parts.pop(name) for name in names]
        of = None if precision == "bf16" else [
            rounded(part, precision) if codes is None else codes[name] for name, part in zip(names, some, strict=True)
        ]  # fmt: skip
        join(model, some, mapped(*side_by_side(some), None if of is None else stacked(of)))
    for name in list(parts):
        part = parts.pop(name)
        exchange(model, part, lowered(part, precision, None if codes is None else codes[name]))
    trim()
    return Share(low, total)


def join(model: nn.Module, parts: Sequence[nn.Linear | LinearHead], product: nn.Module) -> None:
    """Puts parts of one product in the place of maps of the same input."""
    joint, start = Joint(product, len(parts)), 0
    for part in parts:
        stop = start + part.weight.shape[0]
        exchange(model, part, Part(joint, start, stop, part.weight.shape[1]))
        start = stop


def side_by_side(parts: Sequence[nn.Linear | LinearHead]) -> tuple[Tensor, Tensor | None]:
    """Returns the matrices of maps one below the other, and their biases."""
    weights, biases = [part.weight.detach() for part in parts], [part.bias for part in parts if part.bias is not None]
    return torch.cat(weights), torch.cat([bias.detach() for bias in biases]) if biases else None


def trim() -> None:
    """Hands memory that was freed back to the system, where the C library can (glibc)."""
    if sys.platform == "linux" and (hand_back := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        hand_back(0)


def exchange(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts a module in the place of another, wherever that stands."""
    for parent in list(model.modules()):
        children: dict[str, nn.Module | None] = vars(parent)["_modules"]
        for name, child in children.items():
            if child is old:
                children[name] = new
