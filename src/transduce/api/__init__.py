"""The functions of the package for Python: train a recipe, examine it beforehand, load and convert the result.

Each is imported when it is asked for: using a model needs nothing of training one.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transduce.api.averaging import average as average
    from transduce.api.finding import lr_find as lr_find
    from transduce.api.folders import export as export
    from transduce.api.folders import import_model as import_model
    from transduce.api.folders import parity as parity
    from transduce.api.folders import quantise as quantise
    from transduce.api.folders import require_new as require_new
    from transduce.api.imputing import imputer as imputer
    from transduce.api.opening import build as build
    from transduce.api.opening import load as load
    from transduce.api.planning import Plan as Plan
    from transduce.api.planning import doctor as doctor
    from transduce.api.planning import plan as plan
    from transduce.api.preparing import Prepared as Prepared
    from transduce.api.preparing import prepare as prepare
    from transduce.api.preparing import train_tokenizer as train_tokenizer
    from transduce.api.recipes import Overrides as Overrides
    from transduce.api.recipes import changed as changed
    from transduce.api.recipes import recipe as recipe
    from transduce.api.recipes import started as started
    from transduce.api.training import train as train
    from transduce.training.watching import Update as Update
    from transduce.training.watching import Validation as Validation
    from transduce.transducer import Transducer as Transducer

PLACES = {
    "average": "transduce.api.averaging",
    "lr_find": "transduce.api.finding",
    "export": "transduce.api.folders",
    "import_model": "transduce.api.folders",
    "parity": "transduce.api.folders",
    "quantise": "transduce.api.folders",
    "require_new": "transduce.api.folders",
    "imputer": "transduce.api.imputing",
    "build": "transduce.api.opening",
    "load": "transduce.api.opening",
    "Plan": "transduce.api.planning",
    "doctor": "transduce.api.planning",
    "plan": "transduce.api.planning",
    "Prepared": "transduce.api.preparing",
    "prepare": "transduce.api.preparing",
    "train_tokenizer": "transduce.api.preparing",
    "Overrides": "transduce.api.recipes",
    "changed": "transduce.api.recipes",
    "recipe": "transduce.api.recipes",
    "started": "transduce.api.recipes",
    "train": "transduce.api.training",
    "Update": "transduce.training.watching",
    "Validation": "transduce.training.watching",
    "Transducer": "transduce.transducer",
}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module `transduce.api` has no attribute `{name}`; it has {', '.join(PLACES)}")
    return getattr(importlib.import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return [*PLACES]
