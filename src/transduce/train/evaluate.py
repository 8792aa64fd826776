"""How good a model is on a split: loss, and for translation BLEU and exact match with examples to read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from sacrebleu.metrics.bleu import BLEU

from transduce.data.examples import Examples, encode
from transduce.data.loader import Loader
from transduce.data.source import Texts
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.stop import cut
from transduce.model.models import Model
from transduce.objectives.objective import Objective
from transduce.text.tokenizer import Tokenizer
from transduce.train.carry import Carried
from transduce.train.recipe import Recipe

PLACES, PROMPT, LENGTH = 3, 32, 200  # a language model's samples: how many, tokens that are given, tokens at most


class Sample(NamedTuple):
    """One example as text. For a language model `source` is the prompt and `expected` how the text goes on."""

    source: str
    expected: str
    output: str


@dataclass(frozen=True)
class Evaluation:
    """Measured on a split. loss: nats per target token, without smoothing. bleu: 0 to 100; exact: 0 to 1.

    split: its name, where it was chosen by name.
    """

    loss: float
    tokens: int
    bleu: float | None = None
    signature: str | None = None
    exact: float | None = None
    samples: tuple[Sample, ...] = ()
    split: str | None = None

    def score(self, metric: str) -> tuple[float, float]:
        """The chosen metric, then the loss for when that is equal; larger is better."""
        value = {"loss": -self.loss, "bleu": self.bleu, "exact": self.exact}[metric]
        assert value is not None, f"{metric} was not measured"
        return value, -self.loss

    def told(self, *, signed: bool = False) -> str:
        """In a line, for people; signed: with how BLEU was computed. BLEU of single words says nothing: left out."""
        parts = [f"loss {self.loss:.4f}"]
        if self.bleu is not None and any(" " in sample.expected for sample in self.samples):
            parts.append(f"BLEU {self.bleu:.2f}" + (f" ({self.signature})" if signed else ""))
        parts += [] if self.exact is None else [f"exact match {self.exact:.2%}"]
        return "  ".join(parts)

    def numbers(self) -> dict[str, float]:
        """What goes into metrics.jsonl."""
        found = {"val_loss": self.loss, "bleu": self.bleu, "exact": self.exact}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Split:
    """A split in the three forms evaluation needs. documents: its texts have a start and an end."""

    texts: Texts
    examples: Examples
    loader: Loader
    documents: bool


def split_of(texts: Texts, tokenizer: Tokenizer, recipe: Recipe) -> Split:
    """A split for evaluation: as in training, but never packed, and in a fixed order."""
    examples, config = encode(texts, tokenizer), replace(recipe.batch, packing=False, workers=0)
    loader = Loader(examples, tokenizer, config, seed=recipe.train.seed, documents=recipe.data.documents)
    return Split(texts, examples, loader, recipe.data.documents)


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
    bleu, signature = bleu_of([s.output for s in samples], [s.expected for s in samples])
    exact = sum(s.output == s.expected for s in samples) / len(samples)
    return Evaluation(loss, tokens, bleu, signature, exact, tuple(samples))


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
    config = replace(config, max_new_tokens=min(config.max_new_tokens, LENGTH))
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


def auto_metric(texts: Texts) -> str:
    """What selects the best model, if the recipe does not say: exact match where every target is one word (in ASCII,
    since some scripts write sentences without spaces), else BLEU; for language models the loss."""
    if texts.sources is None:
        return "loss"
    return "bleu" if any(" " in target or not target.isascii() for target in texts.targets) else "exact"


def samples_text(samples: Sequence[Sample]) -> str:
    """Samples as people read them in a file."""
    return "\n".join(f"> {s.source}\n= {s.expected}\n< {s.output}\n" for s in samples)


def bleu_of(outputs: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """Corpus BLEU, cased and detokenised, by sacrebleu, and its signature.   Post 2018, arXiv:1804.08771."""
    bleu: Any = BLEU()
    return float(bleu.corpus_score(list(outputs), [list(references)]).score), str(bleu.get_signature())


def spread(count: int, limit: int | None) -> list[int]:
    """`limit` of 0..count-1, evenly spread."""
    chosen = count if limit is None else min(limit, count)
    return [i * count // chosen for i in range(chosen)]
