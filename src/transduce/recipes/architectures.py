"""Architectures by name: `model: bahdanau-2014` in a recipe, or `model=bahdanau-2014` on the command line.

Each is the model section of a recipe, one YAML file in the folder of this name. It serves both kinds of model: with a
source it is an encoder-decoder, without one the decoder of it is a language model, and what joins the two is left out.
"""

import difflib
import importlib.resources
from collections.abc import Callable, Mapping
from typing import Any, cast

from transduce import config
from transduce.errors import UserError
from transduce.plain_yaml import read_file

MODELS = "transduce.model.architecture"  # where kinds of models are
FOLDER = importlib.resources.files("transduce.recipes").joinpath("architectures")
JOINING = (  # keys of an encoder-decoder alone
    "encoder_mixer", "encoder_layers", "cross", "cross_place", "bridge", "tie_positions", "source_vocab",
)  # fmt: skip
More = Callable[[str], dict[str, Any] | None]  # the model section of a name that is known elsewhere
Shape = Callable[[Mapping[str, Any]], str]  # the kind of model that suits a recipe's plain data


def names() -> list[str]:
    """Returns the architectures, by name."""
    return sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml"))


def text(name: str) -> str:
    """Returns the YAML of an architecture, comments included. Raises UserError for an unknown name."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        guess = f"did you mean `{close[0]}`?" if close else "`transduce recipes ls` lists them"
        raise UserError(f"there is no architecture `{name}`; {guess}")
    return FOLDER.joinpath(f"{name}.yaml").read_text("utf-8")


def about(name: str) -> str:
    """Returns the first comment line of an architecture: what it is and where it was published."""
    return text(name).split("\n", 1)[0].removeprefix("#").strip()


def model(name: str, shape: str) -> dict[str, Any]:
    """Returns the model section of a recipe. shape: the kind of model: with a source, or a stack alone."""
    data = cast("dict[str, Any]", read_file(text(name), name))
    if shape == "encoder-decoder":
        return {"kind": shape, **data}
    layers = data.pop("decoder_layers", data.get("layers"))
    if isinstance(layers, list):
        layers = [{k: v for k, v in run.items() if k != "cross"} for run in cast("list[dict[str, Any]]", layers)]
    tied = data.get("tie_embeddings", "all") in ("all", "output")
    rest = {key: value for key, value in data.items() if key not in JOINING}
    return {"kind": shape, **rest, "layers": layers, "tie_embeddings": tied}


def named(model: Any) -> bool:
    """Says whether a model section names an architecture: `model: NAME`, or `model: {base: NAME, width: 256}`."""
    if isinstance(model, str):
        return model not in config.kinds(MODELS)
    return isinstance(model, dict) and "base" in model


def expand(data: dict[str, Any], shape: Shape, more: More | None = None) -> None:
    """Replaces the name of an architecture in a recipe by the model it stands for.

    more: gives the models of names that are not known here.
    """
    own = data.get("model")
    if not named(own):
        return
    changes = dict(cast("dict[str, Any]", own)) if isinstance(own, dict) else {"base": own}
    name = str(changes.pop("base"))
    model_data = more(name) if more is not None and name not in names() else None
    if model_data is not None:
        data["model"] = config.merge(model_data, changes)
        return
    data["model"] = config.merge(model(name, shape(data)), changes)
