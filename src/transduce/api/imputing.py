"""A sentence that has lost one word: where it stood, and which it was.

The task of "Billion Word Imputation" (Kaggle 2014), measured as there by the distance of characters. n-grams propose
words for every gap, and a language model says which whole sentence is the likeliest.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from transduce.api.opening import load
from transduce.data import read
from transduce.errors import UserError, require_at_least
from transduce.reproduce.ancestors.kneser_ney import KneserNey
from transduce.transducer import Transducer

MARKS = ("<s>", "</s>", "<unk>")
ORDER = 3  # words of the longest n-grams
LONGEST = 1_000_000  # characters of a line

Words = tuple[str, ...]


class Imputed(NamedTuple):
    """A sentence, and the word that was most probably lost, behind its first `gap` words.

    probability: that this word was lost there. text: the sentence with it, where that is likely enough, else as it was.
    """

    text: str
    word: str
    gap: int
    probability: float


class Measured(NamedTuple):
    """The result of a way to restore sentences that have lost one word each.

    distance: Levenshtein distance to the whole sentence, in characters. gaps: found, of all. chance: of guessing one.
    words: gap and word right, of all. inserted: sentences that a word was put into, of all.
    """

    name: str
    distance: float
    gaps: float | None
    chance: float
    words: float | None
    inserted: float


class Guess(NamedTuple):
    """Words that may have been lost, (N,), the gaps that they stood in, and how probable each is."""

    gaps: list[int]
    words: list[str]
    p: list[float]


class Imputer:
    """Restores sentences. model: scores whole sentences.

    texts: from which words and n-grams are counted.
    vocabulary: most words that may have been lost.
    proposals: the likeliest by n-grams, of which the model chooses.
    """

    def __init__(self, model: Transducer, texts: Iterable[str], *, vocabulary: int, proposals: int) -> None:
        require_at_least(1, vocabulary=vocabulary, proposals=proposals)
        sentences = [words for text in texts for line in text.splitlines() if (words := line.split())]
        if all(word in MARKS for words in sentences for word in words):
            raise UserError("there is no word in the texts that n-grams are counted in; give others with --words")
        counts = Counter(word for words in sentences for word in words)
        self.names = [*MARKS, *(word for word, _ in counts.most_common(vocabulary) if word not in MARKS)]
        self.ids = {word: i for i, word in enumerate(self.names)}
        rows = [self.numbers(words) for words in sentences]
        self.grams = KneserNey(rows, len(self.names), ORDER)
        self.model, self.proposals = model, proposals

    def numbers(self, words: Sequence[str]) -> list[int]:
        return [self.ids.get(word, 2) for word in words]

    def by_grams(self, sentence: Words) -> Guess:
        """Returns the likeliest losses by n-grams: p of the sentence with each word in each gap, made to sum to 1."""
        row = [0, *self.numbers(sentence), 1]
        log_p = torch.stack([self.gained(row, i) for i in range(2, len(row) - 1)])  # gaps between two words
        p = log_p[:, len(MARKS) :].flatten().softmax(0)
        best = p.topk(min(self.proposals, len(p)))
        places = cast("list[int]", best.indices.tolist())
        names = self.names[len(MARKS) :]
        size = len(names)
        words = [names[place % size] for place in places]
        return Guess([1 + place // size for place in places], words, best.values.tolist())

    def gained(self, row: Sequence[int], i: int) -> Tensor:
        """Returns (V,): log p of a row with each word before its number i, up to what all words have in common."""
        words, grams = torch.arange(len(self.names)), self.grams
        left, right, beyond = row[i - 1], row[i], row[i + 1] if i + 1 < len(row) else None
        nothing = torch.zeros_like(words)
        one = grams.levels[0].find(nothing, words, grams.symbols)  # numbers of single words
        last = torch.full_like(words, grams.number([left], 1))
        both = grams.levels[1].find(last, words, grams.symbols)  # of pairs with the word on the left
        here = grams.next(row[:i])
        total = here.log() + grams.p(torch.full_like(words, right), [nothing, one, both]).log()
        without = here[right].log()
        if beyond is not None:
            then = torch.full_like(words, right)
            after = [torch.full_like(words, grams.number([right], 1)), grams.levels[1].find(one, then, grams.symbols)]
            total = total + grams.p(torch.full_like(words, beyond), [nothing, *after]).log()
            numbers = [torch.tensor(grams.number(row[: i + 1], n)) for n in range(ORDER)]
            without = without + grams.p(torch.tensor(beyond), numbers).log()
        return total - without

    def by_model(self, sentences: Sequence[Words], guesses: Sequence[Guess] | None = None) -> list[Guess]:
        """Returns the proposals of n-grams for each sentence, with p by the model; they keep their sum.

        guesses: these proposals, where they are there already.
        """
        guesses = [self.by_grams(sentence) for sentence in sentences] if guesses is None else guesses
        pairs = [zip(guess.gaps, guess.words, strict=True) for guess in guesses]
        texts = [" ".join(put(s, gap, word)) for s, pair in zip(sentences, pairs, strict=True) for gap, word in pair]
        scores = iter(self.model.score(texts))
        out = list[Guess]()
        for guess in guesses:
            log_p = torch.tensor([next(scores).total for _ in guess.gaps], dtype=torch.float64)
            p = cast("list[float]", (log_p.softmax(0) * sum(guess.p)).tolist())
            order = sorted(range(len(p)), key=p.__getitem__, reverse=True)
            out.append(Guess([guess.gaps[i] for i in order], [guess.words[i] for i in order], [p[i] for i in order]))
        return out

    def impute(self, texts: Sequence[str], threshold: float = 0.5) -> list[Imputed]:
        """Returns each text restored. threshold: a less probable word is not put in."""
        sentences = [tuple(text.split()) for text in texts]
        able = [i for i, sentence in enumerate(sentences) if len(sentence) > 1]
        guesses = dict(zip(able, self.by_model([sentences[i] for i in able]), strict=True))
        return [restored(text, sentences[i], guesses.get(i), threshold) for i, text in enumerate(texts)]

    def measure(self, texts: Iterable[str], threshold: float = 0.5, seed: int = 0) -> list[Measured]:
        """Takes a word out of each sentence, not the first or last, and returns how well it is put back.

        Sentences of fewer than three words are left out. Rows: nothing is done, by n-grams, by the model, and by the
        model that always puts a word in. Raises UserError where none is left.
        """
        whole = [words for text in texts if len(words := tuple(text.split())) > 2]
        if not whole:
            raise UserError("no line has three words or more, of which one could be lost; give sentences")
        draw = random.Random(seed)
        places = [draw.randrange(1, len(words) - 1) for words in whole]
        left = [(*words[:i], *words[i + 1 :]) for words, i in zip(whole, places, strict=True)]
        chance = sum(1 / (len(words) - 1) for words in left) / len(left)
        nothing = sum(map(apart, whole, left)) / len(left)
        rows = [Measured("nothing is done", nothing, None, chance, None, 0.0)]
        grams = [self.by_grams(one) for one in left]
        model = self.by_model(left, grams)
        ways = [(f"{ORDER}-grams", grams, threshold), ("the model", model, threshold)]
        for name, guesses, least in (*ways, ("the model, always", model, 0.0)):
            answers = [restored(" ".join(one), one, guess, least) for one, guess in zip(left, guesses, strict=True)]
            distance = sum(apart(one.text.split(), words) for one, words in zip(answers, whole, strict=True))
            truth = [(place, words[place]) for place, words in zip(places, whole, strict=True)]
            gaps = sum(by_gap(guess) == place for guess, (place, _) in zip(guesses, truth, strict=True))
            words = sum((one.gap, one.word) == right for one, right in zip(answers, truth, strict=True))
            sure = sum(one.probability >= least for one in answers)
            n = len(left)
            rows.append(Measured(name, distance / n, gaps / n, chance, words / n, sure / n))
        return rows


def put(sentence: Words, gap: int, word: str) -> Words:
    """Returns a sentence with a word behind its first `gap` words."""
    return (*sentence[:gap], word, *sentence[gap:])


def by_gap(guess: Guess) -> int:
    """Returns the likeliest gap, whichever word it lost."""
    sums = Counter[int]()
    for gap, p in zip(guess.gaps, guess.p, strict=True):
        sums[gap] += p  # type: ignore[assignment]
    return max(sums, key=sums.__getitem__)


def restored(text: str, sentence: Words, guess: Guess | None, threshold: float) -> Imputed:
    """Returns a text with the likeliest word, if that is at least as probable as the threshold."""
    if guess is None:
        return Imputed(text, "", 0, 0.0)
    gap, word, p = guess.gaps[0], guess.words[0], guess.p[0]
    return Imputed(" ".join(put(sentence, gap, word)) if p >= threshold else text, word, gap, p)


def apart(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns the Levenshtein distance of two sentences, in characters."""
    from transduce.reproduce.experiments.imputation import levenshtein  # which draws pictures, and loads for that

    return levenshtein(" ".join(a), " ".join(b))


def imputer(
    run: str | Path, *, words: str | Path | None = None, vocabulary: int = 10_000, proposals: int = 32,
    checkpoint: str = "best", device: str = "auto",
) -> Imputer:  # fmt: skip
    """Returns what restores sentences with a language model.

    words: a file to count words and n-grams in (None: its training data).
    Raises UserError for a model that gives texts no score, and where there are no texts.
    """
    model = load(run, checkpoint=checkpoint, device=device)
    model.score(["a b"])  # which refuses a model of another task
    if words is None:
        texts: Iterable[str] = [text for column in [model.recipe.data.load(model.task.reads)["train"]]
                                for name in column.names for text in column[name]]  # fmt: skip
    else:
        texts = read.passing(str(words), LONGEST)
    return Imputer(model, texts, vocabulary=vocabulary, proposals=proposals)
