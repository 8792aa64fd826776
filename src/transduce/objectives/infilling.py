"""Blank infilling: a decoder reads a text both ways, then writes its hidden spans behind it, in random order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from transduce.errors import UserError, require_probability
from transduce.model.batch import Batch
from transduce.model.layout import infilling
from transduce.model.models import Model
from transduce.objectives.corruption import Frame, Ids, generators, ids, rows_of
from transduce.objectives.denoising import lengths_of, scattered
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, token_loss
from transduce.objectives.restoring import require_alone, require_mean, require_share
from transduce.text.tokenizer import Tokenizer


class Blanks(NamedTuple):
    """A text with blanks, and what fills them. spans: (place of the blank in the text, tokens), in their order."""

    text: Ids
    spans: list[tuple[int, Ids]]


def blanked(tokens: Ids, spans: Ids, mask: int, order: Sequence[int]) -> Blanks:
    """Returns the text with a mask in the place of each of the spans (n, 2), which are written in this order."""
    shown, hidden, at, size = list[Ids](), list[tuple[int, Ids]](), 0, 0
    for start, stop in spans.tolist():
        shown += [tokens[at:start], ids([mask])]
        hidden.append((size + start - at, tokens[start:stop]))
        size, at = size + start - at + 1, stop
    return Blanks(ids(*shown, tokens[at:]), [hidden[i] for i in order])


def filled(blanks: Blanks) -> list[int]:
    """Returns the text with its blanks filled."""
    spans = dict(blanks.spans)
    return [t for i, token in enumerate(blanks.text.tolist()) for t in (spans[i].tolist() if i in spans else [token])]


def infilled(changed: Sequence[Blanks], opens: Sequence[int], start: int, end: int, batch: Batch) -> Batch:
    """Returns a batch for a decoder: the text, then `start` and its tokens for each blank. Each predicts the next
    of its span; the last one predicts `end`.
    """
    device, lead = batch.inputs.device, len(opens)
    inputs = [[ids(opens, one.text, *(ids([start], span) for _, span in one.spans))] for one in changed]
    targets = [
        [ids([-1] * (lead + len(one.text)), *(ids(span, [end]) for _, span in one.spans))] for one in changed
    ]  # fmt: skip
    given, _ = rows_of(inputs, 0, device)
    wanted, _ = rows_of(targets, -1, device)
    shapes = [(lead + len(one.text), [(lead + place, len(span) + 1) for place, span in one.spans]) for one in changed]
    layout = infilling(shapes, given.shape[1])
    return Batch(given, layout, wanted, examples=batch.examples).to(device)


def inner_rows(model: Model) -> int | None:
    """Returns how many places inside a blank the positions of a model have vectors for (None: any number, or none)."""
    [(_, embed, _)] = model.towers()
    table = getattr(getattr(embed, "positions", None), "inner", None)
    return len(table) if isinstance(table, Tensor) else None


@dataclass(frozen=True, kw_only=True)
class InfillingConfig(ObjectiveConfig):
    """-log p(span, end | the text with blanks, the spans before it), spans in random order.   Du et al. 2021.

    arXiv:2103.10360, eq. 1 and 2, sec. 2.1 and 2.2. Every token of the text sees all of it; one of a span, the text and
    all that was written. Places are two: that of the blank, and the one inside it (model.positions.inner).

    fraction: of the tokens of a text that are hidden.
    mean: of the Poisson distribution of the lengths of spans; those of no token are drawn again.
    long: the probability that a text has one long span instead, of half of its tokens to all, evenly.
    """

    kind: ClassVar[str] = "blank-infilling"
    fraction: float = 0.15
    mean: float = 3.0
    long: float = 0.5

    def __post_init__(self) -> None:
        require_share(fraction=self.fraction)
        require_mean(mean=self.mean)
        if self.long != 1.0:
            require_probability(long=self.long)

    def corrupt(self, tokens: Ids, mask: int, rng: np.random.Generator) -> Blanks:
        """Returns a text with blanks."""
        size = len(tokens)
        if not size:
            return Blanks(tokens, [])
        if rng.random() < self.long:
            length = int(rng.integers((size + 1) // 2, size + 1))
            start = int(rng.integers(size - length + 1))
            return blanked(tokens, np.array([[start, start + length]]), mask, [0])
        lengths = [n for n in lengths_of(size, self.fraction, self.mean, rng) if n] or [1]
        return blanked(tokens, scattered(size, lengths, rng), mask, rng.permutation(len(lengths)).tolist())

    def remarks(self) -> list[str]:
        way = "`generate` reads a prompt token by token and goes on, which is not taught: use the model as a start"
        return [f"objective={self.kind} teaches to fill blanks; {way}"]

    def build(self) -> Objective:
        raise AssertionError(f"{self.kind} is built for a tokeniser")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if tokenizer is None:
            raise UserError(f"objective={self.kind} hides tokens, but there is no tokeniser; set tokenizer.kind=bpe")
        if len(model.towers()) > 1 or not model.writes:
            raise UserError(
                f"objective={self.kind} reads a text both ways and writes behind it; set model.kind=decoder"
            )
        self.require_head(model)
        frame, mask, bos, eos, most = (
            Frame.of(tokenizer, model), tokenizer.mask, tokenizer.bos, tokenizer.eos, inner_rows(model),
        )  # fmt: skip

        def loss(learner: Learner, batch: Batch) -> Loss:
            require_alone(batch.offset, self.kind)
            texts = [text for row in frame.texts(batch) for text in row]
            draws = generators(batch, len(texts), learner.training)
            changed = [self.corrupt(text, mask, rng) for text, rng in zip(texts, draws, strict=True)]
            longest = max((len(span) + 2 for one in changed for _, span in one.spans), default=0)
            if most is not None and longest > most:
                raise UserError(
                    f"a blank of {longest - 2} tokens is filled, but model.positions.inner={most} has vectors for "
                    f"{max(most - 2, 0)} of them; set model.positions.inner to batch.max_length + 2"
                )
            return token_loss(learner, infilled(changed, frame.opens, bos, eos, batch), 0.0)

        return loss
