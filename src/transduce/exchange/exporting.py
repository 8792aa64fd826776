"""Writes a run as a folder that transformers opens with its own classes, without our code."""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import processors

from transduce.data.readers.reader import Reader, Readers
from transduce.disk import remove
from transduce.errors import Notice
from transduce.exchange import certificate, tasked
from transduce.exchange import checkpoint as published
from transduce.exchange import importing as imported
from transduce.exchange.answers import OwnModel, TransformersModel
from transduce.exchange.families.family import Family, families
from transduce.exchange.files import read_json
from transduce.generate import hugging_face
from transduce.model.models import Model
from transduce.objectives.masked import MaskedConfig
from transduce.runs.recipe import Recipe
from transduce.text.published import BESIDE, PIECES
from transduce.text.tokenizer import Tokenizer


def write(
    model: Model, tokenizer: Tokenizer, recipe: Recipe, run: Path, folder: Path, *, lines: int = 1000,
    columns: Mapping[str, Reader] = {},
) -> None:  # fmt: skip
    """Writes config.json, weights, tokeniser, generation_config.json and a certificate.

    run: the directory of the run, which has the original files of the tokeniser if the model was imported.
    lines: of text that are compared for the certificate.
    columns: readers of columns, of which those of labels are written, too.
    Raises UserError, and leaves nothing behind, where no class of transformers fits.
    """
    imported.require_new(folder)
    recipe = without_helpers(model, recipe)
    config = recipe.task.shaped(recipe.model, Readers(tokenizer, columns)) if columns else recipe.model
    beside = folder.with_name(f".{folder.name}.partial")
    remove(beside)
    try:
        generation = generating(model, tokenizer, recipe)
        ids = {key: value for key, value in generation.items() if key.endswith("_token_id")}
        origin = run / "tokenizer" / imported.ORIGIN
        dtype = dtype_of(origin, model)
        family, size = family_of(origin), tokenizer.vocab_size
        if (own := tasked.fitting(recipe.task, config, size, family and family.model_type)) is not None:
            family, ids = own, {**ids, **tasked.labels(columns)}
        published.write(model, config, size, beside, family, ids, dtype)
        text = json.dumps(generation, indent=2) + "\n"
        (beside / "generation_config.json").write_text(text, "utf-8")
        if origin.is_dir():
            for name in (*BESIDE, *PIECES):
                if (origin / name).is_file():
                    shutil.copyfile(origin / name, beside / name)
        else:
            save_tokenizer(tokenizer, model, recipe, beside)
        chat = recipe.task.conversing(tokenizer)
        if (template := tokenizer.marks.chat if chat is None else chat.published) is not None:
            (beside / "chat_template.jinja").write_text(template, "utf-8")
        certify(model, tokenizer, recipe, beside, lines)
        folder.rmdir() if folder.exists() else None
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def without_helpers(model: Model, recipe: Recipe) -> Recipe:
    """Takes the heads that helped a training alone from a model, and returns its recipe without them."""
    heads = {name: head for name, head in recipe.model.heads.items() if not head.helps}
    for name in recipe.model.heads.keys() - heads.keys():
        del model.heads[name]
    return replace(recipe, model=replace(recipe.model, heads=heads))


def family_of(origin: Path) -> Family | None:
    """Returns the family of an imported model, or None for a model that was not imported."""
    if not (origin / "config.json").is_file():
        return None
    kind = read_json(origin / "config.json").get("model_type")
    return next((family for family in families() if family.model_type == kind), None)


def dtype_of(origin: Path, model: Model) -> torch.dtype | None:
    """Returns the dtype of the folder that was imported, if it still holds every weight exactly (None: float32)."""
    data: Mapping[str, Any] = read_json(origin / "config.json") if (origin / "config.json").is_file() else {}
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(
        str(data.get("dtype") or data.get("torch_dtype"))
    )
    if dtype is None or not all(torch.equal(p.to(dtype).to(p.dtype), p) for p in model.parameters()):
        return None
    return dtype


def generating(model: Model, tokenizer: Tokenizer, recipe: Recipe) -> dict[str, Any]:
    """Returns the contents of generation_config.json: the ids of special tokens, and how the recipe decodes."""
    marks, begins = tokenizer.marks, recipe.task.begins(tokenizer)
    ids: dict[str, Any] = {"bos_token_id": marks.bos, "pad_token_id": marks.pad}
    chat = recipe.task.conversing(tokenizer)
    if ends := dict.fromkeys((*([marks.eos] if marks.eos >= 0 else []), *marks.ends, *([chat.end] if chat else []))):
        ids["eos_token_id"] = list(ends) if len(ends) > 1 else next(iter(ends))
    ids |= dict(zip(("decoder_start_token_id", "forced_bos_token_id"), begins, strict=False))
    if not model.writes:
        return ids
    settings, missing = hugging_face.write(recipe.generate, begins, tokenizer.barred)
    if missing:
        sentence = f"generation_config.json cannot hold {', '.join(missing)}; what transformers writes by it may differ"
        warnings.warn(sentence, Notice, stacklevel=4)
    return ids | settings


def save_tokenizer(tokenizer: Tokenizer, model: Model, recipe: Recipe, folder: Path) -> None:
    """Writes tokenizer.json, which puts special tokens around a text, and tokenizer_config.json.

    The names of special tokens in a text stay text, but for conversations, where a template writes them.
    """
    copy, marks = tokenizers.Tokenizer.from_str(tokenizer.tokenizer.to_str()), tokenizer.marks
    before, after = recipe.task.around(tokenizer)
    names = {i: name for i in (*before, *after) if (name := copy.id_to_token(i)) is not None}
    single = [*(names[i] for i in before), "$A", *(names[i] for i in after)]
    special = [(name, i) for i, name in names.items()]
    copy.post_processor = processors.TemplateProcessing(single=single, pair=None, special_tokens=special)
    copy.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": recipe.task.conversing(tokenizer) is None,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    if model.limit is not None:
        settings["model_max_length"] = model.limit
    for role in ("bos", "eos", "pad", "unk"):
        i = getattr(marks, role)
        if i is not None and i >= 0 and (name := copy.id_to_token(i)) is not None:
            settings[f"{role}_token"] = name
    if isinstance(recipe.objective, MaskedConfig):
        mask = tokenizer.mask if recipe.objective.mask is None else recipe.objective.mask
        settings["mask_token"] = copy.id_to_token(mask)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", "utf-8")


def certify(model: Model, tokenizer: Tokenizer, recipe: Recipe, folder: Path, count: int) -> None:
    """Compares the written folder with the run, and writes a certificate. Raises UserError where they differ."""
    questions = certificate.questions(model, tokenizer, recipe.task.begins(tokenizer), count)
    ours = OwnModel(model, tokenizer, *recipe.task.around(tokenizer)).answer(questions)
    parameters = sum(p.numel() for p in model.parameters())
    if certificate.has_transformers():
        against, other = "transformers", TransformersModel(folder).answer(questions)
    else:
        again = imported.read_folder(folder)
        against = "a second reading of what was written, since transformers is not installed"
        marks = again.tokenizer.marks
        other = OwnModel(again.model, again.tokenizer, marks.before, marks.after).answer(questions)
    findings = certificate.compare(ours, other)
    certificate.require_equal(findings, "the run", f"{against} with what was written")
    files = certificate.hashes(folder, (path for path in folder.iterdir() if path.is_file()))
    certificate.write(folder, certificate.document(findings, against, parameters, files))
