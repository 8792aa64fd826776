"""BM25: how well a text fits a query by the words they share. It needs no training.

Robertson & Zaragoza 2009, The Probabilistic Relevance Framework, eq. 3.15, with the idf of
Lucene, which is never negative.
Tested in tests/tasks/test_rank.py.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


class Bm25:
    """score(q, d) = sum over words w of q of idf(w) tf(w, d) (k + 1) / (tf(w, d) + k (1 - b + b |d| / mean |d|)).

    idf(w) = ln(1 + (N - n(w) + 0.5) / (n(w) + 0.5)), of N texts of which n(w) have the word.
    """

    def __init__(self, texts: Sequence[str], k: float = 1.2, b: float = 0.75) -> None:
        counts = [Counter(words(text)) for text in texts]
        lengths = np.array([one.total() for one in counts], dtype=np.float64)
        mean = float(lengths.mean()) if len(lengths) else 1.0
        self.size, self.k = len(texts), k
        self.norms = k * (1 - b + b * lengths / max(mean, 1e-12))
        postings = defaultdict[str, list[tuple[int, int]]](list)
        for i, one in enumerate(counts):
            for word, count in one.items():
                postings[word].append((i, count))
        self.postings = {word: np.array(rows, dtype=np.int64) for word, rows in postings.items()}

    def scores(self, query: str) -> NDArray[np.float64]:
        """Returns the score of each text."""
        out = np.zeros(self.size)
        for word, times in Counter(words(query)).items():
            if (rows := self.postings.get(word)) is None:
                continue
            texts, counts = rows[:, 0], rows[:, 1]
            idf = math.log(1 + (self.size - len(rows) + 0.5) / (len(rows) + 0.5))
            out[texts] += times * idf * counts * (self.k + 1) / (counts + self.norms[texts])
        return out


def rank_of(scores: NDArray[np.floating], own: int) -> int:
    """Returns the place of one among all by their scores, from 1; of equal ones the first stands first."""
    mine = scores[own]
    return 1 + int((scores > mine).sum()) + int((scores[:own] == mine).sum())
