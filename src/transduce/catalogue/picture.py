"""The family tree as lines of text, and as one picture (SVG)."""

from collections.abc import Iterator, Sequence
from html import escape

from transduce.catalogue.lineage import Node

ROW, YEAR, LEFT, TOP, FONT = 19, 250, 24, 96, 12  # pixels: of a line, a year, the margins, a letter's height
COLORS = {
    "encoder": "#1f77b4", "decoder": "#d62728", "encoder-decoder": "#2ca02c", "system": "#7f7f7f", "vision": "#9467bd",
    "multimodal": "#ff7f0e", "diffusion": "#e377c2", "reinforcement-learning": "#8c564b", "protein": "#17becf",
}  # fmt: skip


def lines(nodes: Sequence[Node], before: str = "") -> Iterator[str]:
    """Yields a node a line, below its parent."""
    for node in nodes:
        last = node is nodes[-1]
        yield f"{before}{'└─ ' if last else '├─ '}{title(node)}"
        yield from lines(node.children, before + ("   " if last else "│  "))


def title(node: Node) -> str:
    """Returns name, number of sizes, and year."""
    sizes = f" ({len(node.entries)} sizes)" if len(node.entries) > 1 else ""
    return f"{node.label}{sizes}, {min(e.year for e in node.entries)}"


def svg(nodes: Sequence[Node]) -> str:
    """Draws years from left to right, a row for each model, a line from each parent to its children.

    A model stands at the year of its first size, but never left of the end of its parent's name.
    """
    elements: list[str] = []
    first = min(e.year for node in flat(nodes) for e in node.entries)
    row = 0

    def draw(node: Node, parent: tuple[float, float] | None) -> None:
        nonlocal row
        entry = node.entries[0]
        x = LEFT + YEAR * (min(e.year for e in node.entries) - first)
        x = x if parent is None else max(x, parent[0] + 26)
        y = TOP + ROW * row
        row += 1
        color = COLORS[entry.family]
        if parent is not None:
            down = parent[0] + 6
            elements.append(f'<path d="M{down} {parent[1] + 6}V{y - 6}q0 6 6 6H{x - 2}" class="l"/>')
        about = escape(f"{entry.changes} {entry.source}", quote=False)
        many = f'<tspan class="s" dx="6">{len(node.entries)} sizes</tspan>' if len(node.entries) > 1 else ""
        elements.append(
            f'<g><title>{about}</title><circle cx="{x + 6}" cy="{y}" r="5" fill="{color}"/>'
            f'<text x="{x + 15}" y="{y + 4}">{escape(node.label)}{many}</text></g>'
        )
        for child in node.children:
            draw(child, (x, y))

    for node in nodes:
        draw(node, None)
    every = list(flat(nodes))
    last = max(e.year for node in every for e in node.entries)
    width, height = LEFT + YEAR * (last - first + 1) + 60, TOP + ROW * row
    years = "".join(
        f'<text class="y" x="{LEFT + YEAR * (year - first)}" y="{TOP - 28}">{year}</text>'
        f'<line class="g" x1="{LEFT + YEAR * (year - first) - 8}" x2="{LEFT + YEAR * (year - first) - 8}"'
        f' y1="{TOP - 44}" y2="{height}"/>'
        for year in range(first, last + 1)
    )
    families = dict.fromkeys(node.entries[0].family for node in every)
    key = "".join(
        f'<circle cx="{LEFT + 6 + 175 * i}" cy="24" r="5" fill="{COLORS[family]}"/>'
        f'<text x="{LEFT + 15 + 175 * i}" y="28">{family}</text>'
        for i, family in enumerate(families)
    )
    style = (
        f"text{{font:{FONT}px sans-serif;fill:#222}}.s{{fill:#888}}.y{{font-size:16px;fill:#888}}"
        ".l{fill:none;stroke:#bbb}.g{stroke:#eee}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="white"/>\n{years}\n{key}\n'
        + "\n".join(elements)
        + "\n</svg>\n"
    )


def flat(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yields all nodes, parents first."""
    for node in nodes:
        yield node
        yield from flat(node.children)
