"""The prefix of a run as PEFT keeps it, for a decoder as transformers has it, and back.

PEFT hands the keys and values of a prefix to a decoder as those of tokens that were read before: P of them in each
layer, (P, 2 L G D) numbers in one matrix, so that positions begin at P. (Li and Liang 2021, arXiv:2101.00190)
"""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.exchange import remote_code
from transduce.exchange.checkpoint import expressed
from transduce.exchange.families.family import families
from transduce.exchange.files import opened, read_json
from transduce.exchange.peft_adapter import CONFIG, WEIGHTS, save
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.model.positions.position import Positions
from transduce.tune.prefix import PrefixedAttention, PrefixTuning, prefixed

KIND, NUMBERS = "PREFIX_TUNING", "prompt_embeddings"
WRITERS = ("CausalLM", "LMHeadModel")  # the ends of names of classes that PEFT hands a prefix


class Shape(NamedTuple):
    """The sizes of a prefix: P tokens, of L layers with G key heads of D features."""

    tokens: int
    layers: int
    groups: int
    size: int


def has_prefix(folder: Path) -> bool:
    """Says whether a folder holds a prefix of PEFT."""
    return (folder / CONFIG).is_file() and read_json(folder / CONFIG).get("peft_type") == KIND


def require_none(model: Model) -> None:
    """Raises UserError for a model with a prefix, which no class of transformers has."""
    if prefixed(model):
        what = "no class of transformers has keys and values of its own before those of tokens (tune=prefix)"
        raise UserError(f"{what}; write the prefix for PEFT, beside the model it was tuned from: --adapter")


def write(model: Model, config: ModelConfig, vocab_size: int, base: str, folder: Path) -> None:
    """Writes the prefix of a model for a base model that lies in `base` as transformers has it.

    Raises UserError, and leaves nothing behind, where PEFT cannot express it.
    """
    match = expressed(families(), config, vocab_size)
    if match is None or not match[0].architecture(config).endswith(WRITERS):
        raise UserError("PEFT has a prefix of decoders that transformers can open as language models, and of no other")
    mixers = every(model)
    shape = shape_of(mixers)
    pairs = [x.detach() for mixer in mixers for x in (mixer.prefix.keys, mixer.prefix.values)]
    numbers = torch.stack(pairs, 1).flatten(1)  # (P, 2 L, G, D)
    data = {
        "peft_type": KIND, "task_type": "CAUSAL_LM", "base_model_name_or_path": base,
        "num_virtual_tokens": shape.tokens, "token_dim": shape.groups * shape.size, "num_transformer_submodules": 1,
        "num_attention_heads": shape.groups, "num_layers": shape.layers,
        "encoder_hidden_size": shape.groups * shape.size, "prefix_projection": False, "inference_mode": True,
    }  # fmt: skip
    save({NUMBERS: numbers.contiguous()}, data, folder)


def every(model: Model) -> list[PrefixedAttention]:
    """Returns the attention of all blocks, in order. Raises UserError unless PEFT has a prefix before that of each."""
    mixers, blocks = prefixed(model), [block for stack in model.stacks() for block in stack.blocks]
    own = [getattr(block, "mix", None) for block in blocks]
    if len(model.stacks()) > 1 or not model.writes or own != mixers:
        raise UserError("PEFT has a prefix before attention of every layer of a decoder that reads no source, alone")
    if any(type(mixer.positions).bias is not Positions.bias for mixer in mixers):
        raise UserError("PEFT does not say what positions add to scores of a prefix; it stays in the run")
    return mixers


def shape_of(mixers: list[PrefixedAttention]) -> Shape:
    """Returns the sizes of the prefix of a model. Raises UserError where layers differ."""
    shapes = {tuple(mixer.prefix.keys.shape) for mixer in mixers}
    if len(shapes) != 1:
        raise UserError("PEFT keeps a prefix of the same heads in every layer, and those of this model differ")
    ((tokens, groups, size),) = shapes
    return Shape(tokens, len(mixers), groups, size)


def put(model: Model, adapter: Path) -> PrefixTuning:
    """Puts the prefix in a folder of PEFT before the attention of a model, and returns how that is tuned.

    Raises UserError where it is not one of this model.
    """
    remote_code.require_none(adapter)
    config, numbers = read_json(adapter / CONFIG), numbers_of(adapter)
    tokens = require_alone(config, adapter)
    tune = PrefixTuning(tokens=tokens)
    tune.adapt(model, torch.Generator())
    mixers = every(model)
    shape = shape_of(mixers)
    wanted = (shape.tokens, 2 * shape.layers * shape.groups * shape.size)
    if tuple(numbers.shape) != wanted:
        what = f"the prefix of {adapter} has {list(numbers.shape)} numbers, but this model wants {list(wanted)}"
        raise UserError(f"{what}; give the model that it was trained for: --base DIR")
    pairs = numbers.view(shape.tokens, 2 * shape.layers, shape.groups, shape.size).unbind(1)
    with torch.no_grad():
        for layer, mixer in enumerate(mixers):
            mixer.prefix.keys.copy_(pairs[2 * layer])
            mixer.prefix.values.copy_(pairs[2 * layer + 1])
    return tune


def require_alone(config: Mapping[str, Any], adapter: Path) -> int:
    """Returns the tokens of a prefix. Raises UserError for one that reaches further than into a decoder."""
    tokens: Any = config.get("num_virtual_tokens")
    if not isinstance(tokens, int) or tokens < 1:
        raise UserError(f"{adapter / CONFIG} has num_virtual_tokens={tokens}, which is no number of tokens")
    if config.get("num_transformer_submodules", 1) not in (1, None):
        raise UserError(f"{adapter} has a prefix of an encoder-decoder, which is not read here")
    return tokens


def numbers_of(adapter: Path) -> Tensor:
    """Returns the (P, 2 L G D) numbers of a prefix, float32. Raises UserError where there are others beside them."""
    file = adapter / WEIGHTS
    if not file.is_file():
        raise UserError(f"{file} does not exist; the folder of an adapter holds it (a pickle, .bin, is not read)")
    with opened(file) as reader:
        names = list(reader.keys())
        if names != [NUMBERS]:
            raise UserError(f"{file} holds {', '.join(names) or 'nothing'}, but a prefix is {NUMBERS} alone")
        return reader.get_tensor(NUMBERS).float()


def installed() -> bool:
    return find_spec("peft") is not None


def on(model: Any, adapter: Path) -> Any:
    """Returns a model of transformers with a prefix as PEFT computes it."""
    peft: Any = importlib.import_module("peft")
    return peft.PeftModel.from_pretrained(model, adapter, trust_remote_code=False, local_files_only=True).eval()
