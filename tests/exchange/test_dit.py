"""DiT against diffusers, both ways, and against its formula in float64 where that is not installed."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.exchange import dit
from transduce.exchange.files import Files
from transduce.model.denoiser import Denoiser
from transduce.model.layout import dense

needs_diffusers = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None, reason="diffusers is not installed: pip install diffusers"
)
TINY: dict[str, Any] = {
    "_class_name": "DiTTransformer2DModel", "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 3,
    "out_channels": 6, "num_layers": 2, "sample_size": 8, "patch_size": 2, "num_embeds_ada_norm": 5,
    "activation_fn": "gelu-approximate", "norm_eps": 1e-6,
}  # fmt: skip


def moved(channels: int = 3, **more: Any) -> tuple[Denoiser, Any]:
    """A model of that shape with start values that hide nothing."""
    config, _ = dit.config_of({**TINY, **more})
    model: Any = config.build(channels).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return model, config


def inputs(channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(3, channels, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([0, 17, 999]), torch.tensor([0, 4, 5])  # 5: none


def ours(model: Denoiser, x: Tensor, time: Tensor, given: Tensor) -> Tensor:
    """All channels of the prediction. A model is told t - 1, so t is one more."""
    hidden = model.features(batch(model, x, time, given))
    assert model.head is not None
    return model.head(hidden, model.arranged(dense(len(x), 1))).view(len(x), -1, 8, 8)


def batch(model: Denoiser, x: Tensor, time: Tensor, given: Tensor) -> Any:
    from transduce.model.batch import Batch
    from transduce.model.process.process import Noisy

    assert model.process is not None
    told = model.process.clock(time.double() + 1)
    assert torch.equal(told, time.float())
    return Batch(Noisy(x, told, torch.where(given == 5, -1, given)), dense(len(x), 1), given)


def formula(tensors: dict[str, Tensor], x: Tensor, time: Tensor, given: Tensor) -> Tensor:
    """The forward pass of `DiTTransformer2DModel`, written out in float64 from its tensors alone."""
    w = {name: value.double() for name, value in tensors.items()}
    silu, patch = torch.nn.functional.silu, 2

    def linear(name: str, v: Tensor) -> Tensor:
        return v @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(v: Tensor) -> Tensor:
        v = v - v.mean(-1, keepdim=True)
        return v / (v.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def sines(p: Tensor, half: int, last: int) -> Tensor:
        return p.double()[:, None] * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / last)

    h = torch.nn.functional.conv2d(x.double(), w["pos_embed.proj.weight"], w["pos_embed.proj.bias"], stride=patch)
    rows, columns = torch.arange(4).repeat_interleave(4), torch.arange(4).repeat(4)
    place = torch.cat([f(sines(p, 4, 4)) for p in (columns, rows) for f in (torch.sin, torch.cos)], 1)
    h = h.flatten(2).mT + place
    angle = sines(time, 128, 127)
    first = "transformer_blocks.0.norm1.emb"
    c = silu(linear(f"{first}.timestep_embedder.linear_1", torch.cat([angle.cos(), angle.sin()], 1)))
    c = linear(f"{first}.timestep_embedder.linear_2", c) + w[f"{first}.class_embedder.embedding_table.weight"][given]
    for i in range(2):
        block = f"transformer_blocks.{i}"
        shift, scale, gate, shift2, scale2, gate2 = linear(f"{block}.norm1.linear", silu(c))[:, None].chunk(6, -1)
        v = norm(h) * (1 + scale) + shift
        q, k, u = (linear(f"{block}.attn1.to_{n}", v).unflatten(-1, (2, 8)).transpose(1, 2) for n in "qkv")
        a = ((q @ k.mT / 8**0.5).softmax(-1) @ u).transpose(1, 2).flatten(2)
        h = h + gate * linear(f"{block}.attn1.to_out.0", a)
        v = norm(h) * (1 + scale2) + shift2
        g = torch.nn.functional.gelu(linear(f"{block}.ff.net.0.proj", v), approximate="tanh")
        h = h + gate2 * linear(f"{block}.ff.net.2", g)
    shift, scale = linear("proj_out_1", silu(c))[:, None].chunk(2, -1)
    y = linear("proj_out_2", norm(h) * (1 + scale) + shift).view(-1, 4, 4, patch, patch, 6)
    return y.permute(0, 5, 1, 3, 2, 4).reshape(-1, 6, 8, 8)


def test_it_is_the_formula_in_float64(tmp_path: Path) -> None:
    model, config = moved()
    dit.write(model, config, 3, tmp_path / "dit")
    files = Files(tmp_path / "dit", dit.WEIGHTS)
    tensors = dict(zip(files.where, files.read(*files.where), strict=True))
    assert len(tensors) == 44
    x, _, given = inputs()
    time = torch.tensor([0, 3, 17])  # of large ones the sines are known to four digits in float32
    expected = formula(tensors, x, time, given)
    with torch.no_grad():
        torch.testing.assert_close(ours(model.double(), x.double(), time, given), expected, atol=1e-5, rtol=1e-5)


def test_what_is_written_comes_back_to_the_bit(tmp_path: Path) -> None:
    model, config = moved()
    dit.write(model, config, 3, tmp_path / "dit")
    again, same, channels = dit.read(tmp_path / "dit")
    assert (same, channels) == (config, 3)
    for (name, one), other in zip(again.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other), name
    predicted = model.denoise(
        inputs()[0], torch.tensor([1.0, 18.0, 1000.0]).double(), torch.tensor([0, 4, -1]), dense(3, 1)
    )
    torch.testing.assert_close(predicted, ours(model, *inputs())[:, :3])  # the rest is the variance, which is not drawn


@needs_diffusers
def test_diffusers_opens_what_is_written_and_computes_the_same(tmp_path: Path) -> None:
    from diffusers import DiTTransformer2DModel  # type: ignore[import-not-found]

    model, config = moved()
    dit.write(model, config, 3, tmp_path / "dit")
    theirs = DiTTransformer2DModel.from_pretrained(tmp_path / "dit").eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(model, *inputs()), theirs(*inputs()).sample, atol=1e-4, rtol=1e-4)


@needs_diffusers
@pytest.mark.parametrize("more", [{}, {"out_channels": None, "in_channels": 1}, {"norm_eps": 1e-5}], ids=str)
def test_what_diffusers_writes_is_read_and_computes_the_same(tmp_path: Path, more: dict[str, Any]) -> None:
    from diffusers import DiTTransformer2DModel  # type: ignore[import-not-found]

    torch.manual_seed(0)
    theirs = DiTTransformer2DModel(**{k: v for k, v in {**TINY, **more}.items() if k != "_class_name"}).eval()
    embedders = [block.norm1.emb for block in theirs.transformer_blocks]
    with torch.no_grad():
        for p in theirs.parameters():
            p += 0.2 * torch.randn(p.shape)
    embedders[1].load_state_dict(embedders[0].state_dict())  # as in published ones
    theirs.save_pretrained(tmp_path / "dit")
    model, _, channels = dit.read(tmp_path / "dit")
    assert isinstance(model, Denoiser)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(model, *inputs(channels)), theirs(*inputs(channels)).sample, atol=1e-4, rtol=1e-4
        )


def changed(folder: Path, **more: Any) -> Path:
    model, config = moved()
    dit.write(model, config, 3, folder)
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**data, **more}))
    return folder


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"norm_type": "layer_norm"}, "norm_type"), ({"attention_bias": False}, "attention_bias"),
        ({"activation_fn": "geglu"}, "activation_fn"), ({"norm_eps": 1e-3}, "norm_eps=0.001"), ({"wavy": 1}, "wavy"),
        ({"_class_name": "UNet2DModel"}, "is a UNet2DModel"), ({"num_layers": 3}, "transformer_blocks.2"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_read_is_named(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dit.read(changed(tmp_path / "dit", **more))


def test_embedders_that_differ_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = changed(tmp_path / "dit")
    tensors = load_file(folder / dit.WEIGHTS)
    tensors["transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"] += 1
    save_file(tensors, folder / dit.WEIGHTS)
    with pytest.raises(UserError, match="should repeat"):
        dit.read(folder)


def test_what_diffusers_cannot_express_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    model, config = moved()
    for other in (
        replace(config, ends=False),
        replace(config, norm=replace(config.norm, eps=1e-5)),
        replace(config, none=False),
    ):
        with pytest.raises(UserError, match="diffusers has no class"):
            dit.write(model, other, 3, tmp_path / "dit")
    assert not (tmp_path / "dit").exists()
