"""What is said about the data before a training: what is cut off, unknown, blank or not used, counted."""

from transduce.data.doctor import cut_off
from transduce.data.examples import Examples
from transduce.data.loader import BatchConfig
from transduce.data.source import Texts
from transduce.text.tokenizer import Tokenizer


def remarks(
    name: str, texts: Texts, examples: Examples, tokenizer: Tokenizer, config: BatchConfig, *, documents: bool
) -> list[str]:  # fmt: skip
    """Returns a sentence for each thing about a split that a model will not learn from, or not as it stands."""
    out: list[str] = []
    count = len(examples)
    long, lost = cut_off(examples, config, documents)
    if long:
        what = "left out" if config.overlong == "drop" else "cut off"
        share = f"{long:,} of {count:,} examples ({long / count:.1%}) exceed batch.max_length={config.max_length}"
        out.append(f"{name}: {share} and are {what}, which loses {lost:.1%} of the tokens")
    sides = [examples.targets] if examples.sources is None else [examples.sources, examples.targets]
    unknown = sum(int((side.flat == tokenizer.unk).sum()) for side in sides) if tokenizer.unk is not None else 0
    if unknown:
        share = f"{unknown:,} of {examples.tokens:,} tokens ({unknown / examples.tokens:.2%})"
        out.append(f"{name}: {share} are <unk>: the tokeniser has no token for what stands there")
    named = [("sources", texts.sources), ("targets" if texts.sources is not None else "texts", texts.targets)]
    blank = [(side, sum(not text.strip() for text in rows)) for side, rows in named if rows is not None]
    if any(n for _, n in blank):
        counted = " and ".join(f"{n:,} of {count:,} {side} ({n / count:.1%})" for side, n in blank if n)
        out.append(f"{name}: {counted} are blank")
    return out
