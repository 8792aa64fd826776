"""Imports models of Hugging Face as runs: with a recipe, and a checkpoint before the first step."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import yaml

from transduce.config import Part, kinds, to_data
from transduce.data.imported import Imported
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.disk import remove, replace_text
from transduce.errors import Notice, UserError
from transduce.exchange import certificate, peft_adapter, peft_merge, peft_prefix, tasked
from transduce.exchange import checkpoint as published
from transduce.exchange.answers import OwnModel, Questions, TransformersModel, by_settings
from transduce.exchange.certificate import require_intact
from transduce.exchange.files import Files, read_json, require_new
from transduce.exchange.sentence_folder import MODULES, keep
from transduce.generate import hugging_face
from transduce.generate.config import GenerateConfig
from transduce.model.models import Model
from transduce.objectives.objective import ObjectiveConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import Constant
from transduce.runs import checkpoint
from transduce.runs.generators import rng_state
from transduce.runs.opening import open_run
from transduce.runs.position import Position, to_state
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.runs.start import SENTENCES
from transduce.runs.weights import weights
from transduce.text.published import BESIDE, PIECES, File, json_object
from transduce.text.published import published as tokenizer_of
from transduce.text.tokenizer import Tokenizer

SETTINGS = 16  # tokens written by the settings of a folder; in so few, rounding hardly decides a beam
UNSMOOTHED: dict[str, dict[str, Any]] = {"translation": {"label_smoothing": 0.0}}  # for training a published model on
P = TypeVar("P", bound=Part)
ORIGIN = "origin"  # the original files of the tokeniser


class Folder(NamedTuple):
    """The contents of a model's folder: the model, its tokeniser, a recipe for both, and the readers of that."""

    model: Model
    tokenizer: Tokenizer
    recipe: Recipe
    readers: Readers


def read_folder(folder: Path) -> Folder:
    """Reads a folder with config.json and safetensors. Raises UserError."""
    weights = published.read(folder)
    if weights.family.sees:
        raise UserError(
            f"{folder} holds a model that sees; import it (transduce import {folder}) and start from that run"
        )
    if weights.family.hears:
        raise UserError(
            f"{folder} holds a model that hears; import it (transduce import {folder}) and start from that run"
        )
    if weights.family.acts:
        raise UserError(
            f"{folder} holds a model that acts; import it (transduce import {folder}) and start from that run"
        )
    task, columns = tasked.task_of(weights.family, read_json(folder / "config.json"), weights.config.task)
    tokenizer = tokenizer_of(folder, weights.vocab_size, answers=task.replies)
    generate = generate_config(folder, weights.model.limit)
    objective, limit = task.objective(weights.config.kind), weights.model.limit
    data = Imported(origin=str(folder.resolve()), ends=tokenizer.eos >= 0, sentences=(folder / MODULES).is_file())
    recipe = Recipe(
        name=folder.resolve().name.strip(".") or "imported",
        data=data,
        tokenizer=File(path=str(folder)),
        model=weights.config,
        task=task.suited(data),
        objective=part(ObjectiveConfig, objective, **UNSMOOTHED.get(objective, {})),
        batch=BatchConfig(max_length=min(BatchConfig().max_length, limit or 1 << 30)),
        optimizer=AdamWConfig(learning_rate=2e-5),
        schedule=Constant(),
        generate=generate,
    )
    return Folder(weights.model, tokenizer, recipe, Readers(tokenizer, columns))


def part(contract: type[P], kind: str, **values: Any) -> P:
    """Returns a part of a kind, by name."""
    config = kinds(contract.folder)[kind](**values)
    assert isinstance(config, contract)
    return config


def generate_config(folder: Path, limit: int | None) -> GenerateConfig:
    """Returns the settings of decoding that a folder has, with a `Notice` on those that are not obeyed here.

    limit: positions of the model.
    Raises UserError for values that do not suit their keys.
    """
    of_folder = settings(folder, limit)
    if notice := of_folder.notice():
        path = settings_file(folder)
        warnings.warn(f"{path} {notice}; texts may differ from those of transformers", Notice, stacklevel=3)
    return of_folder.config


