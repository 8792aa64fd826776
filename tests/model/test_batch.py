"""A batch counts its tokens, moves whole, and a model is given the source that it reads."""

import pytest
import torch

from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, packed, right_padded

IDS, SOURCE = torch.arange(10).view(2, 5), torch.arange(8).view(2, 4)
MODELS = [
    DecoderConfig(width=16, layers=1),
    EncoderConfig(width=16, layers=1),
    EncoderDecoderConfig(width=16, layers=1),
]


def test_tokens_are_real_slots_of_both_sides() -> None:
    here, there = right_padded(torch.tensor([5, 2]), 5), packed([[2, 1], [4]], 4)
    assert (Batch(IDS, here, IDS).tokens, Batch(IDS, here, IDS).slots) == (7, 10)
    both = Batch(IDS, here, IDS, SOURCE, there)
    assert (both.tokens, both.slots) == (7 + 7, 10 + 8)


def test_it_moves_whole() -> None:
    extra = (torch.ones(2), (torch.zeros(2, 3), None))
    batch = Batch(IDS, dense(2, 5), IDS, SOURCE, dense(2, 4), torch.ones(2, 5), extra, (3, 4), 7)
    moved = batch.to(torch.device("meta"))
    tensors = [moved.inputs, moved.layout.positions, moved.targets, moved.source, moved.source_layout.positions]
    assert {x.device.type for x in [*tensors, moved.weights, moved.extra[0], moved.extra[1][0]]} == {"meta"}
    assert (moved.examples, moved.offset, moved.extra[1][1]) == ((3, 4), 7, None)


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.kind)
def test_a_model_takes_what_it_reads_and_refuses_the_rest(config) -> None:
    model = config.build(10).eval()
    batch = model.given(IDS, dense(2, 5), SOURCE, dense(2, 4))
    assert torch.equal(batch.inputs, IDS)
    assert torch.equal(batch.targets, IDS)
    assert model.features(batch).shape == (2, 5, 16)
    assert (model.remember(batch.source, batch.source_layout) is None) == (batch.source is None)
    if batch.source is None:
        other, told = Batch(IDS, dense(2, 5), IDS, SOURCE, dense(2, 4)), "it reads no source; give the text as a prompt"
    else:
        other, told = Batch(IDS, dense(2, 5), IDS), "give it a source"
    for ask in (lambda: model.features(other), lambda: model.remember(other.source, other.source_layout)):
        with pytest.raises(UserError, match=told):
            ask()
    assert [tower.stack for tower in model.towers()] == model.stacks()
