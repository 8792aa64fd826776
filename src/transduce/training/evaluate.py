"""How good a model is on a split: loss, and for translation BLEU and exact match with examples to read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import eq
from typing import NamedTuple
from unicodedata import normalize

import torch

from transduce.data.examples import Examples, encode
from transduce.data.loader import Loader
from transduce.data.source import Texts
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.stop import cut
from transduce.model.models import Model
from transduce.objectives.objective import Objective
from transduce.runs.recipe import Recipe
from transduce.tasks.bleu import ORDER, BleuTokenizer, bleu_of, tokenizer_for, words
from transduce.text.tokenizer import Tokenizer
from transduce.training.carry import Carried

PLACES, PROMPT, LENGTH = 3, 32, 200  # a language model's samples: how many, tokens that are given, tokens at most


class Sample(NamedTuple):
    """One example as text. For a language model `source` is the prompt and `expected` how the text goes on."""

    source: str
    expected: str
    output: str


@dataclass(frozen=True)
class Evaluation:
    """Measured on a split. loss: nats per target token, without smoothing. bleu: 0 to 100; exact: 0 to 1.

    split: its name, where it was chosen by name. words: of the longest reference, as BLEU counts them.
    """

    loss: float
    tokens: int
    bleu: float | None = None
    signature: str | None = None
    exact: float | None = None
    samples: tuple[Sample, ...] = ()
    split: str | None = None
    words: int = 0

    def score(self, metric: str) -> tuple[float, float]:
        """The chosen metric, then the loss for when that is equal; larger is better."""
        value = {"loss": -self.loss, "bleu": self.bleu, "exact": self.exact}[metric]
        assert value is not None, f"{metric} was not measured"
        return value, -self.loss

    @property
    def means_bleu(self) -> bool:
        """Says whether BLEU means something: where no reference has four words, no four can be right."""
        return self.bleu is not None and self.words >= ORDER

    def told(self, *, signed: bool = False) -> str:
        """In a line, for people; signed: with how BLEU was computed, which is left out where it means nothing."""
        parts = [f"loss {self.loss:.4f}"]
        if self.means_bleu:
            parts.append(f"BLEU {self.bleu:.2f}" + (f" ({self.signature})" if signed else ""))
        parts += [] if self.exact is None else [f"exact match {self.exact:.2%}"]
        return "  ".join(parts)

    @property
    def baseline(self) -> tuple[str, float] | None:
        """What needs no model, and its exact match: the answer that is most often right, or the source as it is.

        For targets of one word each, where exact match may be high by chance; None for others.
        """
        targets = [sample.expected for sample in self.samples]
        if self.exact is None or not targets or any(len(target.split()) > 1 for target in targets):
            return None
        (word, count), *_ = Counter(targets).most_common(1)
        copied = sum(sample.source == sample.expected for sample in self.samples)
        how, most = ("copying the source", copied) if copied > count else (f"always answering {word!r}", count)
        return how, most / len(targets)

    def numbers(self) -> dict[str, float]:
        """What goes into metrics.jsonl."""
        found = {"val_loss": self.loss, "bleu": self.bleu, "exact": self.exact}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Split:
    """A split in the three forms evaluation needs.

    documents: its texts have a start and an end. bleu: sacrebleu's tokeniser for its targets.
    """

    texts: Texts
    examples: Examples
    loader: Loader
    documents: bool
    bleu: str = "13a"


def split_of(texts: Texts, tokenizer: Tokenizer, recipe: Recipe, name: str = "the split") -> Split:
    """A split for evaluation: as in training, but never packed, and in a fixed order.

    Raises UserError where there is nothing in it to predict.
    """
    examples, config = encode(texts, tokenizer), replace(recipe.batch, packing=False, workers=0)
    tokens = len(examples.targets.flat)
    if not len(examples):
        raise UserError(f"there is no text in {name}; give a file with text in it, or leave it out")
    if texts.sources is None and not recipe.data.documents and tokens < 2:
        way = "give a longer text for it, leave it out, or set data.valid_fraction higher where it is held out"
        raise UserError(f"{name} has {tokens} token{'' if tokens == 1 else 's'}, but predicting takes two; {way}")
    loader = Loader(examples, tokenizer, config, seed=recipe.train.seed, documents=recipe.data.documents)
    bleu = "13a" if texts.sources is None else tokenizer_for(recipe.train.bleu_tokenizer, texts.targets)
    return Split(texts, examples, loader, recipe.data.documents, bleu)


def evaluate(
    model: Model,
    objective: Objective,
    split: Split,
    tokenizer: Tokenizer,
    config: GenerateConfig,
    limit: int | None = None,
) -> Evaluation:
    """Loss on all of a split, and outputs for `limit` of its examples, evenly spread (None: all). Draws nothing."""
    device, training = model.device, model.training
    model.eval()
    try:
        with torch.inference_mode():
            loss, tokens = loss_of(model, objective, split.loader, device)
            rows = spread(len(split.texts.targets), limit)
            if split.texts.sources is None:
                samples = continuations(model, split, tokenizer, config) if rows and model.writes else []
                return Evaluation(loss, tokens, samples=tuple(samples))
            samples = translations(model, split, tokenizer, config, rows) if rows else []
    finally:
        model.train(training)
    if not samples:
        return Evaluation(loss, tokens)
    form = "NFKC" if tokenizer.folds else "NFC"  # the model writes as its tokeniser does, whatever the references do
    outputs, expected = ([normalize(form, s[side]) for s in samples] for side in (2, 1))
    bleu, signature = bleu_of(outputs, expected, split.bleu)
    exact = sum(map(eq, outputs, expected)) / len(samples)
    return Evaluation(loss, tokens, bleu, signature, exact, tuple(samples), words=words(expected, split.bleu))


def loss_of(model: Model, objective: Objective, loader: Loader, device: torch.device) -> tuple[float, int]:
    """-log p per target token of a split, and the number of tokens."""
    total, count, reader = torch.zeros((), dtype=torch.float64, device=device), 0, Carried(model)
    for batch in loader.once():
        loss = objective(reader, batch.to(device))
        total += loss.metrics["nll"]
        count += int(loss.count)
    return float(total) / max(count, 1), count


def translations(
    model: Model, split: Split, tokenizer: Tokenizer, config: GenerateConfig, rows: Sequence[int]
) -> list[Sample]:
    """The outputs for the chosen examples, in their order."""
    sources, references = split.examples.sources, split.texts
    assert sources is not None
    assert references.sources is not None
    longest = None if model.limit is None else model.limit - 1  # room for </s>
    ids = [sources[i][:longest].tolist() for i in rows]
    found = decode(model, tokenizer, config, source=ids, limits=room(model, config, [1] * len(ids)))
    outputs = [cut(text, config.stop) for text in tokenizer.decode_batch([best[0].ids for best in found])]
    return [Sample(references.sources[i], references.targets[i], out) for i, out in zip(rows, outputs, strict=True)]


def continuations(model: Model, split: Split, tokenizer: Tokenizer, config: GenerateConfig) -> list[Sample]:
    """How the model goes on from a few places of the split, evenly spread."""
    pairs = openings(split, PROMPT if model.limit is None else min(PROMPT, model.limit // 2))
    prompts = [[*([tokenizer.bos] if split.documents else []), *prompt] for prompt, _ in pairs]
    config = replace(config, max_new_tokens=min(config.max_new_tokens, LENGTH), max_length=None)
    found = decode(model, tokenizer, config, prompt=prompts, limits=room(model, config, [len(p) for p in prompts]))
    columns = [[prompt for prompt, _ in pairs], [rest for _, rest in pairs], [best[0].ids for best in found]]
    return [Sample(*row) for row in zip(*map(tokenizer.decode_batch, columns), strict=True)]


def openings(split: Split, longest: int) -> list[tuple[list[int], list[int]]]:
    """(at most `longest` ids, how they go on) at a few places: where documents begin, or anywhere in a stream."""
    targets = split.examples.targets
    if split.documents:
        texts = [targets[i] for i in spread(len(targets), PLACES)]
    else:
        texts = [targets.flat[start:] for start in spread(max(len(targets.flat) - longest, 1), PLACES)]
    given = [min(longest, (len(ids) + 1) // 2) for ids in texts]
    return [(ids[:n].tolist(), ids[n : n + LENGTH].tolist()) for ids, n in zip(texts, given, strict=True)]


def room(model: Model, config: GenerateConfig, taken: Sequence[int]) -> list[int]:
    """How many new tokens there are positions for after so many; the last is not read."""
    most = config.max_new_tokens
    return [most if model.limit is None else min(most, model.limit - n + 1) for n in taken]


def auto_metric(texts: Texts, asked: BleuTokenizer = "auto", limit: int | None = None) -> str:
    """What selects the best model, if the recipe does not say: for language models the loss; else BLEU, if one of the
    targets that are decoded (`limit` of them) has the four words that BLEU looks at together; else exact match."""
    if texts.sources is None:
        return "loss"
    decoded = [texts.targets[i] for i in spread(len(texts.targets), limit)]
    return "bleu" if words(decoded, tokenizer_for(asked, texts.targets)) >= ORDER else "exact"


def samples_text(samples: Sequence[Sample]) -> str:
    """Samples as people read them in a file."""
    return "\n".join(f"> {s.source}\n= {s.expected}\n< {s.output}\n" for s in samples)


def spread(count: int, limit: int | None) -> list[int]:
    """`limit` of 0..count-1, evenly spread."""
    chosen = count if limit is None else min(limit, count)
    return [i * count // chosen for i in range(chosen)]