def settings(folder: Path, limit: int | None) -> hugging_face.Settings:
    """Returns the settings of decoding that a folder has. Raises UserError for values that do not suit their keys."""
    path = settings_file(folder)
    try:
        of_folder = hugging_face.settings(json_object(path), limit)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if path.name.startswith("generation"):
        return of_folder
    return of_folder._replace(unknown=())  # the other keys of config.json are those of the model


def settings_file(folder: Path) -> Path:
    """Returns generation_config.json, or the config.json of older folders, which has these settings among others."""
    own = folder / "generation_config.json"
    return own if own.exists() else folder / "config.json"


def write(folder: Path, out: Path, *, base: Path | None = None, lines: int = 1000) -> Run:
    """Makes a run of the model in a folder, untrained here, with a certificate.

    An adapter of PEFT is merged into its model, a prefix put before its attention. base: the folder of that model
    (None: where the adapter says).
    lines: of text that are compared for the certificate.
    Raises UserError where `out` is in use, and, leaving nothing behind, where the run computes other numbers.
    """
    require_new(out)
    require_intact(folder)
    if peft_prefix.has_prefix(folder):
        whole = peft_merge.at_hand(read_json(folder / peft_adapter.CONFIG), base, folder)
        require_intact(whole)
        return written(whole, folder, out, lines, folder)
    if (folder / peft_adapter.CONFIG).is_file():
        with peft_merge.merged(folder, base) as whole:
            return written(whole, folder, out, lines)
    if base is not None:
        raise UserError(f"{folder} holds no adapter, so it takes no --base; leave it out")
    return written(folder, folder, out, lines)


def written(folder: Path, origin: Path, out: Path, lines: int, prefix: Path | None = None) -> Run:
    """The model of a folder as a run. origin: where the folder is from. prefix: a folder of PEFT, put before it."""
    beside = out.with_name(f".{out.name}.partial")
    remove(beside)
    try:
        save(from_origin(read_with(folder, prefix), origin), folder, beside)
        certify(folder, beside, lines, prefix)
        out.rmdir() if out.exists() else None
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Run(out)


def read_with(folder: Path, prefix: Path | None) -> Folder:
    """Reads a folder, and puts a prefix of PEFT before it, if there is one. Raises UserError."""
    contents = read_folder(folder)
    if prefix is None:
        return contents
    tune, limit = peft_prefix.put(contents.model, prefix), contents.model.limit
    batch = replace(contents.recipe.batch, max_length=min(contents.recipe.batch.max_length, limit or 1 << 30))
    return contents._replace(recipe=replace(contents.recipe, tune=tune, batch=batch))


def from_origin(contents: Folder, origin: Path) -> Folder:
    """Returns the same with the place that its recipe names as its origin."""
    recipe = contents.recipe
    assert isinstance(recipe.data, Imported)
    data = replace(recipe.data, origin=str(origin.resolve()))
    return contents._replace(recipe=replace(recipe, data=data, tokenizer=File(path=str(origin))))


def save(contents: Folder, folder: Path, out: Path) -> None:
    """Writes the files of a run."""
    recipe, at = contents.recipe.resolve(), out / "checkpoints" / checkpoint.name(0)
    contents.tokenizer.save(out / "tokenizer")
    contents.readers.save(out)
    (out / "tokenizer" / ORIGIN).mkdir()
    for name in ("config.json", *BESIDE, *PIECES):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / "tokenizer" / ORIGIN / name)
    if (folder / MODULES).is_file():
        keep(folder, out / SENTENCES)
    for name in ("samples", "plots", "checkpoints"):
        (out / name).mkdir(exist_ok=True)
    state = to_state(Position(), rng_state(torch.device("cpu")), regular=False, healthy=True)
    checkpoint.write(at, {"model.safetensors": weights(contents.model), "optimizer.safetensors": {}}, state)
    for link in ("best", "last"):
        checkpoint.point(out / link, f"checkpoints/{at.name}")
    replace_text(out / "config.yaml", yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True))


