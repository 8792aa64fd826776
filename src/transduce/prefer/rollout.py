"""The answers of a model: as a batch, as log p, and as what one or several updates learn from and a checkpoint keeps.

Tested in tests/prefer/test_ppo.py.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from transduce.generate.hypothesis import Hypothesis
from transduce.generate.inputs import Inputs, pad
from transduce.model.batch import Batch
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.model.state import over, tensors
from transduce.tasks.chat import Turns

OWN = ("inputs", "targets", "positions", "lengths", "source", "source_positions", "source_lengths")


class Rolled(NamedTuple):
    """Answers to some prompts.

    place: epoch and number of the roll-out. kl: log p - log p of the model at the start, in nats per answer.
    """

    place: tuple[int, int]
    batch: Batch
    kl: float

    def part(self, rows: Tensor) -> Batch:
        """Returns some of the answers as a batch. rows: (R,) their numbers."""
        batch = self.batch
        if torch.equal(rows, torch.arange(len(batch.inputs))):
            return batch
        extra = over(batch.extra, lambda x: x[rows])
        examples = tuple(batch.examples[int(i)] for i in rows)
        layout, source = batch.layout.rows(rows), None if batch.source is None else batch.source[rows]
        beside = None if batch.source_layout is None else batch.source_layout.rows(rows)
        return Batch(batch.inputs[rows], layout, batch.targets[rows], source, beside, extra=extra, examples=examples)

    def tensors(self) -> dict[str, Tensor]:
        """Returns all of it by name."""
        batch = self.batch
        beside = batch.source_layout
        own = (batch.inputs, batch.targets, batch.layout.positions, batch.layout.lengths, batch.source)
        own = (*own, *((None, None) if beside is None else (beside.positions, beside.lengths)))
        out = {name: x for name, x in zip(OWN, own, strict=True) if x is not None}
        out |= {f"extra.{i}": x for i, x in enumerate(tensors(batch.extra))}
        out |= {"place": torch.tensor(self.place), "examples": torch.tensor(batch.examples)}
        return {**out, "kl": torch.tensor(self.kl, dtype=torch.float64)}


def rolled(saved: Mapping[str, Tensor], extra: Any) -> Rolled:
    """Returns what `Rolled.tensors` gave. extra: the class of what an objective reads of the batch."""
    layout = Layout(saved["positions"], lengths=saved.get("lengths"))
    fields = [saved[f"extra.{i}"] for i in range(sum(name.startswith("extra.") for name in saved))]
    examples = tuple(int(i) for i in saved["examples"])
    batch = Batch(saved["inputs"], layout, saved["targets"], extra=extra(*fields), examples=examples)
    if "source" in saved:
        beside = Layout(saved["source_positions"], lengths=saved.get("source_lengths"))
        batch = batch._replace(source=saved["source"], source_layout=beside)
    epoch, number = (int(i) for i in saved["place"])
    return Rolled((epoch, number), batch, float(saved["kl"]))


@contextmanager
def evaluating(model: Model) -> Generator[None]:
    """Lets a model drop nothing out inside."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def built(
    turns: Turns, given: Inputs, rows: Sequence[Sequence[Hypothesis]]
) -> tuple[Batch, Tensor]:  # fmt: skip
    """Returns prompts with their answers, whose tokens are the targets, and which of them did not end (B,)."""
    texts, starts, cut = list[list[int]](), list[int](), list[float]()
    for prompt, row in zip(given.prompts, rows, strict=True):
        for one in row:
            end = [] if not one.finished else [turns.eos if one.end is None else one.end]
            texts.append([*prompt, *one.ids, *end])
            starts.append(len(prompt))
            cut.append(float(not one.finished))
    inputs, layout = pad([text[:-1] for text in texts], torch.device("cpu"))
    targets = torch.full_like(inputs, -1)
    for i, (text, start) in enumerate(zip(texts, starts, strict=True)):
        targets[i, start - 1 : len(text) - 1] = torch.tensor(text[start:], dtype=targets.dtype)
    if given.sources is None:
        return Batch(inputs, layout, targets), torch.tensor(cut)
    each = [source for source, row in zip(given.sources, rows, strict=True) for _ in row]
    source, beside = pad(each, torch.device("cpu"))
    return Batch(inputs, layout, targets, source, beside), torch.tensor(cut)


@torch.no_grad()
def log_p(model: Model, batch: Batch) -> Tensor:
    """Returns (B, T) log p of the targets, 0 where there is none."""
    moved = batch.to(model.device)
    own = moved.targets >= 0
    with evaluating(model):
        values = model.token_head.log_p(model.features(moved)[own], moved.targets[own]).float()
    return torch.zeros(own.shape, device=own.device).masked_scatter(own, values).cpu()
