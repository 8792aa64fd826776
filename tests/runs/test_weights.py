from pathlib import Path

import pytest
import torch
from torch import nn

from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.runs import checkpoint
from transduce.runs.weights import load_weights, weights

MODELS = {
    "one-table": EncoderDecoderConfig(width=8, layers=1),
    "two-tables": EncoderDecoderConfig(width=8, layers=1, tie_embeddings="output"),
    "untied": DecoderConfig(width=8, layers=2, tie_embeddings=False),
    "tied": DecoderConfig(width=8, layers=2),
    "encoder": EncoderConfig(width=8, layers=2),
}


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_a_model_without_numbers_has_the_same_names(config: ModelConfig) -> None:
    """All tensors of the meta device have the address 0."""
    full = weights(config.build(11))
    with torch.device("meta"):
        empty = weights(config.assemble(11))
    assert list(empty) == list(full)
    assert [x.shape for x in empty.values()] == [x.shape for x in full.values()]


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_every_parameter_is_there_once(config: ModelConfig) -> None:
    model = config.build(11)
    state, parameters = weights(model), dict(model.named_parameters())  # each under its first name
    buffers = {name: x for name, x in model.named_buffers() if name in model.state_dict()}
    assert state.keys() == parameters.keys() | buffers.keys()
    assert all(state[name].data_ptr() == x.data_ptr() for name, x in (parameters | buffers).items())
    assert not any(x.requires_grad for x in state.values())


def test_views_of_one_storage_are_different_tensors() -> None:
    """At different offsets, or at the same one with the same shape; and a tensor without numbers is one too."""
    storage, model = torch.arange(12.0), nn.Module()
    for name, view in {
        "a": storage[:4],
        "b": storage[4:8],
        "c": storage[2:6],
        "d": storage[:4],
        "e": storage[:0],
    }.items():
        model.register_buffer(name, view)
    model.register_buffer("f", torch.empty(0))
    model.register_buffer("again", model.b)
    assert list(weights(model)) == ["a", "b", "c", "d", "e", "f"]


def test_weights_are_strict_and_tied_ones_are_kept_once(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    assert list(weights(model)) == ["0.weight", "2.weight", "2.bias"]
    file = tmp_path / "w"
    checkpoint.save_tensors(weights(model), file)
    other = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    other[1].weight = other[0].weight
    load_weights(other, file)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(UserError, match=r"lacks `1.weight` \(1 names differ\)"):
        load_weights(nn.Sequential(*(nn.Linear(4, n, bias=b) for n, b in ((4, False), (4, False), (2, True)))), file)
    other[2] = nn.Linear(4, 3)
    with pytest.raises(UserError, match=r"`2.weight` has shape \[2, 4\], but this model's is \[3, 4\]"):
        load_weights(other, file)
