"""A sentence has lost one word: where did it stand, and which was it?"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.models import Model
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, decoder, fit, graded
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.sentences import MARKS, Words, batch_of, grammar, log_p

THRESHOLDS = [i / 20 for i in range(21)]


@dataclass(frozen=True, kw_only=True)
class Imputation(Experiment):
    """A grammar of 192 words; 10% of its sentences are never learnt, and some of these lose a word, not at the ends.

    Every word of the grammar is tried in every gap. Distances are between whole sentences, in characters.
    """

    kind: ClassVar[str] = "imputation"
    claim = "A language model finds the gap that a lost word has left, and restores the word where it is sure of it."
    source = "the imputation task on the corpus of Chelba et al. 2013, arXiv:1312.3005; Levenshtein 1966"
    marks = (
        Mark("distance, threshold / unchanged", "<=", 0.5),
        Mark("gap found / chance", ">=", 3),
        Mark("distance, unchanged, off the mean length + 1 by", "<=", 1e-9),
        Mark("Levenshtein distances that differ from the definition", "=", 0),
    )
    minutes = 4
    explain = (
        "The sentence with word w in gap i has probability p(i, w) / the sum of all p. Rules: leave the sentence as it "
        "is (unchanged); insert the likeliest word in the likeliest gap (always), or do so above a probability of 0.5 "
        "(threshold); take what has the least expected distance among the ten likeliest and the unchanged. Each is "
        "measured with the p of the Transformer, and with that of the grammar itself, which is the best there is. "
        "Always inserting, which is known to hurt on real text, does not hurt here: such regular sentences show where "
        "a word is missing, and most often which."
    )
    topics: int = 8
    tests: int = 150
    width: int = 64
    layers: int = 2
    heads: int = 4
    steps: int = 1500
    rate: float = 2e-3
    batch: int = 64

    def run(self, seed: int) -> Measurements:
        p = grammar(self.topics, random.Random(seed))
        words = [*MARKS[:2], *sorted({word for sentence in p for word in sentence})]
        generator = torch.Generator().manual_seed(seed)
        sentences, weights = list(p), torch.tensor(list(p.values()))
        new = torch.rand(len(p), generator=generator) < 0.1
        model = decoder(
            len(words), seed, width=self.width, layers=self.layers, mixer={"kind": "attention", "heads": self.heads}
        )
        ids = {word: i for i, word in enumerate(words)}
        rows = [[ids[word] for word in sentence] for sentence in sentences]
        losses = self.train(model, rows, weights * ~new, generator)
        values: Measurements = {"words": len(words) - 2, "sentences": len(p), "losses": draw.means(losses)}
        tests = [sentences[int(i)] for i in torch.multinomial(weights * new, self.tests, generator=generator)]
        gaps = [Gap(test, 1 + int(torch.randint(len(test) - 2, (1,), generator=generator))) for test in tests]
        values |= measured(gaps, words, [by_model(model, words, gap.left) for gap in gaps])
        best = measured(gaps, words, [by_grammar(p, words, gap.left) for gap in gaps])
        values |= {f"{what}, grammar": value for what, value in best.items()}
        plus_one = sum(len(gap.sentence[gap.place]) + 1 for gap in gaps) / len(gaps)
        values["distance, unchanged, off the mean length + 1 by"] = abs(values["distance, unchanged"] - plus_one)
        source = random.Random(seed)
        pairs = [["".join(source.choices("abc", k=source.randint(0, 8))) for _ in range(2)] for _ in range(1000)]
        wrong = sum(levenshtein(a, b) != definition(a, b) for a, b in pairs)
        return {**values, "Levenshtein distances that differ from the definition": wrong}

    def train(self, model: Model, rows: list[list[int]], weights: Tensor, generator: torch.Generator) -> list[float]:
        def loss() -> Tensor:
            drawn = torch.multinomial(weights, self.batch, replacement=True, generator=generator)
            batch = batch_of([rows[int(i)] for i in drawn])
            return graded(model.token_head(model.features(batch)), batch.targets).loss

        return fit(model, loss, self.steps, adam(model, self.rate))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Distance to the original", "xlabel": "characters"},
            {"title": "Insert the likeliest word above a probability", "xlabel": "probability",
             "ylabel": "distance to the original (characters)"},
        )  # fmt: skip
        rules = {rule: f"distance, {rule}" for rule in ("unchanged", "always", "threshold", "least expected")}
        draw.bars(axes[0], results, rules)
        by = {"Transformer": "distances by threshold", "grammar": "distances by threshold, grammar"}
        draw.lines(axes[1], results, THRESHOLDS, by)
        draw.from_zero(axes[1])
        return figure


class Gap(NamedTuple):
    """A sentence and the place of the word that it loses."""

    sentence: Words
    place: int

    @property
    def left(self) -> Words:
        return (*self.sentence[: self.place], *self.sentence[self.place + 1 :])


def measured(gaps: list[Gap], words: list[str], probabilities: list[Tensor]) -> Measurements:
    """Returns what each rule does. probabilities: of each sentence (gaps, V), which word was lost where."""
    pairs, n = list(zip(gaps, probabilities, strict=True)), len(gaps)

    def distances(answers: Iterable[Words]) -> list[int]:
        both = zip(answers, gaps, strict=True)
        return [levenshtein(" ".join(answer), " ".join(gap.sentence)) for answer, gap in both]

    sure, unchanged = [float(q.max()) for q in probabilities], distances(gap.left for gap in gaps)
    always = distances(restored(gap.left, words, q, 1)[0] for gap, q in pairs)
    expected = distances(least_expected(gap.left, words, q) for gap, q in pairs)

    def above(threshold: float) -> float:
        each = zip(always, unchanged, sure, strict=True)
        return sum(filled if q > threshold else as_it_is for filled, as_it_is, q in each) / n

    rules = {"always": sum(always) / n, "threshold": above(0.5), "least expected": sum(expected) / n}
    hits = sum(int(q.sum(1).argmax()) + 1 == gap.place for gap, q in pairs)
    chance = sum(1 / len(q) for q in probabilities)
    return {
        "distance, unchanged": sum(unchanged) / n,
        **{f"distance, {rule}": distance for rule, distance in rules.items()},
        **{f"distance, {rule} / unchanged": distance * n / sum(unchanged) for rule, distance in rules.items()},
        "distances by threshold": [above(threshold) for threshold in THRESHOLDS],
        "inserted, threshold": sum(q > 0.5 for q in sure) / n,
        "sentences restored, always": sum(distance == 0 for distance in always) / n,
        "gap found": hits / n,
        "gap found by chance": chance / n,
        "gap found / chance": hits / chance,
    }


def restored(sentence: Words, words: list[str], q: Tensor, count: int) -> list[Words]:
    """Returns the likeliest originals."""
    places = q.flatten().topk(count).indices
    changes = [(int(place) // q.shape[1] + 1, words[int(place) % q.shape[1]]) for place in places]
    return [(*sentence[:i], word, *sentence[i:]) for i, word in changes]


def least_expected(sentence: Words, words: list[str], q: Tensor, count: int = 10) -> Words:
    """Returns, of the likeliest originals and the sentence as it is, the one nearest to the likeliest in the mean."""
    likely, weights = restored(sentence, words, q, count), q.flatten().topk(count).values

    def cost(answer: Words) -> float:
        return sum(float(p) * levenshtein(" ".join(answer), " ".join(o)) for o, p in zip(likely, weights, strict=True))

    return min([*likely, sentence], key=cost)


def by_model(model: Model, words: list[str], sentence: Words) -> Tensor:
    """Returns (gaps, V): exp score(i, w), made to sum to 1. score = log p(words with w in gap i) - log p(words)."""
    ids, tried = torch.tensor([words.index(word) for word in sentence]), torch.arange(2, len(words))[:, None]
    scores = torch.full((len(sentence) - 1, len(words)), -torch.inf)
    itself = log_p(model, ids[None])
    for i in range(1, len(sentence)):
        left, right = (part.expand(len(tried), -1) for part in (ids[:i], ids[i:]))
        scores[i - 1, 2:] = log_p(model, torch.cat([left, tried, right], 1)) - itself
    return scores.flatten().softmax(0).view_as(scores)


def by_grammar(p: dict[Words, float], words: list[str], sentence: Words) -> Tensor:
    """Returns the same, with the probabilities by which sentences are made."""
    gaps = range(1, len(sentence))
    q = torch.tensor([[p.get((*sentence[:i], word, *sentence[i:]), 0.0) for word in words] for i in gaps])
    return q / q.sum()


def levenshtein(a: str, b: str) -> int:
    """Returns the fewest insertions, deletions and replacements of characters that make a into b."""
    a, b = apart(*apart(a, b))
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def apart(a: str, b: str) -> tuple[str, str]:
    """Returns both backwards, and without what they begin with together."""
    both = enumerate(zip(a, b, strict=False))
    same = next((i for i, (x, y) in both if x != y), min(len(a), len(b)))
    return a[same:][::-1], b[same:][::-1]


@cache
def definition(a: str, b: str) -> int:
    """Returns the same, slowly."""
    if not a or not b:
        return len(a) + len(b)
    return min(definition(a[1:], b) + 1, definition(a, b[1:]) + 1, definition(a[1:], b[1:]) + (a[0] != b[0]))
