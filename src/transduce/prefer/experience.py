"""Batches of a model's own answers to prompts, with their rewards: what a policy learns from.

The answers of an update are a function of the weights, the prompts and the place in the data: their random numbers
are named by the seed and that place, so a training that was stopped goes on bit for bit.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

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
from transduce.generate.inputs import pad
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.grpo import Explored, GrpoConfig
from transduce.tasks.chat import Turns
from transduce.tasks.explore import ExploreConfig, columns_of
from transduce.text.chat import conversation

FLAT = 10  # roll-outs in a row that teach nothing, after which that is said


class Experience(Loader):
    """The roll-outs of a model. Each batch is made by the weights of the moment in which it is asked for.

    reference: the model at the start of the training.
    """

    def __init__(
        self, examples: Examples, columns: Columns, config: BatchConfig, task: ExploreConfig, objective: GrpoConfig,
        model: Model, reference: Model, readers: Readers, *, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(examples, replace(config, workers=0), seed=seed)
        self.columns, self.task, self.objective, self.readers = columns, task, objective, readers
        self.model, self.reference = model, reference.eval().requires_grad_(False)
        chat = task.template(readers)
        # Were tokens barred, those that are never drawn would take up whatever worse answers lose, unpunished.
        self.turns = Turns(readers.text, chat.end, free=True)
        self.prompts = [chat.ids(conversation(value)) for value in columns[columns.names[0]]]
        most = model.limit
        for number, prompt in enumerate(self.prompts, 1):
            if most is not None and len(prompt) + objective.max_new_tokens - 1 > most:
                what = (
                    f"prompt {number} has {len(prompt)} tokens, and objective.max_new_tokens={objective.max_new_tokens}"
                )
                raise UserError(f"{what} more do not fit the {most} positions of the model; shorten one of them")
        self.flat, self.stopped = 0, ""

    def size(self, epoch: int) -> int:
        """Returns the roll-outs of an epoch."""
        return max(1, len(self.prompts) // self.objective.prompts)

    def stream(self, cursor: Cursor = START, skip: frozenset[Cursor] = frozenset()) -> Iterator[tuple[Cursor, Batch]]:
        """Yields roll-outs from `cursor` on; ends where the model has gone too far from where it started."""
        for place in self._places(cursor, skip):
            batch = self.batch(*place)
            if (most := self.objective.max_kl) is not None and (gone := self.kl) > most:
                self.stopped = (
                    f"answers are {gone:.1f} nats from those of the start, beyond objective.max_kl={most:g}, so the "
                    "training stops; raise it, or objective.beta, to go on"
                )
                return
            yield place, batch

    def batch(self, epoch: int, index: int) -> Batch:
        """Returns the roll-out of a place, by the weights of now."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.prompts))
        some = [int(i) for i in order[index * self.objective.prompts : (index + 1) * self.objective.prompts]]
        questions, expected = columns_of(self.columns, some)
        group = self.objective.group
        rows = self.answers([self.prompts[i] for i in some], epoch, index)
        texts = [self.readers.text.decode(h.ids) for row in rows for h in row]
        repeated = [[text for text in column for _ in range(group)] for column in (questions, expected)]
        values = self.task.reward.rewards(repeated[0], texts, repeated[1])
        rewards = torch.tensor(values, dtype=torch.float64).reshape(-1, group)
        flat = (rewards == rewards[:, :1]).all(1)
        self.tell(bool(flat.all()))
        advantage = self.objective.advantages(rewards).float().flatten()
        batch, cut = self.built([self.prompts[i] for i in some], rows)
        reference = self.log_p(self.reference, batch)
        own = torch.tensor([h.score for row in rows for h in row], dtype=torch.float64)
        self.kl = float((own - reference.double().sum(1)).mean())
        extra = Explored(advantage, reference, rewards.float().flatten(), cut, flat.float().repeat_interleave(group))
        return batch._replace(extra=extra, examples=tuple(i for i in some for _ in range(group)))

    def answers(self, prompts: Sequence[list[int]], epoch: int, index: int) -> list[list[Hypothesis]]:
        """Returns `group` answers to each prompt, drawn from the model as it is."""
        name = hashlib.blake2b(f"{self.seed}|{epoch}|{index}".encode(), digest_size=6).digest()
        options = GenerateConfig(
            temperature=1.0, nbest=self.objective.group, max_new_tokens=self.objective.max_new_tokens,
            seed=int.from_bytes(name),
        )  # fmt: skip
        training = self.model.training
        self.model.eval()
        increment_version(
            list(self.model.parameters())
        )  # fused updates do not count, and decoding keeps copies by that
        try:
            return decode(self.model, self.turns, options, prompt=prompts)
        finally:
            self.model.train(training)

    def built(self, prompts: Sequence[list[int]], rows: Sequence[Sequence[Hypothesis]]) -> tuple[Batch, Tensor]:
        """Returns prompts with their answers, whose tokens are the targets, and which of them did not end (B,)."""
        texts, starts, cut = list[list[int]](), list[int](), list[float]()
        for prompt, row in zip(prompts, rows, strict=True):
            for one in row:
                end = [] if not one.finished else [self.turns.eos if one.end is None else one.end]
                texts.append([*prompt, *one.ids, *end])
                starts.append(len(prompt))
                cut.append(float(not one.finished))
        device = torch.device("cpu")
        inputs, layout = pad([text[:-1] for text in texts], device)
        targets = torch.full_like(inputs, -1)
        for i, (text, start) in enumerate(zip(texts, starts, strict=True)):
            targets[i, start - 1 : len(text) - 1] = torch.tensor(text[start:], dtype=targets.dtype)
        return Batch(inputs, layout, targets), torch.tensor(cut)

    @torch.no_grad()
    def log_p(self, model: Model, batch: Batch) -> Tensor:
        """Returns (B, T) log p of the targets, 0 where there is none."""
        training = model.training
        model.eval()
        moved = batch.to(model.device)
        own = moved.targets >= 0
        values = model.token_head.log_p(model.features(moved)[own], moved.targets[own]).float()
        model.train(training)
        return torch.zeros(own.shape, device=own.device).masked_scatter(own, values).cpu()

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