def certify(folder: Path, out: Path, count: int, prefix: Path | None = None) -> None:
    """Compares the run with transformers, or with a second reading of the folder, and writes a certificate.

    prefix: that PEFT puts before the model of transformers.
    Raises UserError where they differ.
    """
    config = Run(out).recipe
    model, readers = open_run(Run(out))[:2]
    tokenizer = readers.text
    marks, parameters = tokenizer.marks, sum(p.numel() for p in model.parameters())
    questions = certificate.questions(model, tokenizer, config.task.begins(tokenizer), count)
    ours = OwnModel(model, tokenizer, marks.before, marks.after).answer(questions)
    theirs = None
    if certificate.has_transformers() and (prefix is None or peft_prefix.installed()):
        theirs = TransformersModel(folder, architecture(folder))
        if prefix is not None:
            theirs.model = peft_prefix.on(theirs.model, prefix)
        against, other = "transformers" if prefix is None else "transformers and peft", theirs.answer(questions)
    else:
        again = read_with(folder, prefix)
        against = "a second reading of the folder, since transformers is not installed"
        other = OwnModel(again.model, again.tokenizer, marks.before, marks.after).answer(questions)
    findings = certificate.compare(ours, other)
    certificate.require_equal(findings, "the run", against)
    written = {} if theirs is None else same_settings(theirs, model, tokenizer, config.generate, questions, folder)
    require_same_weights(model, folder)
    seal(out)
    files = (path for path in out.rglob("*") if path.is_file() and not path.parent.is_symlink())
    hashed = certificate.hashes(out, (path for path in files if not ({"best", "last"} & set(path.parts))))
    sources = [*folder.glob("*"), *(folder.glob("*/*") if (folder / MODULES).is_file() else ())]
    read_from = certificate.hashes(folder, (path for path in sources if path.is_file()))
    certificate.write(out, certificate.document(findings, against, parameters, hashed, **written, read=read_from))


def same_settings(
    theirs: TransformersModel, model: Model, tokenizer: Tokenizer, config: GenerateConfig, questions: Questions,
    folder: Path,
) -> dict[str, str]:  # fmt: skip
    """Compares the texts that both models write with generation_config.json. Raises UserError where they differ.

    Returns an entry for the certificate.
    """
    new, of_folder = min(SETTINGS, questions.new), settings(folder, model.limit)
    if not new:
        return {}
    # transformers takes stop_strings only together with a tokeniser
    beyond = [*of_folder.unobeyed, *(["stop_strings"] if config.stop else [])]
    if beyond:
        return {"tokens_alike_by_generation_config": f"not compared: it asks for {', '.join(beyond)}"}
    ends = [i for i in (tokenizer.eos, *tokenizer.ends) if i >= 0]
    ours = by_settings(model, tokenizer, config, questions, new)
    return certificate.require_same_settings(ours, theirs.by_settings(questions, new, ends), "transformers")


def architecture(folder: Path) -> str:
    """Returns the name of the class of transformers that has all the parts that were read from a folder."""
    if "architectures" not in read_json(folder / "config.json"):
        return "AutoModel"
    config, _, family = published.described(folder)
    return family.architecture(config)


def require_same_weights(model: Model, folder: Path) -> None:
    """Raises UserError unless a model has all the numbers of the folder's files, to the last bit."""
    config, _, family = published.described(folder)
    for name in family.table(config).differing(model, Files(folder)):
        raise UserError(f"{name} of {folder} is not in the run as it is in the file; import it again")


def require_certificate(run: Run) -> None:
    """Raises UserError if a run was imported and has no certificate, or a file that differs from its hash there."""
    certificate.require_intact(run.path)
    if (run.path / "tokenizer" / ORIGIN).is_dir() and not (run.path / certificate.NAME).exists():
        raise UserError(f"{run.path} was imported, but its {certificate.NAME} is missing; import it again")
