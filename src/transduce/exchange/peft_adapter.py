"""The adapters of a run as PEFT keeps them: adapter_config.json and adapter_model.safetensors, beside a base model.

PEFT adapts the matrices of the base as transformers has them. Where one of those is several of ours (queries, keys and
values in one), its A is ours on top of each other and its B has a block for each, so the rank is the sum of ours.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from transduce.disk import remove
from transduce.errors import UserError
from transduce.exchange.checkpoint import expressed
from transduce.exchange.families.family import families
from transduce.exchange.files import require_new
from transduce.exchange.table import Row
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.tune.dora import Directed, lengths
from transduce.tune.lora import LowRank

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TASKS = (("CausalLM", "CAUSAL_LM"), ("LMHeadModel", "CAUSAL_LM"), ("ConditionalGeneration", "SEQ_2_SEQ_LM"),
         ("MTModel", "SEQ_2_SEQ_LM"))  # fmt: skip
SAME = 1e-5  # of the greatest number: what products of A and B may differ by where PEFT can express them


class Factors(NamedTuple):
    """A (R, in), B (out, R) with the scale in it, and the lengths of the rows (out,) where they have their own."""

    A: Tensor
    B: Tensor
    m: Tensor | None = None


def write(model: Model, config: ModelConfig, vocab_size: int, base: str, folder: Path) -> None:
    """Writes the adapters of a model, not merged, for a base model that lies in `base` as transformers has it.

    Raises UserError, and leaves nothing behind, where the model has no adapters, or PEFT cannot express them.
    """
    adapted = adapters_by_name(model)
    if not adapted:
        raise UserError("this run has no adapters to write (tune=lora, dora or prefix); export it without --adapter")
    match = expressed(families(), config, vocab_size)
    if match is None:
        raise UserError("no class of transformers fits this model, so PEFT has nothing to put the adapters on")
    family = match[0]
    tensors, ranks, transposed = dict[str, Tensor](), dict[str, int](), False
    originals = original_weights(model)
    table = family.table(config)
    for line in table.rows:
        if not adapted.keys() & set(line.ours):
            continue
        factors, turned = theirs(line, adapted, originals)
        transposed |= turned
        at = line.theirs[0].removeprefix(table.prefix if table.bare else "").removesuffix(".weight")
        ranks[at] = factors.A.shape[0]
        parts = {"lora_A.weight": factors.A, "lora_B.weight": factors.B, "lora_magnitude_vector": factors.m}
        tensors |= {f"base_model.model.{at}.{n}": x.contiguous() for n, x in parts.items() if x is not None}
    most = max(ranks.values())
    others = {name: rank for name, rank in ranks.items() if rank != most}
    architecture = family.architecture(config)
    data = {
        "peft_type": "LORA", "task_type": next((task for end, task in TASKS if architecture.endswith(end)), None),
        "base_model_name_or_path": base, "r": most, "lora_alpha": most, "rank_pattern": others, "alpha_pattern": others,
        "target_modules": sorted(ranks), "fan_in_fan_out": transposed, "lora_dropout": 0.0, "bias": "none",
        "use_dora": any(isinstance(x, Directed) for x in adapted.values()), "inference_mode": True,
    }  # fmt: skip
    save(tensors, data, folder)


def save(tensors: Mapping[str, Tensor], data: Mapping[str, Any], folder: Path) -> None:
    """Writes the two files, in a folder that is new or empty."""
    require_new(folder)
    beside = folder.with_name(f".{folder.name}.partial")
    remove(beside)
    try:
        beside.mkdir(parents=True)
        safetensors.torch.save_file(dict(tensors), beside / WEIGHTS, {"format": "pt"})
        (beside / CONFIG).write_text(json.dumps(data, indent=2) + "\n", "utf-8")
        folder.rmdir() if folder.exists() else None
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def adapters_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the adapter of each weight, under the name that the weight has without it."""
    adapters = dict[str, nn.Module]()
    for name, part in cast("Iterator[tuple[str, nn.Module]]", model.named_modules()):
        if isinstance(part, parametrize.ParametrizationList):
            adapters[name.replace(".parametrizations.", ".")] = part[0]
    return adapters


def original_weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns the parameters of a model under the names that they have without adapters."""
    return {
        name.replace(".parametrizations.", ".").removesuffix(".original"): x.detach()
        for name, x in model.named_parameters()
    }


def theirs(line: Row, adapted: Mapping[str, nn.Module], weights: Mapping[str, Tensor]) -> tuple[Factors, bool]:
    """Returns the factors of the matrix of transformers in a row of a table, and whether it lies transposed there.

    Raises UserError where the adapters of ours are not one adapter of theirs.
    """
    ours = [weights[name] for name in line.ours]
    adapters = [adapted.get(name) for name in line.ours]
    A = torch.cat([low(one).A.detach() for one in adapters if one is not None])
    blocks, at = list[Tensor](), 0
    for weight, one in zip(ours, adapters, strict=True):
        block = weight.new_zeros(weight.shape[0], A.shape[0])
        if one is not None:
            rank = low(one).A.shape[0]
            block[:, at : at + rank] = low(one).scale * low(one).B.detach()
            at += rank
        blocks.append(block)
    delta = line.op.write([block @ A for block in blocks])
    fused = line.op.write(blocks)
    for turned in (False, True):
        B = fused[0].mT if turned else fused[0]
        if len(fused) > 1 or B.shape[1] != A.shape[0]:
            continue
        product = (B @ A).mT if turned else B @ A
        if product.shape == delta[0].shape and near(product, delta[0]):
            return Factors(A, B, row_lengths(line, adapters, ours, turned)), turned
    raise UserError(
        f"the adapters of {', '.join(line.ours)} are no adapter of {line.theirs[0]}, so PEFT cannot express them; "
        "export the run without --adapter, with its weights merged"
    )


def row_lengths(
    line: Row, adapters: Sequence[nn.Module | None], weights: Sequence[Tensor], turned: bool
) -> Tensor | None:
    """Returns the length of every row of theirs, where adapters have them: of a matrix without one, as it is."""
    if not any(isinstance(one, Directed) for one in adapters):
        return None
    columns = [
        (one.m.detach() if isinstance(one, Directed) else lengths(weight))[:, None]
        for one, weight in zip(adapters, weights, strict=True)
    ]
    column = line.op.write(columns)[0]
    return (column.mT if turned else column)[:, 0]


def low(adapter: nn.Module) -> LowRank:
    """Returns the part of an adapter that has A and B."""
    part = adapter.low if isinstance(adapter, Directed) else adapter
    assert isinstance(part, LowRank)
    return part


def near(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= SAME * b.abs().max().clamp_min(1e-12))
