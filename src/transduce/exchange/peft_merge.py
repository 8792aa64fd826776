"""An adapter of PEFT merged into its base: a folder as transformers has it, without factors.

LoRA (Hu et al. 2021, arXiv:2106.09685): W + s B A. DoRA (Liu et al. 2024, arXiv:2402.09353): its rows brought to the
lengths m. s is alpha / r, or alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732). What else PEFT can do is refused.
"""

import math
import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import safetensors.torch
from torch import Tensor

from transduce.errors import UserError
from transduce.exchange import remote_code
from transduce.exchange.files import INDEX, SINGLE, Files, opened, read_json
from transduce.exchange.peft_adapter import CONFIG, WEIGHTS
from transduce.text.published import PIECES

PREFIX = "base_model.model."
LOW = re.compile(r"(?P<at>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(\.weight)?")
# Settings that change what is computed, and that are not read here, each with the value by which it does nothing.
BEYOND: dict[str, tuple[Any, ...]] = {
    "layer_replication": (None,), "use_qalora": (False, None), "lora_bias": (False, None),
    "alora_invocation_tokens": (None,),
    "trainable_token_indices": (None,), "target_parameters": (None, []), "arrow_config": (None,),
    "use_bdlora": (None, False), "kasa_config": (None,), "monteclora_config": (None,),
}  # fmt: skip
PLAIN = re.compile(r"(\^|[\w.\-|]|\\.|\\d)+")
Factors = dict[str, Tensor]


@contextmanager
def merged(adapter: Path, base: Path | None) -> Generator[Path]:
    """Gives a folder with the base and the adapter in it as one model, which is there inside the context.

    base: where the model lies that the adapter is for; None: where adapter_config.json says. Raises UserError.
    """
    remote_code.require_none(adapter)
    config = read_json(adapter / CONFIG)
    require_lora(config, adapter / CONFIG)
    base = at_hand(config, base, adapter)
    files = Files(base)
    factors, whole = parts(adapter / WEIGHTS)
    names = {at: tensor_of(f"{at}.weight", files, adapter, base) for at in factors}
    trained = {tensor_of(name, files, adapter, base): x for name, x in whole.items()}
    with TemporaryDirectory(prefix="transduce-") as temporary:
        out = Path(temporary) / (adapter.resolve().name.strip(".") or "adapter")
        shutil.copytree(base, out, ignore=lambda _, inside: [n for n in inside if n.endswith((".safetensors", ".bin"))])
        (out / INDEX).unlink(missing_ok=True)
        for file in adapter.iterdir():  # the tokeniser that the adapter was trained with, where it brings its own
            if file.name.startswith(("tokenizer", "special_tokens", "added_tokens", "vocab", "merges", *PIECES)):
                shutil.copyfile(file, out / file.name)
        tensors = {name: files.read(name)[0] for name in files.where} | trained
        for at, name in names.items():
            tensors[name] = adapted(tensors[name], factors[at], config, at)
        safetensors.torch.save_file({n: x.contiguous() for n, x in tensors.items()}, out / SINGLE, {"format": "pt"})
        yield out


def require_lora(config: Mapping[str, Any], path: Path) -> None:
    """Raises UserError for an adapter of another kind, and for settings that change what is computed."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserError(
            f"{path} has peft_type={kind}, which is not read here; LORA is, DoRA among it, and PREFIX_TUNING"
        )
    beyond = [key for key, nothing in BEYOND.items() if config.get(key, nothing[0]) not in nothing]
    if beyond:
        raise UserError(f"{path} asks for {', '.join(beyond)}, which is not read here; merge the adapter with peft")


def at_hand(config: Mapping[str, Any], base: Path | None, adapter: Path) -> Path:
    """Returns the folder of the model that an adapter is for. Raises UserError."""
    named = config.get("base_model_name_or_path")
    where = base or (Path(named) if isinstance(named, str) and named else None)
    if where is None or not (where / "config.json").is_file():
        of = f"{adapter} is an adapter of {named or 'a model that it does not name'}"
        lacks = f", but {base} has no config.json" if base is not None else ", which is no folder here"
        raise UserError(f"{of}{lacks}; give the folder of that model: --base DIR")
    return where


def parts(file: Path) -> tuple[dict[str, Factors], dict[str, Tensor]]:
    """Returns the factors at each place, and tensors that replace those of the base, by the names they have there."""
    if not file.is_file():
        raise UserError(f"{file} does not exist; the folder of an adapter holds it (a pickle, .bin, is not read)")
    factors, whole = dict[str, Factors](), dict[str, Tensor]()
    with opened(file) as reader:
        for key in cast("list[str]", reader.keys()):
            name = key.removeprefix(PREFIX)
            match = LOW.fullmatch(name)
            if match is not None:
                factors.setdefault(match["at"], {})[match["part"]] = reader.get_tensor(key).float()
            else:
                whole[name.replace(".base_layer.", ".")] = reader.get_tensor(key)
    return factors, whole


def tensor_of(name: str, files: Files, adapter: Path, base: Path) -> str:
    """Returns the name that a tensor has in the files of the base: with or without the name of the model without head.

    Raises UserError.
    """
    for one in (name, name.partition(".")[2]):
        if one in files.where:
            return one
    ends = [one for one in files.where if one.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    raise UserError(
        f"{adapter} changes {name}, which {base} does not have; give the model that it was trained for: --base DIR "
        "(a head of its own, or one that is tied to the embedding, is not read here)"
    )


def adapted(weight: Tensor, factors: Factors, config: Mapping[str, Any], at: str) -> Tensor:
    """Returns a matrix with its adapter in it, in float32. Raises UserError where they do not fit."""
    embedding = "embedding_A" in factors
    low, high = (factors.get(f"embedding_{x}" if embedding else x) for x in ("A", "B"))
    if low is None or high is None or low.ndim != 2 or high.ndim != 2 or weight.ndim != 2:
        raise UserError(f"the adapter of {at} is no pair of matrices A and B, which is not read here")
    turned = embedding or bool(config.get("fan_in_fan_out"))
    weight = weight.float().mT if turned else weight.float()
    product = high @ low
    if product.shape != weight.shape:
        raise UserError(
            f"the adapter of {at} is for a matrix of {list(product.shape)}, but the base has {list(weight.shape)}; "
            "give the model that it was trained for: --base DIR"
        )
    weight = weight + scale(config, at, low.shape[0]) * product
    if "magnitude_vector" in factors:
        weight = weight * (factors["magnitude_vector"].flatten() / (weight * weight).sum(1).sqrt())[:, None]
    return weight.mT if turned else weight


def scale(config: Mapping[str, Any], at: str, rank: int) -> float:
    """Returns s at a place; a pattern of PEFT is a regular expression for the end of its name. Raises UserError."""
    alpha: Any = config.get("lora_alpha", rank)
    for pattern, value in cast("dict[str, Any]", config.get("alpha_pattern") or {}).items():
        if not PLAIN.fullmatch(pattern):  # one that repeats may take for ever
            raise UserError(f"alpha_pattern of the adapter has {pattern!r}, which is not read here; merge it with peft")
        if re.match(rf"(.*\.)?({pattern})$", at):
            alpha = value
            break
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise UserError(f"lora_alpha={alpha} of the adapter is no number")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
