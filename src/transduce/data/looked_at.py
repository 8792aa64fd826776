"""A look at files before training: which cannot be read, equal ones, how many each class has, the sizes of pictures."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from transduce.data import idx, pictures
from transduce.data.columns import Columns
from transduce.data.read import at_home
from transduce.data.readers.files import each, named
from transduce.errors import UserError

SHOWN = 3
UNBALANCED = 10  # times as many files of one class as of another, from which on that is told


class Look(NamedTuple):
    """A file: its header and the hash of its bytes, or the sentence that says why it cannot be read."""

    head: Any
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


def examined(
    splits: Mapping[str, Columns], column: str, label: str | None, look: Callable[[str], Look] = look,
    special: Callable[[str, Sequence[str], Sequence[Any]], list[str]] | None = None, what: str = "picture",
) -> tuple[dict[str, Columns], list[str]]:  # fmt: skip
    """Returns the splits without files that cannot be read, and a sentence for each thing that was seen.

    column, label: names of the columns (None: there are no labels).
    special: what is to be said of the headers of a split, given its name and those of the files.
    """
    out, lines, hashes = dict[str, Columns](), list[str](), dict[str, Counter[str]]()
    for split, columns in splits.items():
        looks = each(look, named(columns[column], column, what))
        readable = [row for row, one in enumerate(looks) if one.head is not None]
        if problems := [one.problem for one in looks if one.problem]:
            rest = f"; {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            lines.append(f"{split}: {counted(problems, what)} cannot be read: {'; '.join(problems[:SHOWN])}{rest}")
        out[split] = columns.take(readable)
        heads = [looks[row].head for row in readable]
        lines += (special or of_pictures)(split, out[split][column], heads)
        if label is not None:
            lines += of_labels(split, out[split][label], [looks[row].sha for row in readable], what)
        hashes[split] = Counter(looks[row].sha for row in readable)
    for first, second in combinations(hashes, 2):
        shared = sum(count for sha, count in hashes[second].items() if sha in hashes[first])
        if shared:
            share = f"{shared} of {hashes[second].total():,} {what}s of {second}"
            lines.append(f"{share} are equal to one of {first}, byte for byte; {second} will flatter")
    return out, lines


def of_pictures(split: str, values: Sequence[str], heads: Sequence[pictures.Head]) -> list[str]:
    """Returns what is to be said of the sizes of pictures, and of those that move."""
    lines, sizes = list[str](), Counter((head.height, head.width) for head in heads)
    if len(sizes) > 1:
        small, large = (f(sizes, key=lambda size: size[0] * size[1]) for f in (min, max))
        which = f"{small[0]} x {small[1]} to {large[0]} x {large[1]} pixels (height x width)"
        lines.append(f"{split}: pictures have {len(sizes):,} sizes, from {which}")
    if moving := [value for value, head in zip(values, heads, strict=True) if head.frames > 1]:
        shown = ", ".join(moving[:SHOWN]) + (", ..." if len(moving) > SHOWN else "")
        lines.append(f"{split}: of {counted(moving, 'picture')} with several frames the first is read: {shown}")
    return lines


def of_labels(split: str, values: Sequence[Any], hashes: Sequence[str], what: str) -> list[str]:
    """Returns what is to be said of the labels of files, given the hash of each."""
    lines, labels = list[str](), dict[str, set[str]]()
    for sha, value in zip(hashes, values, strict=True):
        labels.setdefault(sha, set()).add(str(value))
    if unsure := [sha for sha, some in labels.items() if len(some) > 1]:
        lines.append(f"{split}: the bytes of {counted(unsure, what)} are there again with another label")
    classes = Counter(str(value) for value in values)
    if len(classes) > 1:
        (most, many), (least, few) = classes.most_common()[0], classes.most_common()[-1]
        if many >= UNBALANCED * few:
            counts = f"{split}: {most!r} has {many:,} {what}s, {least!r} only {few:,}"
            lines.append(f"{counts}; compare macro-F1, in which every class counts the same")
    return lines


def counted(some: Sequence[object], what: str) -> str:
    return f"{len(some):,} {what}{'s' * (len(some) > 1)}"
