"""The stem of frames: alone, padded and packed the same; shapes; its formula as torch has it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.batch import Batch
from transduce.model.embed.frames import Frames, FramesConfig
from transduce.model.layout import dense, left_padded, packed, right_padded
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig, SinusoidalConfig
from transduce.model.positions.position import Positions

WIDTH, FEATURES = 12, 5
STEMS = [
    FramesConfig(), FramesConfig(strides=(1,)), FramesConfig(strides=(2, 2)), FramesConfig(strides=(3, 2), kernel=5),
    FramesConfig(strides=(1, 4), kernel=1),
]  # fmt: skip
LENGTHS = [1, 7, 2, 13, 1, 8]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def built(config: FramesConfig, positions: Positions | None = None, dtype: torch.dtype = torch.float64) -> Frames:
    places = SinusoidalConfig(limit=50).build(WIDTH, None) if positions is None else positions
    stem = config.build(FEATURES, WIDTH, LayerNorm(), places, scale=1.0, p=0.0).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in stem.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    assert isinstance(stem, Frames)
    return stem


def rows(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, FEATURES, generator=generator).to(dtype) for n in LENGTHS]


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("config", STEMS, ids=str)
@pytest.mark.parametrize("way", ["right", "left", "packed"])
def test_alone_padded_and_packed_it_is_the_same(way: str, config: FramesConfig, dtype: torch.dtype) -> None:
    stem, sounds, tolerance = built(config, dtype=dtype), rows(dtype), TOLERANCE[dtype]
    alone = [stem(sound[None], dense(1, len(sound)))[0] for sound in sounds]
    lengths, wide = torch.tensor(LENGTHS), max(LENGTHS)
    if way == "packed":
        groups = [[0, 1, 2], [3, 4], [5]]
        layout = packed([[LENGTHS[i] for i in group] for group in groups], 17)
        parts = [torch.cat([sounds[i] for i in group]) for group in groups]
        ids = torch.stack([F.pad(part, (0, 0, 0, 17 - len(part)), value=9.0) for part in parts])
        order = [i for group in groups for i in group]
    else:
        layout = right_padded(lengths, wide) if way == "right" else left_padded(lengths, wide)
        pads = [(0, wide - n) if way == "right" else (wide - n, 0) for n in LENGTHS]
        ids = torch.stack([F.pad(s, (0, 0, *p), value=9.0) for s, p in zip(sounds, pads, strict=True)])
        order = list(range(len(LENGTHS)))
    ids.requires_grad_()
    arranged, out = stem.arrange(layout), stem(ids, layout)
    assert out.shape == (*arranged.positions.shape, WIDTH)
    assert arranged.padded
    together = out[arranged.valid]
    expected = torch.cat([alone[i] for i in order])
    torch.testing.assert_close(together, expected, rtol=tolerance, atol=tolerance)
    (gradient,) = torch.autograd.grad(together.square().sum(), ids)
    assert not gradient[~layout.valid].any()


@pytest.mark.parametrize("config", STEMS, ids=str)
def test_arrange_says_what_comes_out_for_every_length(config: FramesConfig) -> None:
    stem = built(config, SinusoidalConfig(limit=400).build(WIDTH, None))
    for frames in range(1, 401, 1 if config == STEMS[0] else 7):
        layout = dense(1, frames)
        slots = stem.arrange(layout).positions
        assert slots[0].tolist() == list(range(-(-frames // stem.stride)))
        assert stem(torch.zeros(1, frames, FEATURES).double(), layout).shape == (1, slots.shape[1], WIDTH)
    lengths = torch.arange(1, 40)
    assert torch.equal(stem.arrange(right_padded(lengths, 39)).lengths, (lengths + stem.stride - 1) // stem.stride)


def test_it_is_the_stem_of_whisper() -> None:
    stem, (sound,) = built(FramesConfig(), Positions()), rows(torch.float64)[3:4]
    x = sound.T[None]
    for stage, stride in zip(stem.stages, (1, 2), strict=True):
        weight = stage.get_parameter("weight").view(WIDTH, 3, -1).transpose(1, 2)
        x = F.gelu(F.conv1d(x, weight, stage.get_parameter("bias"), stride=stride, padding=1))
    torch.testing.assert_close(stem(sound[None], dense(1, len(sound)))[0], x[0].T, rtol=1e-10, atol=1e-10)


def model_of(mixer: str, embedding: object = "frames", positions: object = "sinusoidal") -> Model:
    heads = {"kind": mixer, "heads": 2} if mixer in ("attention", "gated-delta") else mixer
    data = {
        "width": 16, "layers": 1, "mixer": heads,
        "embedding": embedding, "head": {"kind": "classes", "classes": 4, "pool": ["mean"]}, "positions": positions,
    }  # fmt: skip
    return from_data(EncoderConfig, data).build(FEATURES).double().eval()


@pytest.mark.parametrize("mixer", ["attention", "lstm", "gated-delta", "ssm", "convolution"])
def test_any_mixer_stands_behind_it(mixer: str) -> None:
    model, sounds = model_of(mixer), rows(torch.float64)
    lengths, wide = torch.tensor(LENGTHS), max(LENGTHS)
    ids = torch.stack([F.pad(s, (0, 0, 0, wide - len(s)), value=9.0) for s in sounds])
    layout = right_padded(lengths, wide)
    together = model.pooled_head(model.features(Batch(ids, layout, ids)), model.arranged(layout))
    for row, sound in enumerate(sounds):
        one = dense(1, len(sound))
        alone = model.pooled_head(model.features(Batch(sound[None], one, sound)), model.arranged(one))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-6, atol=1e-6)


def test_what_does_not_fit_gets_a_sentence() -> None:
    with pytest.raises(UserError, match="kernel=2 has no middle; use 3"):
        FramesConfig(kernel=2)
    with pytest.raises(UserError, match="strides is empty"):
        FramesConfig(strides=())
    with pytest.raises(UserError, match="strides=0 must be at least 1"):
        FramesConfig(strides=(0, 1))
    model = model_of("attention", positions={"kind": "learned", "limit": 4})
    sound = torch.zeros(1, 9, FEATURES).double()
    with pytest.raises(
        UserError, match=r"9 frames has 5 slots, but there are 4 positions; set model.positions.limit=5"
    ):
        model.features(Batch(sound, dense(1, 9), sound))
    some = LearnedConfig(limit=4).build(WIDTH, None)
    stem = built(FramesConfig(), some)
    assert stem(torch.zeros(1, 12, FEATURES).double(), packed([[6, 6]], 12)).shape == (1, 6, WIDTH)
