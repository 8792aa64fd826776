"""Folders that hold no model that is read here: what they hold instead, and what to do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from transduce.errors import UserError
from transduce.exchange.files import INDEX, SINGLE, read_json
from transduce.exchange.names import listed, without_head

ADAPTER = "adapter_config.json"
READ = "a run (`transduce train` makes runs, as directories in runs/), or a folder with config.json and safetensors"
CLASSIFIERS = (
    "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice",
    "ForQuestionAnsweringSimple", "DoubleHeadsModel",
)  # fmt: skip
OF = {"runs": "config.yaml", "models": "config.json"}
DEEPEST, MOST = 3, 1000  # folders in folders, and how many of them, where models are looked for
CONVERTED = {".gguf": "GGUF, for llama.cpp", ".onnx": "ONNX", ".tflite": "TFLite"}


def require_model(folder: Path) -> None:
    """Raises UserError for a folder that is no model without another one, or whose weights are quantised."""
    if (folder / ADAPTER).is_file():
        raise UserError(adapter(folder))
    if not (folder / "config.json").is_file():
        raise UserError(explanation(folder))
    data = read_json(folder / "config.json")
    how: Any = data.get("quantization_config") or data.get("compression_config")
    if not how and (folder / "quantize_config.json").is_file():
        how = read_json(folder / "quantize_config.json")
    if how:
        method = cast("dict[str, Any]", how).get("quant_method") if isinstance(how, dict) else None
        name = f" ({method})" if isinstance(method, str) else ""
        raise UserError(
            f"the weights in {folder} are quantised{name}, which is not read here; take the folder that they were made "
            "of, in float32, float16 or bfloat16"
        )


def adapter(folder: Path) -> str:
    """Returns the sentence for a folder of peft."""
    try:
        base = read_json(folder / ADAPTER).get("base_model_name_or_path")
    except UserError:
        base = None
    of = f" of {base}" if isinstance(base, str) and base else ""
    return (
        f"{folder} holds an adapter{of} (peft), which is not a model by itself; merge it into its model, `transduce "
        f"import {folder} RUN --base MODEL`, and open RUN"
    )


def other_class(folder: Path, kind: str, named: str, classes: Sequence[str]) -> str:
    """Returns the sentence for a class that is not read."""
    start = f"{folder / 'config.json'} is of a {named!r}"
    if named.endswith(CLASSIFIERS):
        return f"{start}, the head of which is not read here; {without_head(folder)}"
    return f"{start}; known of {kind} are {', '.join(classes)}"


def explanation(path: Path) -> str:
    """Returns the sentence for what is neither a run nor the folder of a model."""
    if path.is_file():
        return f"{path} is a file; give the directory it is in, if that is {READ}"
    if not path.is_dir():
        return f"{path} does not exist; `transduce train` makes runs, as directories in runs/"
    names = sorted(one.name for one in path.iterdir())
    if not names:
        return f"{path} is empty; give {READ}"
    if ADAPTER in names:
        return adapter(path)
    if {"DONE", "state.json"} <= {*names}:
        run = path.resolve().parent.parent
        return f"{path} is a checkpoint of a run; give the run, {run}, and checkpoint={path.resolve().name}"
    if "checkpoints" in names:
        return f"{path} is a run whose config.yaml is missing; restore it from a copy"
    if SINGLE in names or INDEX in names:
        return f"{path} has weights, but no config.json, which says what model they are of; download it, too"
    for name in names:
        if (kind := CONVERTED.get(Path(name).suffix)) is not None:
            return (
                f"{path} has weights only as {kind} ({name}), which is not read here; take the folder that they were "
                "made of, with config.json and safetensors"
            )
    if inside := [f"{kind} ({listed(some)})" for kind, some in models(path).items() if some]:
        return f"{path} is not a model itself, but holds {' and '.join(inside)}; give one of them"
    folders = [f"{name}/" for name in names if (path / name).is_dir()]
    files = [name for name in names if f"{name}/" not in folders]
    return f"{path} has neither config.yaml nor config.json, only {listed(folders + files)}; give {READ}"


def models(path: Path) -> dict[str, list[str]]:
    """Returns the folders below this one that are runs or models, those that lie least deep first, as paths below it.

    A hub's cache has them three folders down. Of a large tree, the first thousand folders are looked at.
    """
    folders, rest, looked = {"runs": list[str](), "models": list[str]()}, [path], 0
    for _ in range(DEEPEST):
        below = list[Path]()
        for folder in sorted(one for parent in rest for one in folders_of(parent))[: MOST - looked]:
            looked += 1
            kind = next((kind for kind, name in OF.items() if (folder / name).is_file()), None)
            if kind is None:
                below.append(folder)
            else:
                folders[kind].append(str(folder.relative_to(path)))
        rest = below
    return folders


def folders_of(folder: Path) -> list[Path]:
    """Returns the folders in a folder; none where it cannot be read."""
    try:
        return [one for one in folder.iterdir() if one.is_dir()]
    except OSError:
        return []
