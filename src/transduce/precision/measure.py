"""The precision that is the fastest on this machine for the matrices of a model, measured in a fraction of a second."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.model.heads.linear import LinearHead
from transduce.model.models import Model
from transduce.precision.codes import GROUP, Int4, padded
from transduce.precision.convert import Precision, lowered, matrices
from transduce.precision.packed import Packed

SIZES = (1, 32)  # rows that are multiplied at once: a text alone, and a batch or a prompt
WORTH = 1.05  # times as fast as float32 must be for another precision to be chosen
ROUNDS, ENOUGH = 3, 0.004  # of each product: times it is measured, and the least seconds of each
MOST_SHAPES = 6  # of those with the most numbers


class Speed(NamedTuple):
    """The speed of the products beside float32, of one row and of 32."""

    alone: float
    together: float

    @property
    def mean(self) -> float:
        return (self.alone * self.together) ** 0.5

    def __str__(self) -> str:
        return f"products {self.alone:.2g}x as fast as in fp32 for {SIZES[0]} row, {self.together:.2g}x for {SIZES[1]}"


def speeds(model: Model, kinds: Sequence[Precision]) -> dict[Precision, Speed]:
    """Returns how fast a model's matrices multiply in each precision. Every shape is measured once, all in turn."""
    parts: dict[tuple[object, ...], nn.Linear | LinearHead] = {}
    counts = Counter[tuple[object, ...]]()
    for part in matrices(model).values():
        key = type(part), tuple(part.weight.shape)
        parts.setdefault(key, part)
        counts[key] += 1
    chosen = sorted(parts, key=lambda key: -counts[key] * parts[key].weight.numel())[:MOST_SHAPES]
    spent = {kind: [0.0, 0.0] for kind in ("fp32", *kinds)}
    with torch.inference_mode():
        for key in chosen:
            part = parts[key]
            maps = {"fp32": full_of(part), **{kind: lowered(part, kind, blank(part, kind)) for kind in kinds}}
            for at, rows in enumerate(SIZES):
                x = torch.randn(rows, part.weight.shape[1], device=part.weight.device)
                for kind, seconds in in_turn({kind: product(m, x) for kind, m in maps.items()}).items():
                    spent[kind][at] += counts[key] * seconds
    full = spent["fp32"]
    return {kind: Speed(*(full[at] / max(spent[kind][at], 1e-9) for at in (0, 1))) for kind in kinds}


def blank(part: nn.Linear | LinearHead, kind: Precision) -> Int4 | None:
    """Returns codes of four bits that stand for nothing: finding them takes longer than all else. None: others."""
    if kind != "int4" or isinstance(part, LinearHead):
        return None
    codes = torch.zeros_like(padded(part.weight.detach()), dtype=torch.uint8)
    scale = torch.ones(len(codes), codes.shape[1] // GROUP, dtype=torch.bfloat16)
    return Int4(codes, scale, scale)


def full_of(part: nn.Linear | LinearHead) -> nn.Module:
    """Returns what multiplies in float32, packed where decoding packs it."""
    packable = part.weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return Packed(part.weight, cast("Tensor | None", part.bias)) if packable else part


def product(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """Returns what is timed; of a GPU with the end of the work."""

    def run() -> Tensor:
        y = module(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        return y

    return run


def in_turn(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Returns the least seconds of each call, over rounds in which all take turns.

    With one thread they are seconds of the processor, which other processes do not lengthen.
    """
    clock = time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            count, start = 0, clock()
            while count == 0 or clock() - start < ENOUGH:
                call()
                count += 1
            best[name] = min(best[name], (clock() - start) / count)
    return best


def able(kind: Precision, device: torch.device) -> bool:
    """Says whether matrices can lie in a precision on a device."""
    return kind in ("fp32", "bf16") or device.type == "cpu"


def fastest(speeds_by_kind: dict[Precision, Speed]) -> Precision:
    """Returns the precision whose products are the fastest; float32 unless another one is worth it."""
    worth: list[Precision] = [kind for kind, speed in speeds_by_kind.items() if speed.mean >= WORTH]
    return max(worth, key=lambda kind: speeds_by_kind[kind].mean) if worth else "fp32"
