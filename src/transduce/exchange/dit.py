"""DiT in the layout of diffusers: the folder of a `DiTTransformer2DModel`, read and written.   Peebles & Xie 2022.

A folder has config.json and diffusion_pytorch_model.safetensors. What is predicted, and how noise is added, stands in
the folder of a scheduler beside it and not here: the process is the paper's, which predicts the noise in 1,000 steps.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from transduce.disk import replace_text
from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.exchange.files import Files, read_json, require_new
from transduce.exchange.ops import Kernel, Pixels, Split
from transduce.exchange.table import Table, Unread, layers, pair, row
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.feedforward.feedforward import Activation
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.grid import Sinusoidal2dConfig
from transduce.model.residual.adaptive import AdaptiveConfig

CLASS, WEIGHTS = "DiTTransformer2DModel", "diffusion_pytorch_model.safetensors"
ACTIVATIONS: Mapping[str, Activation] = {"gelu-approximate": "gelu-tanh", "gelu": "gelu", "silu": "silu"}
EPS = 1e-6  # of the norms of diffusers but for one a layer, whose own (1e-5, say) changes less than the parity allows
EMBEDDER = {
    "timestep_embedder.linear_1.weight": "enter.weight", "timestep_embedder.linear_1.bias": "enter.bias",
    "timestep_embedder.linear_2.weight": "out.weight", "timestep_embedder.linear_2.bias": "out.bias",
    "class_embedder.embedding_table.weight": "classes.weight",
}  # fmt: skip


def config_of(data: Mapping[str, Any]) -> tuple[DenoiserConfig, int]:
    """Returns a model, and the channels that it reads. data: of config.json. Raises UserError for what is not read."""
    fields = Fields({key: value for key, value in data.items() if not key.startswith("_")})
    heads, size = fields.whole("num_attention_heads", 16), fields.whole("attention_head_dim", 72)
    channels, patch, side = (
        fields.whole("in_channels", 4),
        fields.whole("patch_size", 2),
        fields.whole("sample_size", 32),
    )
    out = fields.take("out_channels", None) or channels
    for key, value in (("norm_type", "ada_norm_zero"), ("attention_bias", True), ("norm_elementwise_affine", False)):
        fields.only(key, value)
    for key in ("dropout", "norm_num_groups", "upcast_attention"):  # of training, of other classes, of half precision
        fields.take(key)
    if (eps := fields.number("norm_eps", 1e-5)) > 1e-5:
        raise UserError(f"config.json has norm_eps={eps}, with which this model would give other numbers than {EPS}")
    model = DenoiserConfig(
        width=heads * size, layers=fields.whole("num_layers", 28), mixer=AttentionConfig(heads=heads),
        feedforward=MLPConfig(activation=fields.one_of("activation_fn", ACTIVATIONS, "gelu-approximate")),
        residual=AdaptiveConfig(dropout=0.0), norm=LayerNorm(eps=EPS, gain=False),
        embedding=PatchesConfig(picture=(side, side), patch=patch), positions=Sinusoidal2dConfig(),
        head=PixelsHeadConfig(picture=(side, side), patch=patch, channels=out), scale_embedding=False,
        classes=fields.whole("num_embeds_ada_norm", 1000), ends=True,
    )  # fmt: skip
    fields.done()
    return model, channels


def data_of(model: DenoiserConfig, channels: int) -> dict[str, Any]:
    """Returns config.json of a model. Raises UserError where diffusers has no class that computes the same."""
    a, f, e, h = model.mixer, model.feedforward, model.embedding, model.head
    if (
        isinstance(a, AttentionConfig) and isinstance(f, MLPConfig) and isinstance(e, PatchesConfig)
        and isinstance(h, PixelsHeadConfig) and isinstance(model.layers, int) and e.picture is not None
        and f.activation in ACTIVATIONS.values()
    ):  # fmt: skip
        names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
        data = {
            "_class_name": CLASS, "num_attention_heads": a.heads, "attention_head_dim": model.width // a.heads,
            "in_channels": channels, "out_channels": h.channels or channels, "num_layers": model.layers,
            "sample_size": e.picture[0], "patch_size": e.pixels(e.sides())[0],
            "activation_fn": names[f.activation], "num_embeds_ada_norm": model.classes, "norm_eps": EPS,
            "attention_bias": True, "norm_type": "ada_norm_zero", "norm_elementwise_affine": False, "dropout": 0.0,
        }  # fmt: skip
        same, _ = config_of(data)
        if same == _alike(model, same):
            return data
    raise UserError(
        f"diffusers has no class that computes this model: {CLASS} has attention with biases over square pictures in "
        f"patches, sinusoidal-2d positions, norms of eps={EPS} without a gain, a row for no class, and model.ends=true"
    )


def _alike(model: DenoiserConfig, same: DenoiserConfig) -> DenoiserConfig:
    """Returns a model with what changes no number: how it begins, what it drops in training, and its process."""
    embedding, head, residual = model.embedding, model.head, model.residual
    if isinstance(embedding, PatchesConfig) and isinstance(head, PixelsHeadConfig):
        patch = embedding.pixels(embedding.sides())[0]
        assert isinstance(same.head, PixelsHeadConfig)
        embedding = replace(embedding, patch=patch)
        head = replace(
            head, picture=head.picture or embedding.picture, patch=head.patch or patch, channels=same.head.channels
        )
    if isinstance(residual, AdaptiveConfig):
        residual = replace(residual, dropout=0.0, drop_path=0.0)
    feedforward = model.feedforward
    if isinstance(feedforward, MLPConfig) and feedforward.hidden == 4 * model.width:
        feedforward = replace(feedforward, hidden=None)
    return replace(
        model, embedding=embedding, head=head, residual=residual, feedforward=feedforward, init=same.init,
        process=same.process, tie_embeddings=same.tie_embeddings,
    )  # fmt: skip


def table(model: DenoiserConfig) -> Table:
    """Returns which tensors are which parameters. Every layer of diffusers has the same embedder of time and class."""
    assert isinstance(model.embedding, PatchesConfig)
    assert isinstance(model.layers, int)
    width, patch = model.width, model.embedding.pixels(model.embedding.sides())[0]
    theirs, ours = "transformer_blocks.{i}", "stack.blocks.{i}"
    both = [f"{ours}.{part}_residual.modulate" for part in ("mix", "feed")]
    block = [
        *(
            row(f"{theirs}.norm1.linear.{x}", (f"{both[0]}.{x}", f"{both[1]}.{x}"), Split((3 * width, 3 * width)))
            for x in ("weight", "bias")
        ),
        *(one for x in "qkv" for one in pair(f"{theirs}.attn1.to_{x}", f"{ours}.mix.{x}")),
        *pair(f"{theirs}.attn1.to_out.0", f"{ours}.mix.out"),
        *pair(f"{theirs}.ff.net.0.proj", f"{ours}.feed.up"),
        *pair(f"{theirs}.ff.net.2", f"{ours}.feed.down"),
    ]
    first = "transformer_blocks.0.norm1.emb"
    rows = [
        *pair("pos_embed.proj", "embed.project", Kernel(patch)),
        *(row(f"{first}.{name}", f"condition.{own}") for name, own in EMBEDDER.items()),
        *layers(block, model.layers),
        *pair("proj_out_1", "stack.leave.modulate"),
        row("proj_out_2.weight", "head.output.weight", Pixels(patch)),
        row("proj_out_2.bias", "head.output.bias", Pixels(patch)),
    ]
    again = [
        (f"transformer_blocks.{i}.norm1.emb.{name}", name) for i in range(1, model.layers) for name in EMBEDDER
    ]  # fmt: skip
    copies = tuple((full, f"{first}.{name}") for full, name in again)
    extras = tuple(Unread(full, _one(f"condition.{EMBEDDER[name]}")) for full, name in again)
    return Table(tuple(rows), copies=copies, extras=extras)


def _one(name: str) -> Any:
    def make(parameters: Mapping[str, Tensor]) -> Tensor:
        return parameters[name].detach().clone()

    return make


def read(folder: Path) -> tuple[Model, DenoiserConfig, int]:
    """Returns the model of a folder, its shape, and the channels that it reads. Raises UserError."""
    data = read_json(folder / "config.json")
    if data.get("_class_name", CLASS) != CLASS:
        raise UserError(
            f"{folder} is a {data['_class_name']}, but a {CLASS} is read here; name its folder `transformer`"
        )
    config, channels = config_of(data)
    config.require_room(channels)
    model = config.build(channels)
    table(config).load(model, Files(folder, WEIGHTS), torch.float32)
    return model.eval(), config, channels


def write(model: Model, config: DenoiserConfig, channels: int, folder: Path) -> None:
    """Writes a model as diffusers opens it, with `DiTTransformer2DModel.from_pretrained`. Raises UserError."""
    data = data_of(config, channels)
    require_new(folder)
    folder.mkdir(exist_ok=True)
    tensors = {name: x.cpu().clone() for name, x in table(config).write(model).items()}
    safetensors.torch.save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    replace_text(folder / "config.json", json.dumps(data, indent=2) + "\n")
