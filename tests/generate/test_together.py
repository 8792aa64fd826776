"""The same bits whoever else is in the batch: every mixer that decodes or reads a source, and what stands around it."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, cast

import pytest
import torch

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.position import Positions
from transduce.model.state import tensors
from transduce.testing.together import SIZE, Numbers, together

WIDTH = 64
MIXERS = [cast(type[MixerConfig], kind) for kind in kinds(MixerConfig.folder).values() if not kind.absent]
ODD: dict[str, dict[str, Any]] = {"linear": {"normalise": False}}  # normalised, it keeps one column more than features


def even(kind: type[MixerConfig]) -> MixerConfig:
    """A config of a kind with heads of 32 features, in which no size is odd."""
    heads = {"heads": 2} if "heads" in {field.name for field in fields(kind)} else {}
    return kind(**heads, **ODD.get(kind.kind, {}))


CASES: list[MixerConfig] = [
    *map(even, MIXERS),
    AttentionConfig(heads=2, kv_heads=1),
    AttentionConfig(heads=2, qk_norm=RMSNorm(), softcap=2.0),
]
WINDOWS = [AttentionConfig(heads=2, window=20, sinks=2), AttentionConfig(heads=2, window=200)]


def test_what_is_left_out_has_an_odd_size() -> None:
    here: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
    for kind in MIXERS:
        if kind.kind in ODD:
            mixer = cast(Any, kind)(heads=2).build(WIDTH, Positions())
            assert any(x.shape[-1] % 16 for x in tensors(mixer.init_state(1, 4, **here)))


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


@pytest.mark.parametrize("mixer", [*CASES, *WINDOWS], ids=str)
def test_a_decoder_writes_the_same_alone_and_in_a_batch(mixer: MixerConfig) -> None:
    model = built(replace(from_data(DecoderConfig, {"width": WIDTH, "layers": 2}), mixer=mixer))
    if isinstance(model, str):
        assert "cannot stand in a decoder" in model
    else:
        together(model)


@pytest.mark.parametrize("mixer", CASES, ids=str)
def test_a_source_is_read_the_same_alone_and_in_a_batch(mixer: MixerConfig) -> None:
    model = built(replace(from_data(EncoderDecoderConfig, {"width": WIDTH, "layers": 2}), cross=mixer))
    if isinstance(model, str):
        assert "cannot stand between" in model
    else:
        together(model)


AROUND: list[dict[str, Any]] = [
    {"positions": "rotary"},
    {"positions": "alibi"},
    {"positions": "t5"},
    {"positions": "learned"},
    {"feedforward": "gated"},
    {"norm": "layer-norm"},
]


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_what_stands_around_a_mixer_keeps_it_so(around: dict[str, Any]) -> None:
    model = built(from_data(DecoderConfig, {"width": WIDTH, "layers": 2, **around}))
    assert not isinstance(model, str)
    together(model)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_on_two_threads_an_input_is_computed_on_one_where_it_is_to_get_the_bits_that_it_gets_alone() -> None:
    model = built(
        from_data(DecoderConfig, {"width": WIDTH, "layers": 1, "feedforward": {"kind": "mlp", "hidden": 2048}})
    )
    assert not isinstance(model, str)
    together(model)
    way, prompt, seen = GenerateConfig(max_new_tokens=3), [[3, 4], [5]], set[int]()
    for alike, threads in ((True, 1), (False, 2)):
        decode(model, Numbers(), way, prompt=prompt, alike=alike, on_token=lambda *_: seen.add(torch.get_num_threads()))
        assert seen == {threads}
        seen.clear()

    def fails(*_: int) -> None:
        raise RuntimeError("of a caller")

    with pytest.raises(RuntimeError, match="of a caller"):
        decode(model, Numbers(), way, prompt=prompt, alike=True, on_token=fails)
    assert torch.get_num_threads() == 2
