"""The documents of `transduce catalogue ... --json`. Imports no torch."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transduce.catalogue.entry import Entry
    from transduce.catalogue.ledger import Line
    from transduce.catalogue.lineage import Difference, Node

ENTRY = "id, family, name, year, lab, source, link, objective, parameters, and the other fields of `show`"
COUNT = "id, parameters, expected, deviation, parts, beside, active, forward_flops, state, training_bytes, remarks, why"


def entry(one: "Entry") -> dict[str, Any]:
    """Returns all that the catalogue has of a model; shape: its own, or that of the ancestor it has it from."""
    from transduce.catalogue import lineage, query

    more = {"link": one.link, "ancestors": [ancestor.id for ancestor in lineage.chain(one)][1:]}
    return {**vars(one), **more, "shape": lineage.shape(one), "parameters": query.params(one)}


def line(one: "Line") -> dict[str, Any]:
    """Returns the count of a model; `why` says why there is none, and then the rest is null."""
    from transduce.catalogue.ledger import remarks

    costs = one.costs
    return {
        "id": one.entry.id,
        "parameters": one.params,
        "expected": one.expected,
        "deviation": one.deviation,
        "parts": None if costs is None else costs.parts,
        "beside": one.beside,
        "active": None if costs is None else costs.active,
        "forward_flops": None if costs is None else costs.flops,
        "state": None if costs is None else costs.state,
        "training_bytes": None if costs is None else costs.training_bytes,
        "remarks": remarks(one),
        "why": one.why,
    }


def tree(nodes: Iterable["Node"]) -> list[dict[str, Any]]:
    """Returns nodes with what came of them."""
    return [
        {"label": node.label, "ids": [one.id for one in node.entries], "children": tree(node.children)}
        for node in nodes
    ]


def differences(first: "Entry", second: "Entry", pairs: Iterable["Difference"]) -> dict[str, Any]:
    """Returns the keys in which two shapes differ; null: the shape has no such key."""
    from transduce.catalogue.lineage import ABSENT

    def value(item: Any) -> Any:
        return None if item is ABSENT else item

    keys = {pair.key: [value(pair.first), value(pair.second)] for pair in pairs}
    return {"first": first.id, "second": second.id, "differences": keys}
