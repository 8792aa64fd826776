"""Guesses of a smaller model that has the same vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.draft.draft import DraftConfig
from transduce.generate.packed import reader
from transduce.generate.reading import read_prompts, read_sources
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.state import State
from transduce.model.trial import accepted, trying


@dataclass(frozen=True, kw_only=True)
class RunConfig(DraftConfig):
    """The likeliest tokens under the model of another run, which is smaller and has the same tokens.

    Leviathan et al. 2023, arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318. It pays where that model is several
    times as fast and mostly of one mind with the large one. Beyond its positions there are no guesses.

    run: the directory of the run.
    checkpoint: best, last, or the name of one in checkpoints/ of that run.
    tokens: at most so many guesses at a time.
    """

    kind: ClassVar[str] = "run"
    run: str
    checkpoint: str = "best"
    tokens: int = 4

    def begin(self, source: Sequence[int] | None, prompt: Sequence[int], most: int) -> "Running":
        raise UserError(f"the draft of run={self.run} is opened by `td.load`; give `decode` draft=Opened(model=...)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened(DraftConfig):
    """A model that guesses, already opened.

    model: it has the vocabulary of the model that it guesses for.
    tokens: at most so many guesses at a time.
    """

    model: Model = field(repr=False)
    tokens: int = 4

    def begin(self, source: Sequence[int] | None, prompt: Sequence[int], most: int) -> "Running":
        return Running(reader(self.model), source, len(prompt) + most + self.tokens)


class Running:
    """`Drafter` by a model. What it has read stays where the text goes on as it has guessed."""

    def __init__(self, model: Model, source: Sequence[int] | None, room: int) -> None:
        """Takes room: slots for prompt, text and guesses."""
        self.model, self.source, self.room = model, source, room
        self.limit = 1 << 62 if model.limit is None else model.limit
        self.memory: State = None
        self.read = list[int]()
        self.states = dict[int, State]()  # after so many tokens

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        most = min(most, self.limit - len(text) + 1)
        if most < 1 or len(self.source or ()) > self.limit:
            return []
        if not self.states:
            self.memory = None if self.source is None else read_sources(self.model, [self.source])
            self.read = list(text[:-1])
            self.states = {len(self.read): read_prompts(self.model, [self.read], self.room, self.memory)[1]}
        agreed = next((i for i, (a, b) in enumerate(zip(self.read, text, strict=False)) if a != b), len(self.read))
        keep = min(agreed, len(text) - 1)
        self.read, self.states = self.read[:keep], {keep: self.states[keep]}
        new, out = list(text[keep:]), list[int]()
        while len(out) < most:
            hidden = self.take_in(new)
            out.append(int(self.model.token_head(hidden).argmax()))
            new = out[-1:]
        return out

    def take_in(self, ids: list[int]) -> Tensor:
        """Reads tokens, keeps the state after each, and returns the hidden state of the last one (1, M)."""
        start, row = len(self.read), torch.tensor([ids], device=self.model.device)
        with trying():
            layout = dense(1, len(ids), start, self.model.device)
            y, after = self.model.step(row, layout, self.states[start], self.memory)
        self.read += ids
        self.states |= {start + n: accepted(after, n) for n in range(1, len(ids) + 1)}
        return y[:, -1]
