"""Before a training: encoding its data once, and training a tokeniser."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transduce import recipes
from transduce.api.recipes import Overrides, pairs, started
from transduce.config import from_data
from transduce.data import read
from transduce.data.columns import Columns
from transduce.data.examples import Encoded
from transduce.errors import UserError
from transduce.recipes.suited import words_for
from transduce.runs.prepare import prepare as prepare_recipe
from transduce.text.tokenizer import Tokenizer, TokenizerConfig


class Prepared(NamedTuple):
    """The result of `prepare`.

    splits: for each, its rows, and the tokens of each column of text.
    bytes: of all shards.
    """

    path: Path
    splits: dict[str, dict[str, Any]]
    vocab_size: int
    bytes: int
    shards: int


def prepare(
    spec: str = recipes.DEFAULT,
    overrides: Overrides = (),
    *,
    out: str | Path,
    processes: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """Encodes the data of a recipe once, into a folder of shards that `train` reads: prepared=DIR.

    spec: a recipe, or a file or folder of data, which gets the recipe that fits it.
    out: the folder of the shards. Shards in it that are whole are kept, so that an interrupted call can be repeated.
    processes: how many encode (None: one for each CPU).
    say: is called with each line that the user should read.
    progress: is called with the number of characters encoded so far.
    Raises UserError where `out` holds something else.
    """
    if processes is not None and not 1 <= processes <= 256:
        raise UserError(f"processes={processes} must be from 1 to 256; one for each CPU is enough")
    changes = pairs(overrides)
    if spec not in recipes.names() and (Path(spec).is_dir() or Path(spec).suffix not in (".yaml", ".yml")):
        words = words_for(read.at_home(spec))
        if words is not None:
            more = [(key, value) for key, _, value in (word.partition("=") for word in words[1:])]
            spec, changes = words[0], [("data.path", spec), *more, *changes]
    config, start = started(spec, changes)
    given = None if start is None else start.readers.tokenizer
    shards = prepare_recipe(config, Path(out), given=given, processes=processes, say=say, progress=progress)
    splits = {name: rows_and_tokens(columns) for name, columns in shards.splits.items()}
    size = Tokenizer.load(shards.folder / "tokenizer").vocab_size
    files = shards.index.shards
    return Prepared(shards.folder, splits, size, sum(shard.size for shard in files), len(files))


def rows_and_tokens(columns: Columns) -> dict[str, Any]:
    """Returns the number of rows of a split, and the number of tokens of each column of text."""
    texts = {name: values for name, values in columns.values.items() if isinstance(values, Encoded)}
    return {"rows": len(columns), "tokens": {name: len(values.ids.flat) for name, values in texts.items()}}


def train_tokenizer(files: Iterable[str], kind: str, **options: Any) -> Tokenizer:
    """Returns a tokeniser trained on the lines of text files, which are not held in memory. Raises UserError."""
    paths = [path for file in files for path in read.required(Path(), file, hint="")]
    config: TokenizerConfig = from_data(_Tokenizer, {"tokenizer": {"kind": kind, **options}}).tokenizer
    return config.train(line for path in paths for line in read.each(path, 1_000_000, "split the line"))


@dataclass(frozen=True, kw_only=True)
class _Tokenizer:
    """A tokeniser alone, so that errors name `tokenizer.vocab_size` as in a recipe."""

    tokenizer: TokenizerConfig
