"""Sentences of words, from files or made by a grammar: how language models learn them and are asked for log p."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.data.read import lines, required
from transduce.errors import UserError
from transduce.generate.inputs import pad
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model

BOS, EOS, UNK = 0, 1, 2
MARKS = ("<s>", "</s>", "<unk>")
Ids = Sequence[Sequence[int]]
Words = tuple[str, ...]
Choice = list[tuple[Words, float]]  # what may stand at a place, and how likely it is


class Ends:
    """The ids of <s> and </s>, as scoring wants them."""

    bos, eos = BOS, EOS

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


@dataclass(frozen=True)
class Sentences:
    """train, valid: ids of the words of each sentence. words: what each id stands for."""

    train: list[list[int]]
    valid: list[list[int]]
    words: list[str]

    @classmethod
    def read(cls, folder: Path | None, vocabulary: int, words: int, counts: tuple[int, int], seed: int) -> "Sentences":
        """Returns so many sentences of train.txt and valid.txt (or .gz), drawn at random; spaces part words.

        A sentence ends with its line, or with a word that is a full stop. vocabulary: its number of words, the
        most frequent of those drawn, <s>, </s> and <unk> included. words: a sentence with more is left out, as are
        empty lines and headings of articles (` = Title = `).
        """
        if folder is None:
            raise UserError("this experiment reads sentences; give --data DIR, a folder with train.txt and valid.txt")
        generator, splits = torch.Generator().manual_seed(seed), list[list[list[str]]]()
        for name, count in zip(("train.txt", "valid.txt"), counts, strict=True):
            [path] = required(folder, name)
            rows = [line.lower().split() for line in lines(path, 1_000_000) if not line.startswith(" =")]
            fits = [sentence for row in rows for sentence in cut(row) if len(sentence) <= words]
            if not fits:
                raise UserError(f"{path} has no sentence of 1 to {words} words; give one sentence per line")
            order = torch.randperm(len(fits), generator=generator)[:count]
            splits.append([fits[int(i)] for i in order])
        counts_of = Counter(word for sentence in splits[0] for word in sentence if word not in MARKS)
        symbols = [*MARKS, *sorted(counts_of, key=lambda word: (-counts_of[word], word))[: vocabulary - len(MARKS)]]
        ids = {word: i for i, word in enumerate(symbols)}
        train, valid = ([[ids.get(word, UNK) for word in sentence] for sentence in split] for split in splits)
        return cls(train, valid, symbols)


def cut(words: list[str]) -> Iterator[list[str]]:
    """Yields a line as sentences, each with the full stop that ends it."""
    start = 0
    for end, word in enumerate(words, 1):
        if word == "." or end == len(words):
            yield words[start:end]
            start = end


def batch_of(sentences: Ids) -> Batch:
    """Returns <s> w1 .. wn as inputs, w1 .. wn </s> as targets, and -1 behind a shorter sentence."""
    inputs, layout = pad([[BOS, *sentence] for sentence in sentences], torch.device("cpu"))
    targets, _ = pad([[*sentence, EOS] for sentence in sentences], torch.device("cpu"))
    return Batch(inputs, layout, targets.masked_fill(~layout.valid, -1))


def mean_loss(model: Model, sentences: Ids, rows: int = 100) -> float:
    """Returns nats per word, </s> counted."""
    total, words = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(sentences), rows):
            batch = batch_of(sentences[start : start + rows])
            has_target = batch.targets >= 0
            loss, _ = model.token_head.loss(model.features(batch)[has_target], batch.targets[has_target])
            total, words = total + float(loss), words + int(has_target.sum())
    return total / words


@torch.no_grad()
def step_by_step(model: Model, sentences: Ids) -> list[float]:
    """Returns log p of each sentence, read a word at a time."""
    out = list[float]()
    for sentence in sentences:
        state, logs = model.init_state(1, len(sentence) + 1), list[float]()
        for t, (word, after) in enumerate(zip([BOS, *sentence], [*sentence, EOS], strict=True)):
            hidden, state = model.step(torch.tensor([[word]]), dense(1, 1, t), state)
            logs.append(float(model.token_head(hidden)[0, 0].log_softmax(-1)[after]))
        out.append(math.fsum(logs))
    return out


@torch.no_grad()
def log_p(model: Model, rows: Tensor) -> Tensor:
    """Returns (R,) log p of sentences (R, T) of one length, </s> included."""
    inputs, targets = F.pad(rows, (1, 0), value=BOS), F.pad(rows, (0, 1), value=EOS)
    logits = model.token_head(model.features(Batch(inputs, dense(len(inputs), inputs.shape[1]), targets)))
    return -F.cross_entropy(logits.mT, targets, reduction="none").sum(1)


def grammar(topics: int, source: random.Random) -> dict[Words, float]:
    """Returns all sentences `this [adj] noun [who verb the object] verb the object at the place`, with probabilities.

    All content words are of one topic. The verbs and `this` agree in number with the noun. Each of four nouns has a
    verb, each verb an object, each pair of nouns an adjective: 0.8 of the time these stand together.
    """
    new = invented(source)
    this, these, the, who, *prepositions = (next(new) for _ in range(8))
    p: dict[Words, float] = {}
    for topic in range(topics):
        nouns, verbs, objects = ([next(new) for _ in range(4)] for _ in range(3))
        adjectives, place = [next(new) for _ in range(2)], next(new)
        end: Choice = [((prepositions[topic % 4], the, place), 1.0)]
        for agent, (article, noun_end, verb_end) in product(range(4), ((this, "", "s"), (these, "s", ""))):
            acts = {(v, o): (verbs[v] + verb_end, the, objects[o]) for v, o in product(range(4), repeat=2)}
            start: Choice = [((article,), 1 / (topics * 4 * 2))]
            described = [((), 0.5), *(((adjectives[a],), 0.5 * own(a, agent % 2, 2)) for a in range(2))]
            noun: Choice = [((nouns[agent] + noun_end,), 1.0)]
            clause = [((), 0.6), *(((who, *act), 0.4 * own(o, v, 4) / 4) for (v, o), act in acts.items())]
            does = [(act, own(v, agent, 4) * own(o, v, 4)) for (v, o), act in acts.items()]
            for parts in product(start, described, noun, clause, does, end):
                probability = 1.0
                for _, each in parts:
                    probability *= each
                p[tuple(chain.from_iterable(words for words, _ in parts))] = probability
    return p


def own(i: int, of: int, among: int) -> float:
    return 0.8 if i == of else 0.2 / (among - 1)


def invented(source: random.Random) -> Iterator[str]:
    """Yields words that are all different, the first eight of one syllable, then of two or three."""
    earlier = set[str]()
    while True:
        count = 1 if len(earlier) < 8 else source.randint(2, 3)
        word = "".join(source.choice(letters) for letters in ("bdfgklmnprtvz", "aeiou", "lmnr") * count)
        if word not in earlier:
            earlier.add(word)
            yield word
