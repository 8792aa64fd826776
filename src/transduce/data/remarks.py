"""Remarks about the data before a training: counts of what is cut off, unknown, blank or not used."""

from collections.abc import Sequence
from typing import Any

from transduce.data.columns import Columns
from transduce.data.examples import Encoded, Examples, Ragged, overlong, tokens
from transduce.data.loader import BatchConfig
from transduce.text.tokenizer import Tokenizer


def remarks(
    name: str, columns: Columns, examples: Examples, tokenizer: Tokenizer | None, config: BatchConfig
) -> list[str]:  # fmt: skip
    """Returns a sentence on each part of a split that a model does not learn from, or not in full."""
    out: list[str] = []
    rows = len(examples)
    long, lost = overlong(examples, config)
    if long:
        what = "left out" if config.overlong == "drop" else "cut off"
        share = f"{long:,} of {rows:,} examples ({long / rows:.1%}) exceed batch.max_length={config.max_length}"
        out.append(f"{name}: {share} and are {what}, which loses {lost:.1%} of the tokens")
    unk = None if tokenizer is None else tokenizer.unk
    unknown = 0 if unk is None else sum(count(columns[c], ids, unk) for c, ids in examples.ids.items())
    if unknown:
        share = f"{unknown:,} of {tokens(examples):,} tokens ({unknown / tokens(examples):.2%})"
        out.append(f"{name}: {share} are <unk>: the tokeniser has no token for these characters")
    blank = [(name, blanks(columns[name])) for name in examples.ids]
    if any(n for _, n in blank):
        counted = " and ".join(f"{n:,} of {rows:,} {column}s ({n / rows:.1%})" for column, n in blank if n)
        out.append(f"{name}: {counted} are blank")
    return out


def count(values: Sequence[Any], ids: Ragged, unk: int) -> int:
    """Returns how many ids of a column are <unk>."""
    return values.unknown if isinstance(values, Encoded) else int((ids.flat == unk).sum())


def blanks(values: Sequence[Any]) -> int:
    """Returns how many texts of a column are only white space."""
    if isinstance(values, Encoded):
        return values.blank
    return sum(not value.strip() for value in values if isinstance(value, str))
