from itertools import repeat

import torch

from transduce.inspect.plan import Work, costs, probe
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.language import NextTokenConfig
from transduce.optim.adamw import AdamWConfig


def work(accumulate: int = 1) -> tuple[Work, Batch]:
    model = DecoderConfig(width=16, layers=1).build(20)
    ids = torch.randint(0, 20, (4, 13))
    precision = torch.autocast("cpu", torch.bfloat16, enabled=False)
    return Work(model, NextTokenConfig().build(), AdamWConfig().build(model), precision, accumulate), Batch(
        ids, dense(4, 13), ids
    )


def test_memory_is_that_of_the_tensors() -> None:
    what, batch = work()
    found = costs(what, batch, (0, 13))
    count = sum(p.numel() for p in what.model.parameters())
    assert sum(found.parameters.values()) == count
    assert found.tokens == 13
    assert found.weights == found.gradients == 4 * count
    assert found.optimizer == 8 * count + 4 * len(list(what.model.parameters()))  # two moments, and each one's steps
    assert found.activations > 4 * 13 * 16 * 4
    assert 2.9 < found.training_flops / found.forward_flops < 3.3
    assert all(p.grad is None for p in what.model.parameters())


def test_the_probe_counts_tokens_of_all_batches_of_an_update() -> None:
    what, batch = work(accumulate=3)
    assert what.update(repeat(batch)) == 3 * 52
    found = probe(what, repeat(batch), seconds=0.0)
    assert found.updates == 3
    assert abs(found.tokens_per_second * found.seconds_per_update - 3 * 52) < 1e-6
    assert found.peak > 1 << 20
