"""Who comes from whom: chains back to the Transformer, the shape of a system, differences, and the tree."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from transduce.catalogue.entry import TEXT, Counted, Entry, catalogue, entry


def chain(found: Entry) -> list[Entry]:
    """The entry, its parent, the parent of that, ... to the one that has none."""
    line = [found]
    while (parent := line[-1].parent) is not None:
        line.append(entry(parent))
    return line


def shape(found: Entry) -> Mapping[str, Any]:
    """The shape, its own or that of the nearest ancestor that has one; empty if none has."""
    return next((one.shape for one in chain(found) if one.shape), found.shape)


def counted(found: Entry) -> Counted | None:
    """What another count found (see `entry.Counted`) of the entry, or of the ancestor whose shape it is built in."""
    built = found.buildable and found.family in TEXT
    return found.counted or (next(one for one in chain(found) if one.shape).counted if built else None)


def deviation(found: Entry, params: int | None) -> float | None:
    """(params - published) / published, in the published scope."""
    if found.published is None or params is None:
        return None
    whole = found.counted
    outside = 0 if whole is None or whole.in_scope is None else whole.params - whole.in_scope
    return (params - outside) / found.published.params - 1


def off_by(deviation: float) -> str:
    """A deviation in percent."""
    told = f"{deviation:+.1%}"
    return "0.0%" if told in ("+0.0%", "-0.0%") else told


ABSENT = "-"


class Difference(NamedTuple):
    key: str
    first: Any
    second: Any


def differences(first: Entry, second: Entry) -> list[Difference]:
    """Where two shapes differ, in the order of the first; `ABSENT` where one does not have the key."""
    a, b = shape(first), shape(second)
    pairs = [Difference(key, a.get(key, ABSENT), b.get(key, ABSENT)) for key in dict.fromkeys([*a, *b])]
    return [pair for pair in pairs if pair.first != pair.second]


class Node(NamedTuple):
    """The sizes of one model, and what came of any of them."""

    entries: tuple[Entry, ...]
    children: "tuple[Node, ...]"

    @property
    def label(self) -> str:
        """The heading, or the name; sizes that differ in their last word share what comes before."""
        first = self.entries[0]
        return first.heading if first.heading and len(self.entries) > 1 else first.name


def tree(root: str | None = None) -> list[Node]:
    """The family trees, the oldest first; or the one below an entry."""
    children: dict[str | None, list[Entry]] = {}
    for found in catalogue().values():
        children.setdefault(found.parent, []).append(found)

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
    """Whether two entries are sizes of one model."""
    return bool(a.heading) and a.heading == b.heading and a.family == b.family
