"""A look at data before training: what is long, cut off, unknown, empty, repeated, copied or shared between splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from transduce.data.columns import Columns, required
from transduce.data.examples import Examples, Index, Ragged, overlong
from transduce.data.loader import BatchConfig, Loader
from transduce.data.mixed import loader_of
from transduce.data.source import DataConfig
from transduce.text.tokenizer import Tokenizer

BARS = 12
# What a first line that names the columns says, in lower case.
COLUMNS = {
    "id", "source", "target", "src", "tgt", "trg", "input", "output", "text", "label", "sentence", "sentence1",
    "sentence2", "translation", "question", "answer", "prompt", "response", "reference", "en", "de", "fr", "es", "it",
    "pt", "nl", "ru", "zh", "ja", "cs", "english", "german", "french", "spanish", "italian", "portuguese", "dutch",
    "russian", "chinese", "japanese", "czech",
}  # fmt: skip


class Bar(NamedTuple):
    """`texts` texts have `low` to `high` tokens, both included."""

    low: int
    high: int
    texts: int


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """A column of text of a split, in tokens of its tokeniser."""

    tokens: int
    characters: int
    unknown: float  # share of tokens that are <unk>
    empty: int  # texts of nothing but white space
    mean: float
    median: int
    longest: int
    histogram: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split. Counts are of examples, shares of all its examples."""

    examples: int
    columns: Mapping[str, Lengths]  # of text
    overlong: int  # more than max_length slots on a side: cut off or dropped
    lost: float  # share of tokens that are cut off or dropped for that
    duplicates: int  # the same example again
    disagreeing: int  # the same again in the first column, with something else behind it
    copies: int  # the columns are equal

    @property
    def truncated(self) -> float:
        """Returns the share of examples that are cut off or dropped."""
        return self.overlong / max(self.examples, 1)


class Token(NamedTuple):
    """A token as people read it, and whether the model is trained to predict it."""

    text: str
    trained: bool


