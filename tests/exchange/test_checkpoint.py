from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn

from transduce.errors import UserError
from transduce.exchange.checkpoint import without_numbers
from transduce.model.architecture import EncoderDecoderConfig


def test_modules_have_no_numbers_inside_and_their_tables_do() -> None:
    config = EncoderDecoderConfig(width=8, layers=2)
    with without_numbers():
        model = config.assemble(11)
    assert all(p.is_meta for p in model.parameters())
    tables = list(model.buffers())
    assert tables
    assert not any(x.is_meta for x in tables)
    assert model.encoder.embed.weight is model.head.weight
    assert not nn.Linear(2, 2).weight.is_meta


def test_another_thread_builds_modules_with_numbers_meanwhile() -> None:
    """Both are inside at the same moment, one with and one without; each keeps its own after it."""
    inside, built = Barrier(2, timeout=20), Barrier(2, timeout=20)

    def ours() -> list[bool]:
        with without_numbers():
            inside.wait()
            layers = [nn.Linear(3, 2)]
            built.wait()
            layers.append(nn.Linear(3, 2))
        return [layer.weight.is_meta for layer in (*layers, nn.Linear(3, 2))]

    def other() -> list[bool]:
        inside.wait()
        layers = [nn.Linear(3, 2)]
        built.wait()
        return [layer.weight.is_meta for layer in layers]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(ours), pool.submit(other)
        assert first.result() == [True, True, False]
        assert second.result() == [False]


def test_it_is_put_back_after_an_error_and_within_another() -> None:
    with without_numbers():
        with pytest.raises(UserError, match="more tensors than there are numbers in the files"), without_numbers(3):
            nn.Sequential(*(nn.Linear(3, 2) for _ in range(2)))
        assert nn.Linear(2, 2).weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta
    assert torch.equal(nn.LayerNorm(3).weight, torch.ones(3))
