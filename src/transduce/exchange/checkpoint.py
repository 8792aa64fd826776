"""Published checkpoints as models of ours, and our models as such checkpoints."""

import json
import math
import re
import threading
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors.torch
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from transduce.errors import UserError
from transduce.exchange import nearest, remote_code, reordered, tasked, unread
from transduce.exchange.families.encoding import heads_of
from transduce.exchange.families.family import Family, Fields, families
from transduce.exchange.files import INDEX, SINGLE, Files, read_json
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.models import Model

HEADS = re.compile(r"head\.|heads\.\w+\.output\.")  # what stands on an encoder and its pooler


class Checkpoint(NamedTuple):
    """A model that was read, its config, the size of its vocabulary, and the family it is of."""

    model: Model
    config: ModelConfig
    vocab_size: int
    family: Family


def read(folder: Path, dtype: torch.dtype | None = torch.float32) -> Checkpoint:
    """Returns the model in a folder with config.json and safetensors. dtype: of parameters (None: as in files).

    Names and shapes are checked before anything is allocated. Raises UserError for what is wrong or not known.
    """
    config, vocab_size, family = described(folder)
    files = Files(folder)
    layers = depth(config)
    if layers > len(files.shapes):
        raise UserError(f"config.json has {layers} layers, but {folder} only {len(files.shapes)} tensors")
    table = replace(family.table(config), silent=family.silent(config))
    try:
        with torch.device("meta"), without_numbers(sum(x.numel() for x in files.shapes.values())):
            empty = config.assemble(vocab_size)
    except UserError:
        raise
    except (RuntimeError, OverflowError, ValueError, TypeError) as error:
        reason = str(error).split("\n", 1)[0]  # after it come the frames of torch
        raise UserError(f"config.json of {folder} asks for a model that cannot be ({reason})") from None
    shapes = dict(empty.named_parameters())
    require_room(empty, folder)
    table.check(table.names(files.where), files, shapes)
    with without_numbers():
        model = config.assemble(vocab_size)
    table.load(model, files, dtype)
    return Checkpoint(model.eval(), config, vocab_size, family)


def expressed(
    candidates: Iterable[Family], config: ModelConfig, vocab_size: int
) -> tuple[Family, dict[str, Any]] | None:
    """Returns the first of some families that can express a model, and its config.json."""
    for family in candidates:
        if (data := family.express(config, vocab_size)) is not None:
            return family, data
    return None


def require_room(model: Model, folder: Path) -> None:
    """Raises UserError where tables that no file holds, such as those of positions, would outgrow all weights."""
    tables = sum(x.numel() * x.element_size() for x in model.buffers())
    if tables > max(1 << 30, 4 * sum(p.numel() * p.element_size() for p in model.parameters())):
        raise UserError(f"config.json of {folder} asks for tables of {tables:,} bytes beside the weights; correct it")


