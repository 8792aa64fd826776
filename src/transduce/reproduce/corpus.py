"""A text as characters: what language models of the experiments are trained on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from transduce.data.read import text
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.reproduce.fit import score


@dataclass(frozen=True)
class Corpus:
    """train, valid: one id per character. symbols: how many there are."""

    train: Tensor
    valid: Tensor
    symbols: int

    @classmethod
    def read(cls, folder: Path | None) -> "Corpus":
        """Reads train.txt and valid.txt of a folder, or train.txt.gz and valid.txt.gz."""
        if folder is None:
            raise UserError("this experiment reads a text; give --data DIR, a folder with train.txt and valid.txt")
        train, valid = text(folder / "train.txt"), text(folder / "valid.txt")
        ids = {character: i for i, character in enumerate(sorted(set(train + valid)))}
        return cls(*(torch.tensor([ids[c] for c in part]) for part in (train, valid)), symbols=len(ids))

    def draw(self, rows: int, tokens: int, generator: torch.Generator) -> Batch:
        """Returns rows of text that begin anywhere."""
        starts = torch.randint(len(self.train) - tokens - 1, (rows, 1), generator=generator)
        return shifted(self.train[starts + torch.arange(tokens + 1)])

    def loss(self, model: Model, tokens: int, rows: int = 64, most: int = 1 << 62) -> float:
        """Returns nats per character of the validation text, cut into rows of `tokens`; at most the first `most`
        characters.
        """
        whole = self.valid[: most + 1]
        count = (len(whole) - 1) // tokens
        cut = whole[torch.arange(count)[:, None] * tokens + torch.arange(tokens + 1)]
        total = 0.0
        with torch.no_grad():
            for start in range(0, count, rows):
                part = cut[start : start + rows]
                total += len(part) * float(score(model, shifted(part)).loss)
        return total / count


def shifted(rows: Tensor) -> Batch:
    """Returns rows (B, T + 1) of text as T inputs and the T tokens that follow them."""
    return Batch(rows[:, :-1], dense(rows.shape[0], rows.shape[1] - 1), rows[:, 1:])
