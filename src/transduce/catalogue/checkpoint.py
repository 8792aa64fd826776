"""Published checkpoints as models of ours, and our models as such checkpoints."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors.torch
import torch
from torch import nn

from transduce.catalogue.families.family import Family, Fields, families
from transduce.errors import UserError
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.weights.files import Files, read_json


class Checkpoint(NamedTuple):
    """A model that was read, its config, the size of its vocabulary, and the family it is of."""

    model: Model
    config: ModelConfig
    vocab_size: int
    family: Family


def read(folder: Path, dtype: torch.dtype | None = torch.float32) -> Checkpoint:
    """The model in a folder with config.json and safetensors. dtype: of its parameters; None: as in the files.

    Names and shapes are checked before anything is allocated. Raises UserError that says what is wrong, or not known.
    """
    config, vocab_size, family = described(folder)
    files = Files(folder)
    layers = depth(config)
    if layers > len(files.shapes):
        raise UserError(f"config.json has {layers} layers, but {folder} only {len(files.shapes)} tensors")
    table = family.table(config)
    try:
        with torch.device("meta"):
            shapes = dict(config.assemble(vocab_size).named_parameters())
    except (RuntimeError, OverflowError) as error:
        raise UserError(f"config.json of {folder} asks for a model that cannot be ({error})") from None
    table.check(table.names(files.where), files, shapes)
    with without_numbers():
        model = config.assemble(vocab_size)
    table.load(model, files, dtype)
    return Checkpoint(model.eval(), config, vocab_size, family)


def depth(config: ModelConfig) -> int:
    """Layers of the deepest stack; those that share their weights count as one to a thousand."""
    stacks = [config.layers, *(getattr(config, side, None) for side in ("encoder_layers", "decoder_layers"))]
    counts = [
        stack if isinstance(stack, int) else sum(-(-run.times // 1000) if run.tied else run.times for run in stack)
        for stack in stacks
        if stack is not None
    ]
    return max(counts)


def described(folder: Path) -> tuple[ModelConfig, int, Family]:
    """What config.json says. Raises UserError."""
    data = read_json(folder / "config.json")
    if "auto_map" in data:
        raise UserError(f"{folder / 'config.json'} has auto_map, code of its own, which is never run here")
    kind = data.get("model_type")
    family = next((family for family in families() if family.model_type == kind), None)
    if family is None:
        known = ", ".join(family.model_type for family in families())
        raise UserError(f"{folder / 'config.json'} has model_type={kind!r}; known are {known}")
    listed: Any = data.get("architectures") or [family.architectures[0]]
    named = cast("list[Any]", listed)[0] if isinstance(listed, list) else listed
    if named not in family.architectures:
        raise UserError(
            f"{folder / 'config.json'} is of a {named!r}, known of {kind} are {', '.join(family.architectures)}"
        )
    fields = Fields({key: value for key, value in data.items() if key != "quantization_config"}, named)
    if data.get("quantization_config") is not None:
        raise UserError(f"the weights in {folder} are quantised, which is not read here; take those that are not")
    config, vocab_size = family.read(fields)
    fields.done()
    return config, vocab_size, family


def write(model: Model, config: ModelConfig, vocab_size: int, folder: Path) -> Family:
    """config.json and model.safetensors for the first family that can express the model; returns it.

    Raises UserError if none can.
    """
    for family in families():
        data = family.write(config, vocab_size)
        if data is not None:
            break
    else:
        raise UserError(
            f"no class of transformers known here has these parts together: {config.mixer.kind}, "
            f"{config.feedforward.kind}, {config.residual.kind}, {config.norm.kind}, {config.positions.kind}"
        )
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(family.table(config).write(model), folder / "model.safetensors", {"format": "pt"})
    head = {"architectures": [family.architecture(config)], "model_type": family.model_type, "dtype": dtype}
    (folder / "config.json").write_text(json.dumps({**head, **data}, indent=2) + "\n", "utf-8")
    return family


@contextmanager
def without_numbers() -> Generator[None]:
    """Inside, the parameters of new modules go to the meta device as soon as they are there; buffers stay."""
    register = nn.Module.register_parameter

    def registered(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:  # a tied one is there already
            param = nn.Parameter(param.to("meta"), param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = registered  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
