"""Notes what goes into and comes out of the parts of one layer while a model runs, from outside.

Tested in tests/inspect/test_stages.py.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.inspect.looking import ROLES, Heard, Place, Written, noting, replaced
from transduce.inspect.maps import Call
from transduce.model.cache import Seen
from transduce.model.layout import Layout
from transduce.model.mixers.attention import Attention
from transduce.model.positions.position import Positions
from transduce.model.state import State
from transduce.model.sublayers import Feed


class Queried(NamedTuple):
    """A call of attention. q: (1, T, H, D). seen: the keys and values. whole: see `Attention.combine`."""

    q: Tensor
    layout: Layout
    seen: Seen
    whole: bool


class Recording:
    """Tensors (1, T, features) of one layer on one text, by name, those of its first application alone.

    calls: of its mixer. queried: of attention; several where it was asked token by token.
    """

    def __init__(self) -> None:
        self.parts, self.calls, self.queried = dict[str, list[Tensor]](), list[Call](), list[Queried]()
        self.ended = False

    @property
    def sources(self) -> int:
        """Returns how many tokens of a source a mixer looked at."""
        source = self.calls[0].source
        return 0 if source is None else source.shape[1]

    def begin(self) -> None:
        """Forgets what another tower made with the same embedding."""
        if not self.ended:
            self.parts.clear()

    def note(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor) and not self.ended:  # a stream of several tensors has no one row of a token
            self.parts.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> Tensor | None:
        """Returns the rows of a part, (T, features); None where there is no such part."""
        return torch.cat(self.parts[name], 1)[0] if name in self.parts else None


@contextmanager
def recording(place: Place) -> Generator[Recording]:
    """Inside, the first application of a block is recorded, with the ends of its tower."""
    notes, block, mixer = Recording(), place.block, place.mixer
    feeds = [part.feedforward for part in block.every() if isinstance(part, Feed)]
    own = next(part for part in block.sublayers if place.child in part.names)

    def output(module: nn.Module, name: str) -> Any:
        return module.register_forward_hook(lambda _m, _x, y: notes.note(name, first(y)))

    def given(module: nn.Module, name: str) -> Any:
        return module.register_forward_pre_hook(lambda _m, x: notes.note(name, x[0]))

    def end(*_: Any) -> None:
        notes.ended = True

    hooks = [
        place.tower.embed.register_forward_pre_hook(lambda _m, _x: notes.begin()),
        output(place.tower.embed, "embedded"),
        given(block, "layer in"), output(getattr(block, own.residual), "added"), output(block, "layer out"),
    ]  # fmt: skip
    for name in feeds:
        feed = getattr(block, name)
        hooks += [given(feed, "feed in"), output(feed, "feed out")]
        if isinstance(inner := getattr(feed, "down", None), nn.Linear):
            hooks.append(given(inner, "between"))
    if isinstance(mixer, Attention):
        hooks.append(given(mixer.out, "merge"))
    hooks.append(block.register_forward_hook(end))
    try:
        with ExitStack() as stack:
            inside, written = [0], Written()
            for role in ROLES:
                stack.enter_context(replaced(mixer, role, of_role(notes, place, role, inside, written)))
            if isinstance(mixer, Attention):
                for name in ("combine", "combine_near"):
                    stack.enter_context(replaced(mixer, name, of_queries(notes, mixer, name)))
            if isinstance(positions := getattr(place.tower.embed, "positions", None), Positions):
                stack.enter_context(replaced(positions, "add", of_positions(notes, positions)))
            yield notes
    finally:
        for hook in hooks:
            hook.remove()


def first(y: Any) -> Any:
    """Returns what a module returns, without the state that some return beside it."""
    return cast("tuple[Any, ...]", y)[0] if isinstance(y, tuple) else y


def of_role(notes: Recording, place: Place, role: str, inside: list[int], written: Written) -> Callable[..., Any]:
    """Returns a method of a mixer that notes what it is called with and what it returns."""
    heard = list[Heard]()
    act = noting(place, role, heard, inside, written)

    def method(x: Tensor, layout: Layout, state: State = None) -> Any:
        before = len(heard)
        y = act(x, layout, state)
        if len(heard) > before and not notes.ended:
            notes.calls.append(heard[-1].call)
            notes.note("mixer in", x)
            notes.note("projection", first(y))
        return y

    return method


def of_queries(notes: Recording, mixer: Attention, name: str) -> Callable[..., Tensor]:
    """Returns a method of attention that notes its queries, keys and values."""
    act = getattr(mixer, name)

    def combine(q: Tensor, layout: Layout, seen: Seen, whole: bool = False) -> Tensor:
        if not notes.ended:
            notes.queried.append(Queried(q, layout, seen, whole))
        return act(q, layout, seen, whole)

    def combine_near(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, causal: bool) -> Tensor:
        if not notes.ended:
            rule = mixer.recall.rule if causal else mixer.recall.around
            mask = rule.mask(layout, layout.positions, layout.segments)
            notes.queried.append(Queried(q, layout, Seen((k, v), layout.positions, mask), True))
        return act(q, k, v, layout, causal=causal)

    return combine if name == "combine" else combine_near


def of_positions(notes: Recording, positions: Positions) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns a method that notes what an encoding adds to vectors."""
    act = positions.add

    def add(x: Tensor, places: Tensor) -> Tensor:
        y = act(x, places)
        if y is not x:
            notes.note("positions", act(torch.zeros_like(x), places))
        return y

    return add
