"""A second thing to predict of a text: do its two halves follow one another, or stand in their order?"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.heads.head import PooledHead
from transduce.model.layout import Marks
from transduce.model.models import Model
from transduce.objectives.corruption import Frame, Ids, generators, ids, rows_of

Pair = Literal["none", "next", "order"]
NAME = "pair"  # of the head


def halves(text: Ids, ends: NDArray[np.bool_]) -> tuple[Ids, Ids]:
    """Returns the two halves of a text, parted behind the sentence that ends next to its middle, or in its middle."""
    cuts = np.flatnonzero(ends[text[:-1]]) + 1
    middle = len(text) // 2
    cut = int(cuts[np.abs(cuts - middle).argmin()]) if len(cuts) else middle
    return text[:cut], text[cut:]


def paired(batch: Batch, frame: Frame, ends: NDArray[np.bool_], pair: Pair, training: bool) -> tuple[Batch, Tensor]:
    """Returns the batch with two parts in each row, `lead` A `after` B `after`, and (B,) their class.

    next: 1 where B is the second half of another text of the batch. order: 1 where the halves are exchanged. Each is so
    with probability 1/2; -1 where a text has one token, or is alone in its batch.
    """
    lead, device = frame.before or frame.opens, batch.inputs.device
    texts = [text for row in frame.texts(batch) for text in row]
    room = None if frame.limit is None else frame.limit - len(lead) - 2 * len(frame.after)
    parts = [halves(text[:room], ends) for text in texts]
    rows, types, classes = list[list[Ids]](), list[list[Ids]](), list[int]()
    for i, rng in enumerate(generators(batch, len(texts), training)):
        (a, b), odd = parts[i], bool(rng.integers(2))
        whole = len(a) > 0 and len(b) > 0
        if odd and whole and pair == "order":
            a, b = b, a
        elif odd and pair == "next":
            other = parts[(i + 1 + int(rng.integers(max(len(parts) - 1, 1)))) % len(parts)][1]
            whole = whole and len(parts) > 1 and len(other) > 0
            b = other[: len(b)] if whole else b
        classes.append(int(odd) if whole else -1)
        sides = [ids(lead, a, frame.after), ids(b, frame.after)]
        rows.append([ids(*sides)])
        types.append([ids(*([number] * len(side) for number, side in enumerate(sides)))])
    inputs, layout = rows_of(rows, frame.pad, device)
    kinds, _ = rows_of(types, 0, device)
    changed = Batch(inputs, layout._replace(marks=Marks(types=kinds)), inputs, examples=batch.examples)
    return changed, torch.tensor(classes, device=device)


def pair_loss(head: PooledHead, hidden: Tensor, batch: Batch, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean cross entropy of the classes, and the share that is right; 0 where there are none."""
    known = classes >= 0
    logits, wanted = head(hidden, batch.layout)[known], classes[known]
    count = max(len(wanted), 1)
    right = (logits.argmax(-1) == wanted).sum() / count
    return F.cross_entropy(logits, wanted, reduction="sum") / count, right


def require_pair_head(model: Model) -> None:
    """Raises UserError unless a model has the head that tells the two classes apart, and embeds two types of tokens."""
    head = dict(model.heads.items()).get(NAME)
    if not isinstance(head, PooledHead) or head.size != 2:
        raise UserError(
            f"objective.pair predicts one of two classes of each row; set model.heads.{NAME}.kind=classes, "
            f"model.heads.{NAME}.classes=2 and model.heads.{NAME}.pool=[first]"
        )
