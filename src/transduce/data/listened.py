"""A look at sounds before training: which cannot be read, their rates, lengths and channels, equal ones, classes."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from transduce.data import looked_at, waves
from transduce.data.columns import Columns
from transduce.data.looked_at import Look
from transduce.data.read import at_home
from transduce.errors import UserError

LONG = 10  # times as long as the median, from which on that is told


def look(value: str) -> Look:
    """Reads and decodes a sound."""
    try:
        head = waves.head(value)
        waves.decoded(value)
        data = at_home(value).read_bytes()
    except UserError as error:
        return Look(None, "", str(error))
    return Look(head, hashlib.sha256(data).hexdigest(), "")


def examined(splits: Mapping[str, Columns], sound: str, label: str | None) -> tuple[dict[str, Columns], list[str]]:
    """Returns the splits without sounds that cannot be read, and a sentence for each thing that was seen.

    sound, label: names of the columns (None: there are no labels).
    """
    return looked_at.examined(splits, sound, label, look, of_sounds, "sound")


def of_sounds(split: str, values: Sequence[str], heads: Sequence[waves.Head]) -> list[str]:
    """Returns what is to be said of the rates, channels and lengths of sounds."""
    lines, rates = list[str](), Counter(head.rate for head in heads)
    if len(rates) > 1:
        shown = ", ".join(f"{rate:,} ({count:,})" for rate, count in rates.most_common())
        lines.append(f"{split}: sounds have {len(rates)} rates, samples a second: {shown}; all are brought to one")
    if several := [value for value, head in zip(values, heads, strict=True) if head.channels > 1]:
        shown = ", ".join(several[: looked_at.SHOWN]) + (", ..." if len(several) > looked_at.SHOWN else "")
        what = looked_at.counted(several, "sound")
        lines.append(f"{split}: of {what} with several channels their mean is read: {shown}")
    seconds = sorted(head.seconds for head in heads)
    if seconds and seconds[-1] > LONG * (middle := seconds[len(seconds) // 2]):
        lines.append(f"{split}: the longest sound has {seconds[-1]:.1f} seconds, the median {middle:.1f}")
    return lines
