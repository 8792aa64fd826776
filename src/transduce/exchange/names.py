"""Why the tensors of a folder are not those of a model: the sentence for the most likely reason."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from transduce.errors import UserError

ADAPTER = re.compile(
    r"^base_model\.model\.|(^|\.)(lora_\w+|base_layer|modules_to_save|ia3_l|prompt_embeddings)(\.|$)"
)  # fmt: skip
QUANTISED = re.compile(
    r"\.(qweight|qzeros|scales|g_idx|weight_scale(_inv)?|weight_packed|weight_shape|weight_zero_point|input_scale|SCB|"
    r"weight_format|quantized_weight|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+))$"
)
CLASSIFIER = re.compile(
    r"^(classifier|pre_classifier|score|qa_outputs|logits_proj|sequence_summary|classification_head|vocab_head|v_head)\."
)
LAYER = re.compile(r"(^|.*\.)(\d+)\.")


def require_alike(folder: Path, missing: Sequence[str], surplus: Sequence[str], present: Collection[str]) -> None:
    """Raises UserError where a model asks for tensors that are missing, or files hold some that it does not have.

    present: the names of all tensors in the files.
    """
    if not missing and not surplus:
        return
    what = f"lacks {listed(missing)}" if missing else f"has, beyond what this model has, {listed(surplus)}"
    raise UserError(f"{folder} {what}; {reason(folder, missing, surplus, present)}")


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def reason(folder: Path, missing: Sequence[str], surplus: Sequence[str], present: Collection[str]) -> str:
    """Returns what the names tell, and what to do."""
    if any(map(QUANTISED.search, present)):
        return "its weights are quantised, which is not read here; take those in float32, float16 or bfloat16"
    if any(map(ADAPTER.search, present)):
        return (
            "they are those of an adapter; merge it into its model (in peft: merge_and_unload), save that, and open it"
        )
    if prefix := wrapped(missing, present):
        return (
            f"it has them as {prefix}...; they were saved by a wrapper, of which the model inside is to be saved, "
            "or by another class than `architectures` in config.json names"
        )
    if missing:
        return lacking(missing, present)
    if all(map(CLASSIFIER.search, surplus)):
        return f"that is the head of a classifier, which is not read here; {without_head(folder)}"
    if (layer := deepest(surplus)) > deepest(set(present) - set(surplus)) >= 0:
        return f"config.json asks for fewer layers than there are ({layer + 1}); one of the two is of another model"
    return (
        "no model of its config.json computes with that; if it is a head, name the class that has it in "
        "`architectures`, else take it out of the file"
    )


def without_head(folder: Path) -> str:
    """Returns how to come to the model under a head."""
    return (
        f"what is under it opens once it is saved alone, beside the files of the tokeniser: "
        f"transformers.AutoModel.from_pretrained({str(folder)!r}).save_pretrained(NEW)"
    )


def lacking(missing: Sequence[str], present: Collection[str]) -> str:
    """Returns why tensors are missing, as far as names tell."""
    there = deepest(present)
    if there >= 0 and all(deepest([name]) > there for name in missing):
        return f"config.json asks for more layers than there are ({there + 1}); one of the two is of another model"
    return "the files are not whole, or config.json is that of another model; download all of them again"


def wrapped(missing: Sequence[str], present: Collection[str]) -> str:
    """Returns what stands before the names of all tensors that are missing, such as `module.`, or nothing."""
    ends = [{name.removesuffix(one) for name in present if name.endswith(f".{one}")} for one in missing[:9]]
    common = set[str].intersection(*ends) if ends else set[str]()
    names = {*present}
    return next((one for one in sorted(common, key=len) if all(one + name in names for name in missing)), "")


def deepest(names: Collection[str]) -> int:
    """Returns the greatest number of a layer in names; -1: none has one."""
    return max((int(match[2]) for name in names if (match := LAYER.match(name))), default=-1)
