"""Every part a recipe can name: its formula and source, and what a mixer costs, counted on the part itself."""

import inspect as python
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, cast

import torch

from transduce.config import Part, kinds
from transduce.inspect.counts import flops
from transduce.inspect.listed import FOLDERS, WIDTH, Growth, Listed
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import dense
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import NoPositionsConfig
from transduce.model.state import nbytes

SHORT, LONG = 32, 64  # tokens, between which cost and state are told apart into a fixed part and one that grows


@dataclass(frozen=True)
class PartFacts:
    """The facts about one kind. Costs are of mixers that run causally, at a width of 256."""

    key: str  # of a recipe: mixer, norm, ...
    kind: str
    formula: str
    source: str
    config: type[Part]
    flops: Growth | None = None  # per token, matrix products only
    state: Growth | None = None  # bytes per row

    @property
    def options(self) -> list[tuple[str, str]]:
        """Returns the keys a recipe may set, with their defaults."""
        return [(f.name, _default(f)) for f in fields(cast(Any, self.config)) if f.init]


def parts(counted: bool = True) -> Iterator[PartFacts]:
    """Yields every kind of every part of a model. counted: measure what mixers cost, which takes a second or two."""
    for key, folder in FOLDERS.items():
        for kind, config in kinds(folder).items():
            formula, _, source = first_line(config).partition("   ")
            costs = mixer_costs(cast(type[MixerConfig], config)) if counted and key == "mixer" else (None, None)
            yield PartFacts(key, kind, formula.strip(), source.strip(), config, *costs)


def described(part: PartFacts) -> Listed:
    """Returns a part as it is listed."""
    text = python.getdoc(part.config) or ""
    name, options = part.config.__name__, part.options
    return Listed(
        part.key, part.kind, part.formula, part.source, name, options, part.flops, part.state, text, limits(part)
    )  # fmt: skip


def limits(facts: PartFacts) -> list[str]:
    """Returns what a mixer cannot do, and why."""
    if facts.key != "mixer" or facts.config.kind == "none":
        return []
    config = cast(type[MixerConfig], facts.config)()
    cannot, wrapped = build(config).cannot, config.in_order
    places = {"encode": "in an encoder", "forward": "in a decoder", "read": "between source and target"}
    if wrapped:
        cannot = {method: reason for method, reason in cannot.items() if method != "encode"}
    sentences = [f"not {where}: {cannot[method]}" for method, where in places.items() if method in cannot]
    return ["in an encoder: wrapped in bidirectional, by itself", *sentences] if wrapped else sentences


def first_line(config: type[Part]) -> str:
    return (python.getdoc(config) or "").split("\n")[0]


def build(config: MixerConfig, width: int = WIDTH) -> Mixer:
    """Returns a mixer alone, with start values, without positions."""
    mixer = config.build(width, NoPositionsConfig().build(width, None)).eval()
    XavierInit().apply(mixer, Sizes(width, 0, 1), seed=0)
    return mixer


@torch.no_grad()
def mixer_costs(config: type[MixerConfig]) -> tuple[Growth | None, Growth | None]:
    """Returns FLOPs per token and bytes of state with the default options (None: the mixer is not causal)."""
    if config.absent:
        return None, None
    mixer = build(config())
    if "forward" in mixer.cannot:
        return None, None
    x, device, work, size = torch.randn(1, 1, WIDTH), torch.device("cpu"), list[int](), list[int]()
    for tokens in (SHORT, LONG):
        state = mixer.init_state(1, tokens, device=device, dtype=torch.float32)
        size.append(nbytes(state))
        _, state = mixer(torch.randn(1, tokens - 1, WIDTH), dense(1, tokens - 1), state)
        work.append(flops(lambda s=state, n=tokens: mixer(x, dense(1, 1, start=n - 1), s)))
    return growth(*work), growth(*size)


def growth(short: float, long: float) -> Growth:
    slope = (long - short) / (LONG - SHORT)
    return Growth(short - slope * SHORT, slope)


def _default(field: Any) -> str:
    if field.default_factory is not MISSING:
        value = field.default_factory()
        return value.kind if isinstance(value, Part) else str(value)
    if field.default is MISSING:
        return "required"
    return "null" if field.default is None else str(field.default).lower() if isinstance(field.default, bool) else str(
        field.default
    )  # fmt: skip
