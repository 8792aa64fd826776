"""Layers written short, and what each layer is then made of."""

from typing import Any

import pytest

from transduce.config import from_data, to_data
from transduce.model.architecture import DecoderConfig, LayerConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.delta import DeltaConfig


@pytest.mark.parametrize(
    "layers",
    ["[delta, attention] * 2", ["delta", "attention"] * 2, [{"mixer": "delta"}, {}, "delta", "attention"]],
    ids=str,
)
def test_names_of_mixers_stand_for_layers(layers: Any) -> None:
    config = from_data(DecoderConfig, {"width": 16, "mixer": {"heads": 2}, "layers": layers})
    delta, own = LayerConfig(mixer=DeltaConfig()), LayerConfig()
    assert config.layers == (delta, own, delta, own)
    assert config.mixer == AttentionConfig(heads=2)
    assert from_data(DecoderConfig, to_data(config)) == config
    kinds = [type(block.parts[0].mixer).__name__ for block in config.build(9).stacks()[0]]  # type: ignore[union-attr]
    assert kinds == ["Delta", "Attention"] * 2
