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
        f"{folder} holds an adapter{of} (peft), which is no model by itself; merge it into its model, "
        f"peft.PeftModel.from_pretrained(MODEL, {str(folder)!r}).merge_and_unload().save_pretrained(NEW), and open NEW"
    )


def other_class(folder: Path, kind: str, named: str, known: Sequence[str]) -> str:
    """Returns the sentence for a class that is not read."""
    said = f"{folder / 'config.json'} is of a {named!r}"
    if named.endswith(CLASSIFIERS):
        return f"{said}, the head of which is not read here; {without_head(folder)}"
    return f"{said}; known of {kind} are {', '.join(known)}"


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
    inner = sorted({one.parent.name for name in ("config.json", "config.yaml") for one in path.glob(f"*/{name}")})
    if inner:
        return f"{path} is no model itself, but holds some: {listed(inner)}; give one of them"
    return f"{path} has neither config.yaml nor config.json, only {listed(names)}; give {READ}"
