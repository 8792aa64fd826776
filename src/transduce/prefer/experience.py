"""Batches of a model's own answers to prompts, with their rewards: what a policy learns from.

The answers of an update are a function of the weights, the prompts and the place in the data: their random numbers
are named by the seed and that place, so a training that was stopped goes on bit for bit.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from transduce.data.columns import Columns
from transduce.data.examples import Examples
from transduce.data.loader import START, BatchConfig, Cursor, Loader
from transduce.data.readers.reader import Readers
from transduce.errors import Notice, UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.inputs import Inputs, prepare
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.grpo import Answered, GrpoConfig
from transduce.prefer.rollout import Rolled, built, evaluating, log_p, rolled
from transduce.tasks.explore import ExploreConfig, MinimumRiskConfig

FLAT = 10  # roll-outs in a row that teach nothing, after which that is said


class Experience(Loader):
    """The roll-outs of a model. Each batch is made by the weights of the moment in which it is asked for.

    reference: the model at the start of the training.
    precise: the precision of an update, as a context.
    """

    def __init__(
        self, examples: Examples, columns: Columns, config: BatchConfig,
        task: ExploreConfig | MinimumRiskConfig, objective: GrpoConfig,
        model: Model, reference: Model, readers: Readers, *, seed: int,
        precise: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:  # fmt: skip
        super().__init__(examples, replace(config, workers=0), seed=seed)
        self.columns, self.task, self.objective, self.readers = columns, task, objective, readers
        self.precise = precise
        self.model, self.reference = model, reference.eval().requires_grad_(False)
        self.vocabulary, given, prompts = task.questions(columns, readers)
        self.inputs, most = prepare(model, self.vocabulary, given, prompts), model.limit
        for number, source in enumerate(self.inputs.sources or (), 1):
            if most is not None and len(source) > most:
                what = f"source {number} has {len(source)} tokens, but this model can read {most}"
                raise UserError(f"{what}; shorten it, or take it out of the data")
        for number, prompt in enumerate(self.inputs.prompts, 1):
            if most is not None and len(prompt) + objective.max_new_tokens - 1 > most:
                what = (
                    f"prompt {number} has {len(prompt)} tokens, and objective.max_new_tokens={objective.max_new_tokens}"
                )
                raise UserError(f"{what} more do not fit the {most} positions of the model; shorten one of them")
        self.flat, self.stopped = 0, ""
        self.rolled: Rolled | None = None

    def size(self, epoch: int) -> int:
        """Returns the batches of an epoch, which asks each prompt once."""
        return max(1, len(self.inputs.prompts) // self.objective.prompts) * self.objective.updates

    def stream(self, cursor: Cursor = START, skip: frozenset[Cursor] = frozenset()) -> Iterator[tuple[Cursor, Batch]]:
        """Yields batches from `cursor` on; ends where the model has gone too far from where it started."""
        for place in self._places(cursor, skip):
            before = self.rolled
            batch = self.batch(*place)
            if (most := self.objective.max_kl) is not None and (gone := self.kl) > most:
                self.rolled = before
                self.stopped = (
                    f"answers are {gone:.1f} nats from those of the start, beyond objective.max_kl={most:g}, so the "
                    "training stops; raise it, or objective.beta, to go on"
                )
                return
            yield place, batch

    @property
    def kl(self) -> float:
        """Returns how far the answers of the last roll-out are from those of the start, in nats per answer."""
        return 0.0 if self.rolled is None else self.rolled.kl

    def batch(self, epoch: int, index: int) -> Batch:
        """Returns the batch of a place: the first one of a roll-out makes it, by the weights of now."""
        number, part = divmod(index, self.objective.updates)
        if part == 0 or self.rolled is None or self.rolled.place != (epoch, number):
            self.rolled = self.roll(epoch, number)
        return self.rolled.part(self.objective.parts(len(self.rolled.batch.inputs), (self.seed, epoch, number))[part])

    def state(self, cursor: Cursor) -> dict[str, Tensor]:
        number, part = divmod(cursor.index, self.objective.updates)
        under_way = part > 0 and self.rolled is not None and self.rolled.place == (cursor.epoch, number)
        return self.rolled.tensors() if under_way and self.rolled is not None else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.rolled = rolled(state, self.objective.holds) if state else None

    def roll(self, epoch: int, index: int) -> Rolled:
        """Returns the roll-out of a place, by the weights of now."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.inputs.prompts))
        some = [int(i) for i in order[index * self.objective.prompts : (index + 1) * self.objective.prompts]]
        questions, expected = self.task.asked(self.columns, some)
        group = self.objective.group
        inputs = self.inputs.rows(some)
        rows = self.answers(inputs, epoch, index)
        texts = [self.readers.text.decode(h.ids) for row in rows for h in row]
        repeated = [[text for text in column for _ in range(group)] for column in (questions, expected)]
        values = self.task.reward.rewards(repeated[0], texts, repeated[1])
        rewards = torch.tensor(values, dtype=torch.float64).reshape(-1, group)
        self.tell(bool(self.objective.flat(rewards).all()))
        batch, cut = built(self.vocabulary, inputs, rows)
        reference = log_p(self.reference, batch)
        own = torch.tensor([h.score for row in rows for h in row], dtype=torch.float64)
        kl = float((own - reference.double().sum(1)).mean())
        with evaluating(self.model), torch.no_grad(), self.precise():
            extra = self.objective.explored(Answered(batch, reference, rewards, cut), self.model)
        batch = batch._replace(extra=extra, examples=tuple(i for i in some for _ in range(group)))
        return Rolled((epoch, index), batch, kl)

    def answers(self, inputs: Inputs, epoch: int, index: int) -> list[list[Hypothesis]]:
        """Returns `group` answers to each input, drawn from the model as it is."""
        name = hashlib.blake2b(f"{self.seed}|{epoch}|{index}".encode(), digest_size=6).digest()
        options = GenerateConfig(
            temperature=1.0, nbest=self.objective.group, max_new_tokens=self.objective.max_new_tokens,
            seed=int.from_bytes(name),
        )  # fmt: skip
        increment_version(
            list(self.model.parameters())
        )  # fused updates do not count, and decoding keeps copies by that
        with evaluating(self.model):
            return decode(self.model, self.vocabulary, options, source=inputs.sources, prompt=inputs.prompts)

    def tell(self, flat: bool) -> None:
        """Says it where no roll-out has taught anything for a while."""
        self.flat = self.flat + 1 if flat else 0
        if self.flat == FLAT:
            what = (
                f"all answers to each prompt got the same reward in {FLAT} roll-outs, so nothing was learnt from them"
            )
            way = (
                "train the model longer before (sft), raise objective.group, or give a reward with more than two values"
            )
            warnings.warn(f"{what}; {way}", Notice, stacklevel=2)
