"""Layers written short, and what each layer is then made of."""

from typing import Any

import pytest

from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig, LayerConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.delta import DeltaConfig
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.position import NoPositionsConfig
from transduce.model.positions.rotary import RotaryConfig


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
    kinds = [type(block.mix).__name__ for block in config.build(9).stacks()[0]]  # type: ignore[union-attr]
    assert kinds == ["Delta", "Attention"] * 2


def test_the_limit_of_a_model_is_the_least_of_its_encodings() -> None:
    short, long = RotaryConfig(limit=5), RotaryConfig(limit=9)
    for first, second in ((short, long), (long, short)):
        layers = (LayerConfig(positions=first), LayerConfig(positions=second))
        assert DecoderConfig(width=16, layers=layers, positions=RotaryConfig(limit=30)).build(9).limit == 5
    assert DecoderConfig(width=16, layers=1, positions=NoPositionsConfig()).build(9).limit is None
    with pytest.raises(UserError, match="width=0 must be at least 1"):
        DecoderConfig(width=0)


@pytest.mark.parametrize(
    ("tie", "source", "target", "head"),
    [("all", 0, 0, 0), ("inputs", 0, 0, 2), ("output", 0, 1, 1), ("none", 0, 1, 2)],
)
@pytest.mark.parametrize("together", [True, False])
def test_what_the_sides_share(tie: Any, source: int, target: int, head: int, together: bool) -> None:
    config = EncoderDecoderConfig(
        width=16, layers=1, positions=LearnedConfig(limit=8), tie_embeddings=tie, tie_positions=together
    )
    assert from_data(EncoderDecoderConfig, to_data(config)) == config
    model: Any = config.build(9)
    tables = [model.encoder.embed.weight, model.decoder.embed.weight, model.head.weight]
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        kinds = (source, target, head)
        assert (tables[a] is tables[b]) == (kinds[a] == kinds[b])
    assert (model.encoder.embed.positions is model.decoder.embed.positions) == together


def test_a_source_may_have_tokens_of_its_own() -> None:
    config = EncoderDecoderConfig(width=16, layers=1, source_vocab=7, tie_embeddings="output")
    model: Any = config.build(9)
    assert [len(side.embed.weight) for side in (model.encoder, model.decoder)] == [7, 9]
    with pytest.raises(UserError, match=r"source_vocab=7 .* tie_embeddings=all shares it"):
        EncoderDecoderConfig(source_vocab=7)
