"""Sequence models built from one set of parts, trained on your own data.

    import transduce as td
    run = td.train("dates", {"train.max_steps": 500})
    model = td.load("runs/dates")
    model.translate(["3 de mayo de 2021"])
    td.build("llama-7b", device="meta")

Importing this imports no torch; the first use of `build`, `load`, `train` or `recipe` does.
"""

import importlib
from typing import TYPE_CHECKING, Any

from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.api import Update as Update
    from transduce.api import Validation as Validation
    from transduce.api import average as average
    from transduce.api import build as build
    from transduce.api import doctor as doctor
    from transduce.api import load as load
    from transduce.api import lr_find as lr_find
    from transduce.api import plan as plan
    from transduce.api import prepare as prepare
    from transduce.api import quantise as quantise
    from transduce.api import recipe as recipe
    from transduce.api import train as train
    from transduce.transducer import Transducer as Transducer

__version__ = "0.1.0"
__all__ = [
    "Transducer",
    "Update",
    "UserError",
    "Validation",
    "average",
    "build",
    "doctor",
    "load",
    "lr_find",
    "plan",
    "prepare",
    "quantise",
    "recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("transduce.api"), name)
    raise AttributeError(f"module `transduce` has no attribute `{name}`; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
