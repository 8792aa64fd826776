"""The costs of a published model, counted on a model of our parts that holds no numbers.

Of equal layers two are assembled, and counted for all of them: what the two share is shared by all.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import nn

from transduce.inspect.counts import part_of
from transduce.model.architecture import EncoderDecoderConfig, LayerConfig, Layers, ModelConfig
from transduce.model.architecture.layers import runs
from transduce.model.block import Block
from transduce.model.embed.embedding import Embedding
from transduce.model.feedforward.experts import Experts
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.positions.position import Positions
from transduce.model.state import nbytes

TRAINING_BYTES = 16  # of a parameter: its weight, its gradient and two moments of AdamW, all in float32
LONG = 4096  # tokens, where positions have no end
DISTANCES = ("pos_q", "pos_k")  # the maps of DeBERTa for them


class Costs(NamedTuple):
    """The costs of a model.

    parts: parameters by part, tied ones once, under all their names. active: parameters without those of experts that
    a token does not take. flops, source_flops: floating-point operations of a token forward, a multiply-add is two: 2
    for each weight of each matrix that it is multiplied with, so no look-up in a table, no norm, and no score of
    attention, which grow with the text. source_flops: of a token that a decoder reads from outside. state: bytes that a
    decoder holds for a token it has read, the first ones; context, full: the longest text that positions allow (4096
    tokens where they allow any), and the bytes that it holds of that; source_state: for a token of a source. Numbers of
    a state have 2 bytes.
    """

    parts: Mapping[str, int]
    active: int
    flops: int
    source_flops: int
    state: int
    context: int
    full: int
    source_state: int

    @property
    def params(self) -> int:
        return sum(self.parts.values())

    @property
    def training_bytes(self) -> int:
        """Returns the bytes of weights, gradients and moments; activations come on top."""
        return TRAINING_BYTES * self.params


class Share(NamedTuple):
    """The number of layers a block stands for: as parameters, and as applications."""

    layers: int = 1
    applied: int = 1


def sampled(layers: Layers) -> tuple[tuple[LayerConfig, ...], list[Share]]:
    """Returns every kind of layer at most twice, and how many layers each stands for."""
    depths: dict[LayerConfig, int] = {}
    for run in runs(layers):
        key = run if run.tied else replace(run, times=1)
        depths[key] = depths.get(key, 0) + (1 if run.tied else run.times)
    kinds, shares = list[LayerConfig](), list[Share]()
    for kind, times in depths.items():
        for layers in (1,) if times == 1 else (times - 1, 1):
            kinds.append(kind)
            shares.append(Share(layers, layers * kind.times))
    return tuple(kinds), shares


def small(model: ModelConfig) -> tuple[ModelConfig, list[list[Share]]]:
    """Returns the model with few layers, and how many layers each block of each stack stands for."""
    if isinstance(model, EncoderDecoderConfig):
        (upper, above), (lower, below) = sampled(model.upper), sampled(model.lower)
        return replace(model, layers=1, encoder_layers=upper, decoder_layers=lower), [above, below]
    layers, shares = sampled(model.layers)
    return replace(model, layers=layers), [shares]


def costs(model: ModelConfig, vocab_size: int) -> Costs:
    """Raises UserError if the parts do not fit together."""
    config, shares = small(model)
    with torch.device("meta"):
        built = config.assemble(vocab_size)
    blocks = {
        cast(Block, block): share
        for stack, own in zip(built.stacks(), shares, strict=True)
        for block, share in zip(stack.blocks, own, strict=True)
    }
    owners: dict[nn.Parameter, list[int]] = {}  # of what two blocks share there is one
    for block, share in blocks.items():
        for parameter in block.parameters():
            owners.setdefault(parameter, []).append(share.layers)
    names: dict[nn.Parameter, dict[str, None]] = {}
    for name, parameter in built.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, {})[part_of(built, name)] = None
    parts, active, resting = dict[str, int](), 0, idle(built)
    for parameter, own_names in names.items():
        own = owners.get(parameter, [1])
        count = parameter.numel() * (own[0] if len(own) == 1 else 1)
        part = " = ".join(own_names)
        parts[part] = parts.get(part, 0) + count
        active += 0 if parameter in resting else count
    return Costs(parts, active, *flops(built, blocks, resting), *states(built, blocks, model.width))


def idle(built: Model) -> set[nn.Parameter]:
    """Returns the parameters of experts beyond the number that a token takes: all experts are alike."""
    layers = [module for module in built.modules() if isinstance(module, Experts)]
    return {p for module in layers for e in module.experts[module.config.top :] for p in e.parameters()}


def matrices(module: nn.Module, resting: set[nn.Parameter]) -> int:
    """Returns the weights of the matrices in a module that a token meets; those of positions meet distances."""
    if isinstance(module, Positions):
        return 0
    own = sum(p.numel() for p in module.parameters(recurse=False) if p.ndim >= 2 and p not in resting)
    return own + sum(matrices(x, resting) for name, x in module.named_children() if name not in DISTANCES)


def flops(built: Model, blocks: Mapping[Block, Share], resting: set[nn.Parameter]) -> tuple[int, int]:
    """Returns the operations of a token, and of a token of the source, for a model that has one."""
    stacks, counts = built.stacks(), [0, 0]
    for number, stack in enumerate(reversed(stacks)):
        for block in cast("list[Block]", list(stack.blocks)):
            counts[number] += blocks[block].applied * matrices(block, resting)
            for mixer in block.crosses():
                reading = sum(matrices(m, resting) for name, m in mixer.named_children() if name in ("k", "v"))
                counts[0] -= blocks[block].applied * reading
                counts[1] += blocks[block].applied * reading
    embeddings = [module for module in built.modules() if isinstance(module, Embedding)]  # one, where they are one
    for number in range(len(stacks)):
        embed = embeddings[-1 if number == 0 else 0]
        counts[number] += sum(matrices(m, resting) for m in embed.modules() if isinstance(m, nn.Linear))
    counts[0] += 0 if built.head is None else matrices(built.head, resting)
    return 2 * counts[0], 2 * counts[1]


def states(built: Model, blocks: Mapping[Block, Share], width: int) -> tuple[int, int, int, int]:
    """Returns bytes for a token, the longest text and the bytes for that, and bytes for a token of the source."""
    if not built.writes:
        return 0, 0, 0, 0
    meta, half, context = torch.device("meta"), torch.bfloat16, built.limit or LONG
    built.to(half)

    def state_bytes(tokens: int) -> int:
        return sum(
            blocks[block].applied * nbytes(block.init_state(1, tokens, device=meta, dtype=half)) for block in decoding
        )

    def remembered(tokens: int) -> int:
        source, layout = torch.empty(1, tokens, width, dtype=half, device=meta), dense(1, tokens, device=meta)
        return sum(blocks[block].applied * nbytes(block.remember(source, layout)) for block in decoding)

    decoding = cast("list[Block]", list(built.stacks()[-1].blocks))
    per_token = (state_bytes(32) - state_bytes(16)) // 16  # caches have room for multiples of 16
    return per_token, context, state_bytes(context), remembered(9) - remembered(8)
