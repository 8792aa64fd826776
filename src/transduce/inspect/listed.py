"""Every part that a recipe can name, from a table, so that listing them imports no torch.

`python -m transduce.inspect.listed` writes the table anew. Where there are kinds that it lacks, new ones or of other
packages, all are read and counted where they are defined.
"""

import importlib.metadata
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transduce.config.keys import nearest
from transduce.errors import UserError

TABLE = Path(__file__).with_name("parts.json")
KIND = re.compile(r'^    kind: ClassVar\[str\] = "([^"]+)"', re.MULTILINE)
WIDTH = 256

# The key of a recipe, and the folder its kinds live in, along the road from embedding to start values.
FOLDERS = {
    "mixer": "transduce.model.mixers",
    "positions": "transduce.model.positions",
    "residual": "transduce.model.residual",
    "norm": "transduce.model.norms",
    "feedforward": "transduce.model.feedforward",
    "embedding": "transduce.model.embed",
    "head": "transduce.model.heads",
    "init": "transduce.model.init",
}


class Growth(NamedTuple):
    """fixed + slope * tokens read before."""

    fixed: float
    slope: float


@dataclass(frozen=True)
class Listed:
    """A kind of a part.

    config: the name of its class.
    options: the keys that a recipe may set, with their defaults.
    flops: of a token at width `WIDTH`, matrix products only (None: not a mixer that runs causally).
    state: bytes of a row, in the same way.
    text: the docstring of its class.
    limits: what a mixer cannot do, and why.
    """

    key: str
    kind: str
    formula: str
    source: str
    config: str
    options: list[tuple[str, str]]
    flops: Growth | None
    state: Growth | None
    text: str
    limits: list[str]


def listed() -> list[Listed]:
    """Returns every kind of every part, those of a mixer with their costs."""
    data = json.loads(TABLE.read_text("utf-8"))
    if data["kinds"] != kinds_here() or any(importlib.metadata.entry_points(group=f) for f in FOLDERS.values()):
        from transduce.inspect.parts import described, parts

        return [described(part) for part in parts()]
    return [of_data(row) for row in data["parts"]]


def one(name: str) -> Listed:
    """Returns a part by its kind; `key.kind` where two parts share a name. Raises UserError for none, or several."""
    rows = listed()
    matches = [row for row in rows if name in (row.kind, f"{row.key}.{row.kind}")]
    if len(matches) > 1:
        raise UserError(f"`{name}` is a kind of {' and '.join(m.key for m in matches)}; write {matches[0].key}.{name}")
    if not matches:
        guess = nearest(name, [row.kind for row in rows])
        way = f"did you mean `{guess}`?" if guess else "`transduce parts` lists them"
        raise UserError(f"there is no part `{name}`; {way}")
    return matches[0]


def of_data(row: dict[str, Any]) -> Listed:
    values: dict[str, Any] = {**row, "options": [(key, value) for key, value in row["options"]]}
    for name in ("flops", "state"):
        values[name] = row[name] and Growth(*row[name])
    return Listed(**values)


def kinds_here() -> dict[str, list[str]]:
    """Returns the names of kinds that stand in the source of each folder; some of them may be kinds of other parts."""
    base = Path(__file__).parents[1]
    return {
        key: sorted(
            kind
            for path in base.joinpath(*folder.split(".")[1:]).glob("*.py")
            for kind in KIND.findall(path.read_text("utf-8"))
        )
        for key, folder in FOLDERS.items()
    }


def as_table(rows: Iterable[Listed]) -> str:
    """Returns the text of the table."""
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    return f'{{"kinds": {json.dumps(kinds_here())},\n"parts": [\n{lines}\n]}}\n'


def write() -> None:
    """Writes the table of the parts as they are."""
    from transduce.inspect.parts import described, parts

    TABLE.write_text(as_table(map(described, parts())), "utf-8")


if __name__ == "__main__":
    write()
