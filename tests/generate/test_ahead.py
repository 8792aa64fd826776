"""A draft changes how many steps a text takes, and no bit of it: every mixer that decodes or reads a source."""

from dataclasses import fields, replace
from typing import Any, cast

import pytest
import torch

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.testing.drafted import drafted
from transduce.testing.together import SIZE

WIDTH = 64
MIXERS = [cast(type[MixerConfig], kind) for kind in kinds(MixerConfig.folder).values() if not kind.absent]
ODD: dict[str, dict[str, Any]] = {"linear": {"normalise": False}}  # normalised, it keeps one column more than features


def even(kind: type[MixerConfig]) -> MixerConfig:
    heads = {"heads": 2} if "heads" in {field.name for field in fields(kind)} else {}
    return kind(**heads, **ODD.get(kind.kind, {}))


CASES: list[MixerConfig] = [*map(even, MIXERS), AttentionConfig(heads=2, kv_heads=1)]
MORE = [AttentionConfig(heads=2, window=20, sinks=2), AttentionConfig(heads=2, softcap=2.0)]


def built(config: DecoderConfig | EncoderDecoderConfig) -> Model | str:
    """The model with numbers that hide nothing, or why there is none."""
    try:
        model = config.build(SIZE)
    except UserError as error:
        return str(error)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.mark.parametrize("mixer", [*CASES, *MORE], ids=str)
def test_a_decoder_writes_the_same_with_a_draft(mixer: MixerConfig) -> None:
    model = built(replace(from_data(DecoderConfig, {"width": WIDTH, "layers": 2}), mixer=mixer))
    if isinstance(model, str):
        assert "cannot stand in a decoder" in model
    else:
        drafted(model)


@pytest.mark.parametrize("mixer", CASES, ids=str)
def test_a_source_is_answered_the_same_with_a_draft(mixer: MixerConfig) -> None:
    model = built(replace(from_data(EncoderDecoderConfig, {"width": WIDTH, "layers": 2}), cross=mixer))
    if isinstance(model, str):
        assert "cannot stand between" in model
    else:
        drafted(model, (13,))
