"""The answers of a model from which one or several updates learn, as batches and as a checkpoint keeps them.

Tested in tests/prefer/test_ppo.py.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from transduce.model.batch import Batch
from transduce.model.layout import Layout
from transduce.model.state import over, tensors

OWN = ("inputs", "targets", "positions", "lengths")


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
        layout = batch.layout.rows(rows)
        return Batch(batch.inputs[rows], layout, batch.targets[rows], extra=extra, examples=examples)

    def tensors(self) -> dict[str, Tensor]:
        """Returns all of it by name."""
        batch = self.batch
        own = (batch.inputs, batch.targets, batch.layout.positions, batch.layout.lengths)
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
    epoch, number = (int(i) for i in saved["place"])
    return Rolled((epoch, number), batch, float(saved["kl"]))
