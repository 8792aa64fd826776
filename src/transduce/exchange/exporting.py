"""A run as a folder that transformers opens with its own classes, with none of our code."""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import processors

from transduce.disk import remove
from transduce.errors import Notice
from transduce.exchange import certificate
from transduce.exchange import checkpoint as published
from transduce.exchange import importing as imported
from transduce.exchange.answers import Ours, Theirs
from transduce.exchange.families.family import Family, families
from transduce.exchange.files import read_json
from transduce.generate import hugging_face
from transduce.model.models import Model
from transduce.objectives.masked import MaskedConfig
from transduce.runs.recipe import Recipe
from transduce.text.published import BESIDE, PIECES
from transduce.text.tokenizer import Tokenizer


def write(model: Model, tokenizer: Tokenizer, recipe: Recipe, run: Path, folder: Path, *, lines: int = 1000) -> None:
    """config.json, weights, tokeniser, generation_config.json and a certificate.

    Raises UserError, and leaves nothing behind, where no class of transformers fits.

    run: where the tokeniser's files may lie as they were when the model was imported.
    """
    imported.require_new(folder)
    beside = folder.with_name(f".{folder.name}.partial")
    remove(beside)
    try:
        generation = generating(model, tokenizer, recipe)
        ids = {key: value for key, value in generation.items() if key.endswith("_token_id")}
        origin = run / "tokenizer" / imported.ORIGIN
        dtype = dtype_of(origin, model)
        published.write(model, recipe.model, tokenizer.vocab_size, beside, family_of(origin), ids, dtype)
        text = json.dumps(generation, indent=2) + "\n"
        (beside / "generation_config.json").write_text(text, "utf-8")
        if origin.is_dir():
            for name in (*BESIDE, *PIECES):
                if (origin / name).is_file():
                    shutil.copyfile(origin / name, beside / name)
        else:
            save_tokenizer(tokenizer, model, recipe, beside)
        certify(model, tokenizer, recipe, beside, lines)
        folder.rmdir() if folder.exists() else None
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def family_of(origin: Path) -> Family | None:
    """The family of the model that was imported, if it was."""
    if not (origin / "config.json").is_file():
        return None
    kind = read_json(origin / "config.json").get("model_type")
    return next((family for family in families() if family.model_type == kind), None)


def dtype_of(origin: Path, model: Model) -> torch.dtype | None:
    """That of the folder that was imported, where every weight is still a number of it; None: as it is here."""
    data: Mapping[str, Any] = read_json(origin / "config.json") if (origin / "config.json").is_file() else {}
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(
        str(data.get("dtype") or data.get("torch_dtype"))
    )
    if dtype is None or not all(torch.equal(p.to(dtype).to(p.dtype), p) for p in model.parameters()):
        return None
    return dtype


def generating(model: Model, tokenizer: Tokenizer, recipe: Recipe) -> dict[str, Any]:
    """generation_config.json: the ids of special tokens, and how the recipe decodes."""
    marks, begins = tokenizer.marks, recipe.task.begins(tokenizer)
    said: dict[str, Any] = {"bos_token_id": marks.bos, "pad_token_id": marks.pad}
    if marks.eos >= 0:
        said["eos_token_id"] = [marks.eos, *marks.ends] if marks.ends else marks.eos
    said |= dict(zip(("decoder_start_token_id", "forced_bos_token_id"), begins, strict=False))
    if not model.writes:
        return said
    settings, unsaid = hugging_face.write(recipe.generate, begins, tokenizer.barred)
    if unsaid:
        sentence = f"generation_config.json cannot hold {', '.join(unsaid)}; what transformers writes by it may differ"
        warnings.warn(sentence, Notice, stacklevel=4)
    return said | settings


def save_tokenizer(tokenizer: Tokenizer, model: Model, recipe: Recipe, folder: Path) -> None:
    """tokenizer.json with what stands around a text, and tokenizer_config.json, in which special tokens stay text."""
    made, marks = tokenizers.Tokenizer.from_str(tokenizer.tokenizer.to_str()), tokenizer.marks
    before, after = recipe.task.around(tokenizer)
    names = {i: name for i in (*before, *after) if (name := made.id_to_token(i)) is not None}
    single = [*(names[i] for i in before), "$A", *(names[i] for i in after)]
    special = [(name, i) for i, name in names.items()]
    made.post_processor = processors.TemplateProcessing(single=single, pair=None, special_tokens=special)
    made.save(str(folder / "tokenizer.json"))
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    if model.limit is not None:
        said["model_max_length"] = model.limit
    for role in ("bos", "eos", "pad", "unk"):
        i = getattr(marks, role)
        if i is not None and i >= 0 and (name := made.id_to_token(i)) is not None:
            said[f"{role}_token"] = name
    if isinstance(recipe.objective, MaskedConfig):
        mask = tokenizer.mask if recipe.objective.mask is None else recipe.objective.mask
        said["mask_token"] = made.id_to_token(mask)
    (folder / "tokenizer_config.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if marks.chat is not None:
        (folder / "chat_template.jinja").write_text(marks.chat, "utf-8")


def certify(model: Model, tokenizer: Tokenizer, recipe: Recipe, folder: Path, count: int) -> None:
    """Hold what was written against the run. Raises UserError."""
    asked = certificate.questions(model, tokenizer, recipe.task.begins(tokenizer), count)
    ours = Ours(model, tokenizer, *recipe.task.around(tokenizer)).answer(asked)
    parameters = sum(p.numel() for p in model.parameters())
    if certificate.has_transformers():
        against, other = "transformers", Theirs(folder).answer(asked)
    else:
        again = imported.read(folder)
        against = "a second reading of what was written, since transformers is not installed"
        marks = again.tokenizer.marks
        other = Ours(again.model, again.tokenizer, marks.before, marks.after).answer(asked)
    found = certificate.compare(ours, other)
    certificate.require_equal(found, "the run", f"{against} with what was written")
    files = certificate.hashes(folder, (path for path in folder.iterdir() if path.is_file()))
    certificate.write(folder, certificate.document(found, against, parameters, files))
