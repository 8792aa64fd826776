"""What is said about the data before a training: what is cut off, unknown, blank or not used, counted."""

from transduce.data.columns import Columns
from transduce.data.examples import Examples, overlong, tokens
from transduce.data.loader import BatchConfig
from transduce.text.tokenizer import Tokenizer


def remarks(
    name: str, columns: Columns, examples: Examples, tokenizer: Tokenizer | None, config: BatchConfig
) -> list[str]:  # fmt: skip
    """Returns a sentence for each thing about a split that a model will not learn from, or not as it stands."""
    out: list[str] = []
    count = len(examples)
    long, lost = overlong(examples, config)
    if long:
        what = "left out" if config.overlong == "drop" else "cut off"
        share = f"{long:,} of {count:,} examples ({long / count:.1%}) exceed batch.max_length={config.max_length}"
        out.append(f"{name}: {share} and are {what}, which loses {lost:.1%} of the tokens")
    unk = None if tokenizer is None else tokenizer.unk
    unknown = 0 if unk is None else sum(int((column.flat == unk).sum()) for column in examples.ids.values())
    if unknown:
        share = f"{unknown:,} of {tokens(examples):,} tokens ({unknown / tokens(examples):.2%})"
        out.append(f"{name}: {share} are <unk>: the tokeniser has no token for what stands there")
    texts = {name: [value for value in columns[name] if isinstance(value, str)] for name in examples.ids}
    blank = [(name, sum(not text.strip() for text in some)) for name, some in texts.items()]
    if any(n for _, n in blank):
        counted = " and ".join(f"{n:,} of {count:,} {column}s ({n / count:.1%})" for column, n in blank if n)
        out.append(f"{name}: {counted} are blank")
    return out
