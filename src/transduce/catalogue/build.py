"""Published models as models of ours, with start values and without; their shapes in recipes."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from transduce.catalogue.counts import costs
from transduce.catalogue.entry import catalogue, entry
from transduce.catalogue.shape import Built, built
from transduce.config import from_data, override, to_data
from transduce.errors import UserError, require_memory
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.recipes import architectures


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A model alone, so that errors name `model.width` as in a recipe."""

    model: ModelConfig


def whole(name: str) -> Built:
    """Returns the shape of an entry, if all of it can be built. Raises UserError."""
    shape = built(entry(name))
    if shape.beside:
        missing = ", ".join(part.replace("_", " ") for part in shape.beside)
        raise UserError(f"{name} cannot be built: it has parts that are none of ours ({missing})")
    return shape


def config_of(name: str, overrides: Iterable[tuple[str, Any]] = ()) -> tuple[ModelConfig, int]:
    """Returns the model of an entry with dotted overrides such as ("layers", 4), and the rows of its vocabulary."""
    shape = whole(name)
    data: dict[str, Any] = {"model": to_data(shape.model)}
    for dotted, value in overrides:
        override(data, f"model.{dotted}", value)
    return from_data(Holder, data).model, shape.vocab_size


def section(name: str) -> dict[str, Any] | None:
    """Returns the model section of a recipe that an entry stands for (None: an architecture has that name).

    Raises UserError for an entry that cannot be built, and for an unknown name.
    """
    if name not in catalogue() and difflib.get_close_matches(name, architectures.names(), 1):
        return None
    return to_data(whole(name).model)


def make(model: ModelConfig, vocab_size: int, device: torch.device, seed: int = 0) -> Model:
    """Returns the model on a device, with start values drawn from `seed`; on the meta device without any.

    Raises UserError if its weights do not fit this machine.
    """
    if device.type == "meta":
        with device:
            return model.assemble(vocab_size)
    require_memory(costs(model, vocab_size).params, "use device=meta, which holds no numbers, or override")
    return model.build(vocab_size, seed).to(device)
