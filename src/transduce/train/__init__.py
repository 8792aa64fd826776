"""From a recipe to a finished run: `train` does it all, `loop.train` is the loop."""

import importlib
import sys
import types
from typing import Any

from transduce.train.run import Run
from transduce.train.training import train

__all__ = ["Run", "train"]


class _Callable(types.ModuleType):
    """Importing this folder hides the function `transduce.train` behind it, so the folder can be called like it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module("transduce.api").train(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
