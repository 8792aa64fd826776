"""Sentences with a label, read from files as padded rows of words; and what their words tell without their order."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from transduce.data.read import lines
from transduce.errors import UserError
from transduce.model.layout import Layout, right_padded

UNKNOWN = 0  # the id of a word that the training sentences do not have twice


class Reviews(NamedTuple):
    """ids: (N, T) words, padded on the right. lengths, labels: (N,), a label 0 or 1."""

    ids: Tensor
    lengths: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Reviews":
        """Returns some of them, without the padding that none of them needs."""
        lengths = self.lengths[rows]
        return Reviews(self.ids[rows, : int(lengths.max())], lengths, self.labels[rows])

    @property
    def layout(self) -> Layout:
        return right_padded(self.lengths, self.ids.shape[1])


def read(folder: Path | None, tokens: int) -> tuple[Reviews, Reviews, int]:
    """Returns the sentences of train.txt and of valid.txt, and how many words are known, `UNKNOWN` included."""
    if folder is None:
        raise UserError(
            "this experiment reads sentences; give --data DIR, a folder with train.txt and valid.txt of lines such as "
            "`1 a funny film`"
        )
    train, valid = labelled(folder / "train.txt"), labelled(folder / "valid.txt")
    counts = Counter(word for _, sentence in train for word in sentence)
    ids = {word: i for i, word in enumerate(sorted(word for word, n in counts.items() if n > 1), UNKNOWN + 1)}

    def made(lines: list[tuple[int, list[str]]]) -> Reviews:
        rows = [torch.tensor([ids.get(word, UNKNOWN) for word in sentence[:tokens]]) for _, sentence in lines]
        grid = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=UNKNOWN)
        return Reviews(grid, torch.tensor([len(row) for row in rows]), torch.tensor([label for label, _ in lines]))

    return made(train), made(valid), len(ids) + 1


def labelled(path: Path) -> list[tuple[int, list[str]]]:
    """Returns the label and the words of each line. Raises UserError for other lines, and for a single label."""
    sentences = list[tuple[int, list[str]]]()
    for number, line in enumerate(lines(path, 1 << 62), 1):
        label, _, sentence = line.partition(" ")
        if label not in ("0", "1") or not sentence.split():
            raise UserError(
                f"{path}, line {number}, is {line[:40]!r}, which is not 0 or 1, a space and a sentence; give a folder "
                f"with lines such as `1 a funny film`"
            )
        sentences.append((int(label), sentence.split()))
    if len(labels := {label for label, _ in sentences}) == 1:
        raise UserError(f"{path} has sentences of label {labels.pop()} alone; give it some of both, 0 and 1")
    return sentences


def bayes(train: Reviews, valid: Reviews, words: int) -> Tensor:
    """Returns labels (N,) by naive Bayes: the words of a sentence, each once, counted from 1.   Wang & Manning 2012."""
    rows = [(train.labels == label).nonzero()[:, 0] for label in (0, 1)]
    counts = [present(train.take(those), words).sum(0) + 1 for those in rows]
    weights = (counts[1] / counts[1].sum()).log() - (counts[0] / counts[0].sum()).log()
    share = train.labels.float().mean()
    return (present(valid, words) @ weights + share.logit() > 0).long()


def present(reviews: Reviews, words: int) -> Tensor:
    """Returns (N, words): 1 where a sentence has the word."""
    has_word = torch.zeros(len(reviews.labels), words)
    row, slot = reviews.layout.valid.nonzero(as_tuple=True)
    has_word[row, reviews.ids[row, slot]] = 1
    return has_word
