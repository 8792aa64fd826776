"""Models that hear, of Hugging Face as runs, and runs as their folders: sounds in, texts out."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transduce.data.imported import Imported
from transduce.data.loader import BatchConfig
from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.reader import Readers
from transduce.data.sounds import SOUND
from transduce.errors import UserError
from transduce.exchange import certificate, exporting, extractor, prompts
from transduce.exchange import checkpoint as published
from transduce.exchange.contents import Folder, is_of, save, whole
from transduce.exchange.files import read_json
from transduce.exchange.heard import certify
from transduce.generate import hugging_face
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.listener import ListenerConfig
from transduce.model.models import Model
from transduce.objectives.language import TranslationConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import Constant
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.tasks.transcribe import TranscribeConfig
from transduce.text.published import BESIDE, File
from transduce.text.published import published as tokenizer_of
from transduce.text.tokenizer import Tokenizer

ORIGIN, SETTINGS = "origin", "generation_config.json"
KEPT = ("config.json", extractor.NAME, extractor.PROCESSOR, *BESIDE, "normalizer.json")
SLOTS = 16_384  # of a batch: five sounds of 30 seconds, with their texts


def hears(folder: Path) -> bool:
    """Says whether the model of a folder reads sounds."""
    return is_of(folder, "hears")


def read_folder(folder: Path, origin: Path | None = None) -> Folder:
    """Reads a folder with config.json, preprocessor_config.json, safetensors and a tokeniser. Raises UserError.

    origin: the place that the recipe names (None: the folder).
    """
    weights, place = published.read(folder), str((origin or folder).resolve())
    config = weights.config
    assert isinstance(config, ListenerConfig)
    tokenizer = prompts.marks_of(tokenizer_of(folder, weights.vocab_size, answers=True), folder)
    positions = 2 * cast(Any, config.source_positions).limit  # frames: the second convolution takes every other one
    reader = extractor.read(folder, config.source_vocab or 0, positions)
    limit = weights.model.limit or 0
    recipe = Recipe(
        name=folder.resolve().name.strip(".") or "imported", data=Imported(origin=place), tokenizer=File(path=place),
        model=config, task=TranscribeConfig(features=reader, decoder=True),
        objective=TranslationConfig(label_smoothing=0.0),
        batch=BatchConfig(batch_tokens=max(SLOTS, limit), max_length=limit, overlong="drop"),
        optimizer=AdamWConfig(learning_rate=1e-5), schedule=Constant(), generate=prompts.generate_config(folder, limit),
    )  # fmt: skip
    return Folder(weights.model, Readers(tokenizer, {SOUND: reader}), recipe)


def write(folder: Path, out: Path) -> Run:
    """Makes a run of the model in a folder, untrained here, with a certificate. Raises UserError, leaving nothing."""
    certificate.require_intact(folder)
    with whole(out) as beside:
        contents = read_folder(folder)
        names = tuple(name for name in KEPT if (folder / name).is_file())
        save(contents, folder, beside, names)
        cast(Tokenizer, contents.readers.tokenizer).save(beside / "tokenizer")
        model, readers, recipe = open_run(Run(beside))[:3]
        seal(beside)
        files = (path for path in beside.rglob("*") if path.is_file() and not path.parent.is_symlink())
        hashed = certificate.hashes(beside, (p for p in files if not ({"best", "last"} & set(p.parts))))
        sources = certificate.hashes(folder, (path for path in folder.glob("*") if path.is_file()))
        certify(model, readers, recipe.generate, folder, beside, "the run", hashed, read=sources)
    return Run(out)


def export(model: Model, readers: Readers, recipe: Recipe, run: Path, folder: Path) -> None:
    """Writes a run that hears as a folder that transformers opens, with a certificate. Raises UserError.

    run: its directory, which has the files of the model that it comes from, if it does.
    """
    shaped = recipe.task.shaped(recipe.model, readers)
    if not isinstance(shaped, ListenerConfig):
        what = f"transformers has no class for a model.kind={shaped.kind} that hears, as it is here"
        raise UserError(f"{what}; Whisper is written, which has model.kind=listener")
    reader, origin, tokenizer = cast(LogMel, readers[SOUND]), run / ORIGIN, readers.text
    with whole(folder) as beside:
        dtype, marks = exporting.dtype_of(origin, model), tokenizer.marks
        ids = {"decoder_start_token_id": marks.opens[0], "bos_token_id": marks.eos, "eos_token_id": marks.eos}
        ids |= {"pad_token_id": marks.pad}
        family = published.write(model, shaped, tokenizer.vocab_size, beside, None, ids, dtype)
        if family.model_type == described(origin).get("model_type"):
            keep_config(origin, beside, shaped, dtype is not None)
        if extracts(origin, reader):
            for name in (extractor.NAME, extractor.PROCESSOR):
                keep(origin, beside, name)
        else:
            extractor.write(reader, beside)
        write_settings(recipe.generate, tokenizer, origin, model.limit, beside)
        if (origin / "config.json").is_file():
            for name in (*BESIDE, "normalizer.json"):
                if name != SETTINGS:
                    keep(origin, beside, name)
        else:
            exporting.save_tokenizer(tokenizer, model, recipe, beside)
        files = certificate.hashes(beside, (path for path in beside.iterdir() if path.is_file()))
        certify(model, readers, recipe.generate, beside, beside, "the run", files)


def keep(origin: Path, folder: Path, name: str) -> None:
    """Copies a file, where it is there."""
    if (origin / name).is_file():
        shutil.copyfile(origin / name, folder / name)


def described(origin: Path) -> Mapping[str, Any]:
    """Returns the config.json of the folder that a run comes from; nothing where it comes from none."""
    return read_json(origin / "config.json") if (origin / "config.json").is_file() else {}


def keep_config(origin: Path, folder: Path, model: ModelConfig, exact: bool) -> None:
    """Puts the config.json that a model comes from in the place of one that says the same of its numbers.

    exact: weights are written in the type that it names.
    """
    own, stated = read_json(folder / "config.json"), described(origin)
    if any(stated.get(key, own[key]) != own[key] for key in own.keys() - {"architectures", "dtype", *MARKS}):
        return
    kind = stated.get("dtype") or stated.get("torch_dtype") or "float32"
    if exact or kind == "float32":
        shutil.copyfile(origin / "config.json", folder / "config.json")
    else:
        data = {**{key: value for key, value in stated.items() if key != "torch_dtype"}, "dtype": "float32"}
        (folder / "config.json").write_text(json.dumps(data, indent=2) + "\n", "utf-8")


MARKS = frozenset({"decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id"})


def extracts(origin: Path, reader: LogMel) -> bool:
    """Says whether the files that a run comes from ask for its reader."""
    if not any((origin / name).is_file() for name in (extractor.NAME, extractor.PROCESSOR)):
        return False
    frames = round(reader.seconds * reader.rate) // max(1, reader.sizes[1])
    try:
        return extractor.read(origin, reader.mels, frames) == reader
    except UserError:
        return False


def write_settings(config: GenerateConfig, tokenizer: Tokenizer, origin: Path, limit: int | None, folder: Path) -> None:
    """Writes generation_config.json: as it was where a run decodes as it says, else with what the run says."""
    there = (origin / SETTINGS).is_file()
    old = dict(read_json(origin / SETTINGS)) if there else {}
    if there and prompts.generate_config(origin, limit) == config:
        keep(origin, folder, SETTINGS)
        return
    marks = tokenizer.marks
    ids = {"decoder_start_token_id": marks.opens[0], "bos_token_id": marks.eos, "eos_token_id": marks.eos}
    own = {key: value for key, value in old.items() if key in prompts.OWN}
    new, _ = hugging_face.write(config, marks.opens[:1], tokenizer.barred)
    data = {**own, **ids, "pad_token_id": marks.pad, **new}
    (folder / SETTINGS).write_text(json.dumps(data, indent=2) + "\n", "utf-8")
