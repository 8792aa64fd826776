"""A look at pictures before training: which cannot be read, their sizes, equal ones, and how many each class has."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from transduce.data import idx, pictures
from transduce.data.columns import Columns
from transduce.data.read import at_home
from transduce.data.readers.pictures import each, named
from transduce.errors import UserError

SHOWN = 3
UNBALANCED = 10  # times as many pictures of one class as of another, from which on that is told


class Look(NamedTuple):
    """A picture: its header and the hash of its bytes, or the sentence that says why it cannot be read."""

    head: pictures.Head | None
    sha: str
    problem: str


def look(value: str) -> Look:
    """Reads and decodes a picture."""
    try:
        head = pictures.head(value)
        pictures.decoded(value, 3, 255)
        if (place := idx.numbered(value)) is not None:
            data = idx.picture(*place).tobytes()
        else:
            data = at_home(value).read_bytes()
    except UserError as error:
        return Look(None, "", str(error))
    return Look(head, hashlib.sha256(data).hexdigest(), "")


def examined(splits: Mapping[str, Columns], image: str, label: str) -> tuple[dict[str, Columns], list[str]]:
    """Returns the splits without pictures that cannot be read, and a sentence for each thing that was seen.

    image, label: names of the columns.
    """
    out, lines, hashes = dict[str, Columns](), list[str](), dict[str, Counter[str]]()
    for split, columns in splits.items():
        looks = each(look, named(columns[image], image))
        readable = [row for row, one in enumerate(looks) if one.head is not None]
        if problems := [one.problem for one in looks if one.problem]:
            rest = f"; {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            lines.append(f"{split}: {counted(problems)} cannot be read: {'; '.join(problems[:SHOWN])}{rest}")
        out[split] = columns.take(readable)
        lines += of_split(split, out[split], [looks[row] for row in readable], image, label)
        hashes[split] = Counter(looks[row].sha for row in readable)
    for first, second in combinations(hashes, 2):
        shared = sum(count for sha, count in hashes[second].items() if sha in hashes[first])
        if shared:
            share = f"{shared} of {hashes[second].total():,} pictures of {second}"
            lines.append(f"{share} are equal to one of {first}, byte for byte; {second} will flatter")
    return out, lines


def of_split(split: str, columns: Columns, looks: Sequence[Look], image: str, label: str) -> list[str]:
    """Returns what is to be said of the pictures of a split that can be read."""
    lines, heads = list[str](), [one.head for one in looks if one.head is not None]
    sizes = Counter((head.height, head.width) for head in heads)
    if len(sizes) > 1:
        small, large = (f(sizes, key=lambda size: size[0] * size[1]) for f in (min, max))
        which = f"{small[0]} x {small[1]} to {large[0]} x {large[1]} pixels (height x width)"
        lines.append(f"{split}: pictures have {len(sizes):,} sizes, from {which}")
    if moving := [value for value, head in zip(columns[image], heads, strict=True) if head.frames > 1]:
        shown = ", ".join(moving[:SHOWN]) + (", ..." if len(moving) > SHOWN else "")
        lines.append(f"{split}: of {counted(moving)} with several frames the first is read: {shown}")
    labels = dict[str, set[str]]()
    for one, value in zip(looks, columns[label], strict=True):
        labels.setdefault(one.sha, set()).add(str(value))
    if unsure := [sha for sha, some in labels.items() if len(some) > 1]:
        lines.append(f"{split}: the bytes of {counted(unsure)} are there again with another label")
    classes = Counter(str(value) for value in columns[label])
    if len(classes) > 1:
        (most, many), (least, few) = classes.most_common()[0], classes.most_common()[-1]
        if many >= UNBALANCED * few:
            what = f"{split}: {most!r} has {many:,} pictures, {least!r} only {few:,}"
            lines.append(f"{what}; compare macro-F1, in which every class counts the same")
    return lines


def counted(some: Sequence[object]) -> str:
    return f"{len(some):,} picture{'s' * (len(some) > 1)}"