class Row(NamedTuple):
    """One row of the first batch: what the encoder reads (or nothing), and what the decoder reads and predicts."""

    source: tuple[Token, ...]
    target: tuple[Token, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that `examine` found."""

    splits: dict[str, Split]
    overlap: dict[tuple[str, str], int]  # examples of the second split whose source (or text) stands in the first
    vocab_size: int  # 0: no text is read
    unused: int  # tokens of the vocabulary that the training split never uses
    padding: float  # share of the slots of the first epoch that hold nothing
    batches: int  # in the first epoch
    preview: tuple[Row, ...]
    header: tuple[str, ...] | None = None  # a first row that looks like the names of columns
    unread: tuple[str, ...] = ()  # a sentence for each kind of file or column that is not read
    looked_at: tuple[str, ...] = ()  # what was looked at where it was not all, and what is known of the whole
    sources: tuple[str, ...] = ()  # the shares of the sources of a mixture

    def advice(self) -> list[str]:
        """Returns a sentence for each finding that usually means a mistake, with what to do about it."""
        out = list(self.unread)
        if self.header is not None:
            names = " and ".join(f"`{name}`" for name in self.header)
            out.append(f"line 1, {names}, looks like names of columns; set data.header=true, or remove the line")
        for name, split in self.splits.items():
            sides = list(split.columns.values())
            needed = [split.columns[column] for column in required([*split.columns])]
            if split.truncated > 0.01:
                out.append(
                    f"{split.truncated:.1%} of {name} is longer than batch.max_length; raise it or split the texts"
                )
            if (share := max((side.unknown for side in sides), default=0.0)) > 0.005:
                out.append(
                    f"{share:.1%} of the tokens of {name} are <unk>; a byte or bpe tokeniser has no unknown text"
                )
            if empty := sum(side.empty for side in needed):
                out.append(f"{name} has {empty} empty texts; remove their lines, on both sides")
            if split.copies > 0.05 * split.examples:
                out.append(f"{split.copies} targets of {name} are copies of their source; check that the files differ")
            if split.duplicates > 0.1 * split.examples:
                out.append(f"{split.duplicates} of {split.examples} examples of {name} are repeats; remove them")
        for (first, second), shared in self.overlap.items():
            if shared:
                share = shared / self.splits[second].examples
                out.append(f"{shared} examples of {second} ({share:.1%}) stand in {first} too; {second} will flatter")
        return out


def examine(
    splits: Mapping[str, Columns],
    encoded: Mapping[str, Examples],
    tokenizer: Tokenizer | None,
    config: BatchConfig,
    *,
    seed: int = 0,
    rows: int = 4,
    unread: Sequence[str] = (),
    data: DataConfig | None = None,
    looked_at: Sequence[str] = (),
) -> Findings:
    """Returns findings about every split.

    encoded: the same texts as ids.
    rows: those to preview.
    unread: sentences on what is not read.
    data: where the shares of a mixture are.
    looked_at: sentences on what was looked at where it was not all.
    """
    sizes = {name: _split(columns, encoded[name], tokenizer, config) for name, columns in splits.items()}
    loader = loader_of(encoded["train"], config, seed=seed, columns=splits["train"], data=data)
    padding, batches = _padding(loader)
    vocab_size, used = 0, 0
    if tokenizer is not None:
        vocab_size, flat = tokenizer.vocab_size, [column.flat for column in encoded["train"].ids.values()]
        used = len(np.union1d(np.concatenate(flat), [tokenizer.pad, tokenizer.bos, tokenizer.eos]))
    return Findings(
        splits=sizes,
        overlap={pair: overlap(splits[pair[0]], splits[pair[1]]) for pair in combinations(splits, 2)},
        vocab_size=vocab_size,
        unused=vocab_size - used,
        padding=padding,
        batches=batches,
        preview=() if tokenizer is None else preview(loader, tokenizer, rows),
        header=header(splits),
        unread=tuple(unread),
        looked_at=tuple(looked_at),
        sources=tuple(loader.remarks()),
    )


def header(splits: Mapping[str, Columns]) -> tuple[str, ...] | None:
    """Returns the first row of a split of several columns, if it only has words that usually name columns.

    Of any split, since the first line of the training file may have been held out for validation.
    """
    for columns in splits.values():
        first = tuple(str(values[0]) for values in columns.values.values() if len(columns))
        if len(first) > 1 and all(value.strip().lower() in COLUMNS for value in first):
            return first
    return None


def _split(columns: Columns, examples: Examples, tokenizer: Tokenizer | None, config: BatchConfig) -> Split:
    rows = list(zip(*columns.values.values(), strict=True))
    unk = None if tokenizer is None else tokenizer.unk
    over, lost = overlong(examples, config)
    different, needed = len(set(rows)), [columns[name] for name in required(columns.names)]
    return Split(
        examples=len(rows),
        columns={name: lengths(columns[name], ids, unk) for name, ids in examples.ids.items()},
        overlong=over,
        lost=lost,
        duplicates=len(rows) - different,
        disagreeing=different - len(set(columns.given)),
        copies=0 if len(needed) == 1 else sum(len(set(row)) == 1 for row in zip(*needed, strict=True)),
    )


def lengths(values: Sequence[Any], ids: Ragged, unk: int | None) -> Lengths:
    """Returns lengths, unknown tokens and empty texts of one column."""
    texts = [value for value in values if isinstance(value, str)]
    counts = ids.lengths
    unknown = 0 if unk is None else int((ids.flat == unk).sum())
    return Lengths(
        tokens=len(ids.flat),
        characters=sum(map(len, texts)),
        unknown=unknown / max(len(ids.flat), 1),
        empty=sum(not text.strip() for text in texts),
        mean=float(counts.mean()) if len(counts) else 0.0,
        median=int(np.median(counts)) if len(counts) else 0,
        longest=int(counts.max(initial=0)),
        histogram=histogram(counts),
    )


def histogram(lengths: Index) -> tuple[Bar, ...]:
    """Counts in bars of equal width up to the 99th percentile, and one bar for what is beyond. lengths: (n,)."""
    if not len(lengths):
        return ()
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = max(1, -(-(int(np.percentile(lengths, 99)) + 1 - shortest) // BARS))
    counts: list[int] = np.bincount(np.minimum((lengths - shortest) // width, BARS)).tolist()
    lows = [shortest + i * width for i in range(len(counts))]
    highs = [*(low - 1 for low in lows[1:]), max(longest, lows[-1])]
    return tuple(Bar(*bar) for bar in zip(lows, highs, counts, strict=True))


def overlap(first: Columns, second: Columns) -> int:
    """Returns how many examples of `second` have a first column that stands in `first` too."""
    first_inputs = set(first.given)
    return sum(value in first_inputs for value in second.given)


def _padding(loader: Loader, most: int = 200) -> tuple[float, int]:
    """Returns the share of empty slots in an epoch (in its first batches, where it has many), and its batches."""
    size = loader.size(0)
    slots = tokens = 0
    for index in range(min(size, most)):
        batch = loader.batch(0, index)
        slots += batch.slots
        tokens += batch.tokens
    return 1 - tokens / max(slots, 1), size


def preview(loader: Loader, tokenizer: Tokenizer, rows: int) -> tuple[Row, ...]:
    """Returns the first rows of the first batch as they will be trained on, padding left out."""
    batch, out = loader.batch(0, 0), list[Row]()
    for row in range(min(rows, len(batch.inputs))):
        target: list[Token] = []
        if batch.targets.shape != batch.inputs.shape or getattr(loader.examples, "classes", None) is not None:
            # what is learnt belongs to the whole row, or is a class of each token
            if batch.inputs.is_floating_point():  # of a sound its text is shown
                pieces = tokenizer.pieces(_ints(batch.targets[row][batch.targets[row] >= 0]))
                out.append(Row((), tuple(Token(text, True) for text in pieces)))
                continue
            ids = _ints(batch.inputs[row][batch.layout.valid[row]])
            out.append(Row((), tuple(Token(text, False) for text in tokenizer.pieces(ids))))
            continue
        columns = [_ints(x[row]) for x in (batch.inputs, batch.targets, batch.layout.positions)]
        goes_on, shown = shifted(*columns), False  # shown: the token of this slot, as what the last one predicts
        for token, predicted, position in zip(*columns, strict=True):
            if position == 0 or (position > 0 and goes_on and not shown):
                target.append(Token(tokenizer.pieces([token])[0], False))
            if shown := predicted >= 0:
                target.append(Token(tokenizer.pieces([predicted])[0], True))
        source: list[Token] = []
        if batch.source is not None and batch.source_layout is not None and not batch.source.is_floating_point():
            ids = _ints(batch.source[row][batch.source_layout.valid[row]])
            source = [Token(text, False) for text in tokenizer.pieces(ids)]
        out.append(Row(tuple(source), tuple(target)))
    return tuple(out)


def shifted(inputs: list[int], targets: list[int], positions: list[int]) -> bool:
    """Says whether every target is the token of the next slot, where a text goes on there."""
    following = zip(targets, inputs[1:], positions, positions[1:], strict=False)
    return all(target in (-1, token) for target, token, here, there in following if there == here + 1)


def _ints(x: Tensor) -> list[int]:
    return x.tolist()  # type: ignore[reportUnknownMemberType]
