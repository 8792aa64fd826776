"""Dropout of the same features in all tokens of a row, and of whole words.

Tested in tests/objectives/test_regularised.py.
"""

import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops.dropout import dropout


def locked_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x / (1 - p) in the features (B, 1, M) that are kept, 0 elsewhere, alike in all tokens of a row.

    x: (B, T, M). Identity unless training.   Gal & Ghahramani 2016, arXiv:1512.05287, sec. 4.
    """
    return x * dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p, training) if training and p else x


def word_factors(ids: Tensor, words: int, p: float, like: Tensor) -> Tensor:
    """Returns (B, T, 1): 1 / (1 - p) at words that are kept, 0 at all tokens of those that are dropped.

    ids: (B, T). words: the size of the vocabulary. like: whose precision and device the factors have.
    Gal & Ghahramani 2016, sec. 4.2.
    """
    return F.embedding(ids, dropout(like.new_ones(words, 1), p, training=True))
