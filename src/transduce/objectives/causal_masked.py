"""Causally masked language models: a few spans of a text are moved to its end, so that they are written knowing both
sides.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from transduce.errors import UserError, require_at_least
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.corruption import Frame, Ids, generators, ids, require_sentinels, rows_of
from transduce.objectives.language import checked
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, token_loss
from transduce.objectives.restoring import require_alone
from transduce.objectives.spans import named
from transduce.text.tokenizer import Tokenizer


def apart(size: int, count: int, rng: np.random.Generator) -> Ids:
    """Returns (at most `count`, 2): where spans begin and end, each drawn evenly from all there are; one that touches
    one before it is left out.
    """
    spans = list[tuple[int, int]]()
    for _ in range(count):
        start, stop = sorted(rng.choice(size + 1, 2, replace=False).tolist())
        if all(stop < a or b < start for a, b in spans):
            spans.append((start, stop))
    return np.array(sorted(spans), dtype=np.int64).reshape(-1, 2)


def moved(tokens: Ids, spans: Ids, names: tuple[int, ...]) -> Ids:
    """Returns the text with a name in the place of each span, then each name with its span."""
    source, target = named(tokens, spans, names)
    return ids(source, target[: len(target) - (len(spans) < len(names) and len(spans) > 0)])


@dataclass(frozen=True, kw_only=True)
class CausalMaskedConfig(ObjectiveConfig):
    """-log p(token | tokens before), of a text some of whose spans stand at its end.   Aghajanyan et al. 2022.

    arXiv:2201.07520, sec. 2: the number of spans is Poisson(1), from 1 to 16. The tokens that stand for spans are the
    sentinels of the tokeniser; they are read, not predicted (Fried et al. 2022, arXiv:2204.05999, sec. 2.1).

    mean: of the Poisson distribution.
    most: spans of a text.
    plain: the probability that a text stays as it is.
    label_smoothing: probability that is spread over all tokens instead of given to the target.
    """

    kind: ClassVar[str] = "causal-masked"
    mean: float = 1.0
    most: int = 16
    plain: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, most=self.most)
        if not self.mean > 0.0 or not 0.0 <= self.plain <= 1.0:
            raise UserError(f"mean={self.mean} must be above 0, and plain={self.plain} from 0 to 1")

    def corrupt(self, tokens: Ids, names: tuple[int, ...], rng: np.random.Generator) -> Ids:
        """Returns a text whose spans are moved."""
        if not len(tokens) or rng.random() < self.plain:
            return tokens
        count = min(max(int(rng.poisson(self.mean)), 1), self.most)
        return moved(tokens, apart(len(tokens), count, rng), names)

    def build(self) -> Objective:
        raise AssertionError(f"{self.kind} is built for a tokeniser")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if tokenizer is None:
            raise UserError(f"objective={self.kind} moves tokens, but there is no tokeniser; set tokenizer.kind=bpe")
        if len(model.towers()) > 1 or not model.writes:
            raise UserError(f"objective={self.kind} goes on from the tokens before; set model.kind=decoder")
        self.require_head(model)
        names, frame, smoothing = tokenizer.sentinels, Frame.of(tokenizer, model), checked(self.label_smoothing)
        require_sentinels(self.most, names, self.kind)

        def loss(learner: Learner, batch: Batch) -> Loss:
            require_alone(batch.offset, self.kind)
            rows = frame.texts(batch)
            draws = generators(batch, sum(map(len, rows)), learner.training)
            changed = [[self.corrupt(text, names, next(draws)) for text in row] for row in rows]
            return token_loss(learner, following(batch, changed, frame, names), smoothing)

        return loss


def following(batch: Batch, changed: list[list[Ids]], frame: Frame, names: tuple[int, ...]) -> Batch:
    """Returns a batch for a decoder, where every token but a name is predicted by the one before it."""
    device, limit = batch.inputs.device, frame.limit
    inputs, layout = rows_of([[ids(frame.opens, text)[:limit] for text in row] for row in changed], frame.pad, device)
    after = [[ids(frame.opens[1:], text, [frame.end])[:limit] for text in row] for row in changed]
    targets, _ = rows_of(after, -1, device)
    hidden = torch.isin(targets, torch.tensor([*names, *frame.opens], device=device))
    return Batch(inputs, layout, targets.masked_fill(hidden, -1), examples=batch.examples)