def depth(config: ModelConfig) -> int:
    """Returns the layers of the deepest stack; those that share their weights count as one to a thousand."""
    stacks = [config.layers, *(getattr(config, side, None) for side in ("encoder_layers", "decoder_layers"))]
    counts = [
        stack if isinstance(stack, int) else sum(-(-run.times // 1000) if run.tied else run.times for run in stack)
        for stack in stacks
        if stack is not None
    ]
    return max(counts)


def described(folder: Path) -> tuple[ModelConfig, int, Family]:
    """Returns what config.json says. Raises UserError."""
    remote_code.require_none(folder)
    unread.require_model(folder)
    data = read_json(folder / "config.json")
    kind = data.get("model_type")
    family = next((family for family in families() if family.model_type == kind), None)
    if family is None:
        names = ", ".join(family.model_type for family in families())
        raise UserError(f"{folder / 'config.json'} has model_type={kind!r}; known are {names}")
    listed: Any = data.get("architectures") or [family.architectures[0]]
    named = cast("list[Any]", listed)[0] if isinstance(listed, list) else listed
    if (own := tasked.named(str(kind), str(named))) is not None:
        family = own
    elif named not in family.architectures:
        raise UserError(unread.other_class(folder, str(kind), str(named), family.architectures))
    tensors = Files(folder).where if has_weights(folder) else ()
    fields = Fields({key: value for key, value in data.items() if key != "quantization_config"}, named, tensors)
    try:
        config, vocab_size = family.read(fields)
    except UserError as error:
        if "config.json" in str(error):
            raise
        raise UserError(f"{folder / 'config.json'}: {error}") from None
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder / 'config.json'} holds values that make no model ({problem})") from error
    fields.done()
    return config if own is not None else headless(config, family, tensors), vocab_size, family


def headless(config: ModelConfig, family: Family, tensors: Collection[str]) -> ModelConfig:
    """Returns an encoder without its head where files hold nothing of it, whatever class config.json names.

    The folders of sentence encoders often name the class that was trained before, such as MPNetForMaskedLM.
    """
    if not isinstance(config, EncoderConfig) or not tensors:
        return config
    table = family.table(config)
    head = {name for line in table.rows if all(HEADS.match(one) for one in line.ours) for name in line.theirs}
    if not head or head & table.names(tensors).keys():
        return config
    bare = replace(config, head=NoHeadConfig(), heads=heads_of(bool(config.heads), pairs=False))
    used = {name for line in table.rows for name in line.theirs}
    return bare if all(used.issuperset(line.theirs) for line in family.table(bare).rows) else config


def has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (SINGLE, INDEX))


def write(
    model: Model, config: ModelConfig, vocab_size: int, folder: Path, family: Family | None = None,
    more: Mapping[str, Any] | None = None, dtype: torch.dtype | None = None,
) -> Family:  # fmt: skip
    """Writes config.json and model.safetensors for the first family that can express the model; returns it.

    family: tried before all others, such as the one that the model was read from.
    more: further keys of config.json, such as the ids of special tokens.
    dtype: of the tensors (None: as they are).

    Raises UserError if none can, which names the first part without equivalent.
    """
    candidates = (*([] if family is None else [family]), *families())
    match = expressed(candidates, config, vocab_size)
    if match is None and (other := reordered.sines_first(config)) is not None:
        match, same = expressed(candidates, other, vocab_size), reordered.permuted(model, config.width)
        match, model, config = (match, same, other) if same is not None else (None, model, config)
    if match is None:
        raise UserError(nearest.sentence(config, vocab_size, families()))
    family, data = match
    padding, own = data.get("pad_token_id"), (more or {}).get("pad_token_id")
    if padding is not None and own not in (None, padding):
        raise UserError(
            f"a {family.model_type} counts positions from the id of its padding, here {padding}, but that of the "
            f"tokeniser is {own}; train with model.positions.offset={own + 1} to export it"
        )
    dtype = dtype or next(model.parameters()).dtype
    tensors = {name: x.to(dtype) for name, x in family.table(config).write(model).items()}
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    dtype_name = str(dtype).removeprefix("torch.")
    head = {"architectures": [family.architecture(config)], "model_type": family.model_type, "dtype": dtype_name}
    (folder / "config.json").write_text(json.dumps({**head, **data, **(more or {})}, indent=2) + "\n", "utf-8")
    return family


class Budget(threading.local):
    """The number of tensors that modules of this thread may still have. None: their parameters keep their numbers."""

    left: float | None = None


budget = Budget()


@contextmanager
def without_numbers(most: int | None = None) -> Generator[None]:
    """Puts the parameters of modules that this thread builds on the meta device at once; buffers stay.

    most: tensors allowed, since even those without numbers take time; UserError beyond.
    """
    before, budget.left = budget.left, math.inf if most is None else most
    try:
        yield
    finally:
        budget.left = before


def registered(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
    """Returns a meta parameter for each one that PyTorch registers in a module, in any thread (None: it stays as it
    is).
    """
    if budget.left is None:
        return None
    if budget.left < 1:
        raise UserError("config.json asks for more tensors than there are numbers in the files; correct it")
    budget.left -= 1
    if parameter.is_meta:  # a tied one was moved before
        return None
    return nn.Parameter(parameter.to("meta"), parameter.requires_grad)


register_module_parameter_registration_hook(registered)  # pyright: ignore[reportArgumentType] - it may return one
