"""Who comes from whom: chains back to the Transformer, the shape of a system, differences, and the tree."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from transduce.catalogue.entry import TEXT, Counted, Entry, catalogue, entry


def chain(model: Entry) -> list[Entry]:
    """Returns the entry, its parent, the parent of that, ... to the one that has none."""
    line = [model]
    while (parent := line[-1].parent) is not None:
        line.append(entry(parent))
    return line


def shape(model: Entry) -> Mapping[str, Any]:
    """Returns the shape, its own or that of the nearest ancestor that has one; empty if none has."""
    return next((one.shape for one in chain(model) if one.shape), model.shape)


def counted(model: Entry) -> Counted | None:
    """Returns another count (see `entry.Counted`) of the entry, or of the ancestor whose shape it is built in."""
    buildable = model.buildable and model.family in TEXT
    return model.counted or (next(one for one in chain(model) if one.shape).counted if buildable else None)


def deviation(model: Entry, params: int | None) -> float | None:
    """Returns (params - published) / published, in the published scope."""
    if model.published is None or params is None:
        return None
    whole = model.counted
    outside = 0 if whole is None or whole.in_scope is None else whole.params - whole.in_scope
    return (params - outside) / model.published.params - 1


def off_by(deviation: float) -> str:
    """Returns a deviation in percent."""
    text = f"{deviation:+.1%}"
    return "0.0%" if text in ("+0.0%", "-0.0%") else text


ABSENT = "-"


class Difference(NamedTuple):
    key: str
    first: Any
    second: Any


def differences(first: Entry, second: Entry) -> list[Difference]:
    """Yields where two shapes differ, in the order of the first; `ABSENT` where one does not have the key."""
    a, b = shape(first), shape(second)
    pairs = [Difference(key, a.get(key, ABSENT), b.get(key, ABSENT)) for key in dict.fromkeys([*a, *b])]
    return [pair for pair in pairs if pair.first != pair.second]


class Node(NamedTuple):
    """The sizes of one model, and what came of any of them."""

    entries: tuple[Entry, ...]
    children: "tuple[Node, ...]"

    @property
    def label(self) -> str:
        """Returns the heading, or the name; sizes that differ in their last word share what comes before."""
        first = self.entries[0]
        return first.heading if first.heading and len(self.entries) > 1 else first.name


def tree(root: str | None = None) -> list[Node]:
    """Returns the family trees, the oldest first; or the one below an entry."""
    children: dict[str | None, list[Entry]] = {}
    for model in catalogue().values():
        children.setdefault(model.parent, []).append(model)

    def node(group: list[Entry]) -> Node:
        entries, outside = list(group), list[Entry]()
        for member in entries:  # grows while it is walked: sizes of sizes
            for child in children.get(member.id, []):
                (entries if same(child, group[0]) else outside).append(child)
        return Node(tuple(entries), tuple(nodes(outside)))

    def nodes(entries: list[Entry]) -> Iterator[Node]:
        groups: list[list[Entry]] = []
        for child in sorted(entries, key=lambda e: e.year):
            group = next((group for group in groups if same(group[0], child)), None)
            groups.append([child]) if group is None else group.append(child)
        return map(node, groups)

    return list(nodes(children[None] if root is None else [entry(root)]))


def same(a: Entry, b: Entry) -> bool:
    """Says whether two entries are sizes of one model."""
    return bool(a.heading) and a.heading == b.heading and a.family == b.family
