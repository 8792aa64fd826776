"""The parts behind an encoder that sentence-transformers keeps in folders: pooling, a map, a norm."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, cast

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.exchange.files import Files, read_json
from transduce.model.layout import Layout
from transduce.model.pool import pooled

OLD = {  # key of a mode as it once was -> its name, in the order in which several are joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = {
    "torch.nn.modules.activation.Tanh": torch.tanh,
    "torch.nn.modules.activation.ReLU": F.relu,
    "torch.nn.modules.activation.GELU": F.gelu,
    "torch.nn.modules.activation.Sigmoid": torch.sigmoid,
    "torch.nn.modules.linear.Identity": nn.Identity(),
}


MODES = {  # what sentence-transformers calls a way to pool: what we call it
    "cls": "first", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean-sqrt", "weightedmean": "weighted",
    "lasttoken": "last",
}  # fmt: skip


class Pooling:
    """Hidden states (B, T, M) to (B, modes M).

    modes: keys of `model.pool.POOLS`.
    prompt: whether the tokens of a prompt are part of the text.
    """

    def __init__(self, modes: tuple[str, ...] = ("mean",), prompt: bool = True) -> None:
        self.modes, self.prompt = modes, prompt

    def __call__(self, hidden: Tensor, layout: Layout, skip: int = 0) -> Tensor:
        """Pools hidden states. skip: tokens at the beginning of a text that are not pooled."""
        return pooled(hidden, layout, self.modes, skip)

    @classmethod
    def read(cls, folder: Path, width: int) -> "Pooling":
        fields = Fields(read_json(folder / "config.json"))
        if (features := fields.take("word_embedding_dimension", fields.take("embedding_dimension", width))) != width:
            raise UserError(
                f"{folder / 'config.json'} pools vectors of {features} features, but the encoder has {width}"
            )
        old = [name for key, name in OLD.items() if fields.flag(key, False)]
        modes: Any = fields.take("pooling_mode", old or ["mean"])
        names = cast("list[Any]", modes) if isinstance(modes, list) else [modes]
        if unknown := [name for name in names if name not in MODES]:
            raise UserError(f"{folder / 'config.json'} has the mode {unknown[0]!r}; known are {', '.join(MODES)}")
        fields.take("embedding_dimension")
        prompt = fields.flag("include_prompt", True)
        fields.done()
        return cls(tuple(MODES[name] for name in names), prompt)

    def write(self, folder: Path, width: int) -> None:
        theirs = {ours: name for name, ours in MODES.items()}
        modes = [theirs[mode] for mode in self.modes]
        old = {key: name in modes for key, name in OLD.items()}
        if [name for key, name in OLD.items() if old[key]] == modes:
            data = {"word_embedding_dimension": width, **old, "include_prompt": self.prompt}
        else:
            data = {"embedding_dimension": width, "pooling_mode": modes, "include_prompt": self.prompt}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(data, indent=2) + "\n", "utf-8")


class Step(ABC):
    """A step after the pooling: (B, M) -> (B, N), read from a folder and written to one."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def read(cls, folder: Path) -> "Step": ...

    @abstractmethod
    def write(self, folder: Path) -> None: ...


class Normalize(Step):
    """x / |x|: then products are cosines."""

    name = "Normalize"

    def __call__(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)

    @classmethod
    def read(cls, folder: Path) -> "Normalize":
        return cls()

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)


class Dense(Step):
    """act(W x + b)."""

    name = "Dense"

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str) -> None:
        self.weight, self.bias, self.activation = weight, bias, activation

    def __call__(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.device)
        return ACTIVATIONS[self.activation](F.linear(x, self.weight.to(x.device), bias))

    @classmethod
    def read(cls, folder: Path) -> "Dense":
        fields = Fields(read_json(folder / "config.json"))
        shape = (fields.whole("out_features"), fields.whole("in_features"))
        activation = fields.one_of(
            "activation_function", {name: name for name in ACTIVATIONS}, "torch.nn.modules.activation.Tanh"
        )
        for key in ("module_input_name", "module_output_name"):
            fields.only(key, "sentence_embedding")
        names = ["linear.weight", *(["linear.bias"] if fields.flag("bias", True) else [])]
        fields.done()
        files = Files(folder)
        if sorted(files.where) != sorted(names) or files.shapes["linear.weight"].shape != shape:
            raise UserError(f"the tensors in {folder} are not those of its config.json; download it again")
        if "linear.bias" in files.shapes and files.shapes["linear.bias"].shape != shape[:1]:
            raise UserError(f"linear.bias in {folder} has not {shape[0]} numbers; download it again")
        weight, *bias = (x.float() for x in files.read(*names))
        return cls(weight, bias[0] if bias else None, activation)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "in_features": self.weight.shape[1], "out_features": self.weight.shape[0],
            "bias": self.bias is not None, "activation_function": self.activation,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(data, indent=2) + "\n", "utf-8")
        bias = {} if self.bias is None else {"linear.bias": self.bias}
        safetensors.torch.save_file({"linear.weight": self.weight, **bias}, folder / "model.safetensors")


STEPS: dict[str, type[Step]] = {step.name: step for step in (Normalize, Dense)}
