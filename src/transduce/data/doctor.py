"""A look at data before training: what is long, cut off, unknown, empty, repeated, copied or shared between splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from torch import Tensor

from transduce.data.examples import Examples, Index, Ragged
from transduce.data.loader import BatchConfig, Loader
from transduce.data.source import Texts
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
class Side:
    """One side of a split, in tokens of its tokeniser."""

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
    source: Side | None
    target: Side
    overlong: int  # more than max_length slots on a side: cut off or dropped
    lost: float  # share of tokens that are cut off or dropped for that
    duplicates: int  # the same example again
    disagreeing: int  # the same source again, with another target
    copies: int  # the target is the source

    @property
    def truncated(self) -> float:
        """Share of examples that are cut off or dropped."""
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
    vocab_size: int
    unused: int  # tokens of the vocabulary that the training split never uses
    padding: float  # share of the slots of the first epoch that hold nothing
    batches: int  # in the first epoch
    preview: tuple[Row, ...]
    header: tuple[str, str] | None = None  # a first pair that looks like the names of columns
    unread: tuple[str, ...] = ()  # a sentence for each kind of file or column that is not read

    def advice(self) -> list[str]:
        """A sentence for each finding that usually means a mistake, with what to do about it."""
        out = list(self.unread)
        if self.header is not None:
            names = " and ".join(f"`{name}`" for name in self.header)
            out.append(f"line 1, {names}, looks like names of columns; set data.header=true, or remove the line")
        for name, split in self.splits.items():
            sides = [s for s in (split.source, split.target) if s is not None]
            if split.truncated > 0.01:
                out.append(
                    f"{split.truncated:.1%} of {name} is longer than batch.max_length; raise it or split the texts"
                )
            if max(side.unknown for side in sides) > 0.005:
                share = max(side.unknown for side in sides)
                out.append(
                    f"{share:.1%} of the tokens of {name} are <unk>; a byte or bpe tokeniser has no unknown text"
                )
            if empty := sum(side.empty for side in sides):
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
    splits: Mapping[str, Texts],
    encoded: Mapping[str, Examples],
    tokenizer: Tokenizer,
    config: BatchConfig,
    *,
    documents: bool,
    seed: int = 0,
    rows: int = 4,
    unread: Sequence[str] = (),
) -> Findings:
    """Findings about every split; `encoded` are the same texts as ids, `rows` those to preview, `unread` what is said
    of what was not read."""
    sizes = {name: _split(texts, encoded[name], tokenizer, config, documents) for name, texts in splits.items()}
    loader = Loader(encoded["train"], tokenizer, config, seed=seed, documents=documents)
    padding, batches = _padding(loader)
    used = np.unique(np.concatenate([side.flat for side in _sides(encoded["train"])]))
    return Findings(
        splits=sizes,
        overlap={pair: overlap(splits[pair[0]], splits[pair[1]]) for pair in combinations(splits, 2)},
        vocab_size=tokenizer.vocab_size,
        unused=tokenizer.vocab_size - len(np.union1d(used, [tokenizer.pad, tokenizer.bos, tokenizer.eos])),
        padding=padding,
        batches=batches,
        preview=preview(loader, tokenizer, rows),
        header=header(splits),
        unread=tuple(unread),
    )


def header(splits: Mapping[str, Texts]) -> tuple[str, str] | None:
    """The first pair of a split, if both of its sides are words that usually name columns.

    Of any split, since the first line of the training file may have been held out for validation.
    """
    for sources, targets in splits.values():
        first = (sources[0], targets[0]) if sources else None
        if first is not None and all(side.strip().lower() in COLUMNS for side in first):
            return first
    return None


def _sides(examples: Examples) -> list[Ragged]:
    return [side for side in (examples.sources, examples.targets) if side is not None]


def _split(texts: Texts, examples: Examples, tokenizer: Tokenizer, config: BatchConfig, documents: bool) -> Split:
    sources, targets = texts
    pairs = list(zip(targets if sources is None else sources, targets, strict=True))
    overlong, lost = cut_off(examples, config, documents)
    different = len(set(pairs))
    return Split(
        examples=len(pairs),
        source=None if sources is None or examples.sources is None else side(sources, examples.sources, tokenizer.unk),
        target=side(targets, examples.targets, tokenizer.unk),
        overlong=overlong,
        lost=lost,
        duplicates=len(pairs) - different,
        disagreeing=different - len({source for source, _ in pairs}),
        copies=0 if sources is None else sum(source == target for source, target in pairs),
    )


def side(texts: Sequence[str], ids: Ragged, unk: int | None) -> Side:
    """Lengths, unknown tokens and empty texts of one side."""
    lengths = ids.lengths
    unknown = 0 if unk is None else int((ids.flat == unk).sum())
    return Side(
        tokens=len(ids.flat),
        characters=sum(map(len, texts)),
        unknown=unknown / max(len(ids.flat), 1),
        empty=sum(not text.strip() for text in texts),
        mean=float(lengths.mean()) if len(lengths) else 0.0,
        median=int(np.median(lengths)) if len(lengths) else 0,
        longest=int(lengths.max(initial=0)),
        histogram=histogram(lengths),
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


def cut_off(examples: Examples, config: BatchConfig, documents: bool) -> tuple[int, float]:
    """Examples above max_length, and the share of tokens they lose. Streams and packed documents lose nothing."""
    if examples.sources is None and (config.packing or not documents):
        return 0, 0.0
    slots = np.stack([side.lengths + 1 for side in _sides(examples)])  # (sides, examples)
    over = (slots > config.max_length).any(0)
    lost = slots[:, over] if config.overlong == "drop" else np.maximum(slots - config.max_length, 0)
    return int(over.sum()), float(lost.sum() / max(slots.sum(), 1))


def overlap(first: Texts, second: Texts) -> int:
    """Examples of `second` whose source (without sources: whose text) stands in `first` too."""
    known = set(first.targets if first.sources is None else first.sources)
    return sum(text in known for text in (second.targets if second.sources is None else second.sources))


def _padding(loader: Loader, most: int = 200) -> tuple[float, int]:
    """Share of empty slots in an epoch (in its first batches, where there are many), and the number of its batches."""
    size = loader.size(0)
    slots = tokens = 0
    for index in range(min(size, most)):
        batch = loader.batch(0, index)
        slots += batch.inputs.numel() + (0 if batch.source is None else batch.source.numel())
        tokens += batch.tokens
    return 1 - tokens / max(slots, 1), size


def preview(loader: Loader, tokenizer: Tokenizer, rows: int) -> tuple[Row, ...]:
    """The first rows of the first batch as they will be trained on, padding left out."""
    batch, out = loader.batch(0, 0), list[Row]()
    for row in range(min(rows, len(batch.inputs))):
        target: list[Token] = []
        columns = (_ints(x[row]) for x in (batch.inputs, batch.targets, batch.layout.positions))
        for read, predicted, position in zip(*columns, strict=True):
            if position == 0:
                target.append(Token(tokenizer.pieces([read])[0], False))
            if predicted >= 0:
                target.append(Token(tokenizer.pieces([predicted])[0], True))
        source: list[Token] = []
        if batch.source is not None and batch.source_layout is not None:
            ids = _ints(batch.source[row][batch.source_layout.valid[row]])
            source = [Token(text, False) for text in tokenizer.pieces(ids)]
        out.append(Row(tuple(source), tuple(target)))
    return tuple(out)


def _ints(x: Tensor) -> list[int]:
    return x.tolist()  # type: ignore[reportUnknownMemberType]
