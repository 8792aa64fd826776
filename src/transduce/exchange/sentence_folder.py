"""The small files of a sentence encoder's folder."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import tokenizers

from transduce.errors import UserError
from transduce.exchange import remote_code
from transduce.exchange.families.family import Fields
from transduce.exchange.files import read_json
from transduce.exchange.pooling import STEPS, Dense, Pooling, Step
from transduce.text.published import settings
from transduce.text.published_build import built

MODULES, OWN, TOKENS = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
KEPT = (  # files of a tokeniser that other libraries read
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model",
)  # fmt: skip
PACKAGE = "sentence_transformers"  # whose modules are known
OWN_MODULES = f"use a folder whose modules are those of {PACKAGE}"
ASSUMED = "{} has no modules.json, so a text's vector is the mean of its hidden states (mean pooling)"


class Prompts(NamedTuple):
    """Texts that can be put before the texts to embed, by name.

    default: the name of the one that is used unless another is asked for (None: no text).
    """

    texts: dict[str, str]
    default: str | None = None

    @property
    def text(self) -> str:
        return "" if self.default is None else self.texts[self.default]


class TextSettings(NamedTuple):
    """The settings of how texts become tokens.

    most: tokens of a text (None: as many as the model has positions for).
    lower: texts are put into lower case first.
    prompts: texts that can be put before.
    """

    most: int | None = None
    lower: bool = False
    prompts: Prompts = Prompts({})


class Modules(NamedTuple):
    """The folders of the modules of a sentence encoder.

    pooling: None: the folder has no modules.json, so hidden states are averaged.
    rest: the steps after the pooling, each with its folder.
    note: a sentence on what is assumed, or "".
    """

    encoder: Path
    pooling: Path | None
    rest: list[tuple[type[Step], Path]]
    note: str = ""


def modules_of(folder: Path) -> Modules:
    """Returns the modules that modules.json lists. Raises UserError for unknown modules, or another order."""
    remote_code.require_none(folder)
    path = folder / MODULES
    if not path.is_file():
        return Modules(folder, None, [], ASSUMED.format(folder))
    try:
        listed: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); download it again") from None
    modules = list[tuple[str, Path]]()
    for module in cast("list[Any]", listed) if isinstance(listed, list) else [listed]:
        fields = cast("dict[str, Any]", module) if isinstance(module, dict) else {}
        kind, name = fields.get("type"), fields.get("path")
        if not isinstance(kind, str) or not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise UserError(
                f"{path} lists {module!r}, which is neither a type nor a folder beside it; download it again"
            )
        package, _, _ = kind.partition(".")
        if package != PACKAGE:
            raise UserError(f"{path} names {kind}, code of the folder's own, which is never run here; {OWN_MODULES}")
        modules.append((kind.rpartition(".")[2], folder / name))
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or (set(kinds[2:]) - STEPS.keys()):
        names = ", ".join(STEPS)
        raise UserError(f"{path} lists {', '.join(kinds)}; known are Transformer, Pooling, and then any of {names}")
    return Modules(modules[0][1], modules[1][1], [(STEPS[kind], where) for kind, where in modules[2:]])


def text_settings(folder: Path, encoder: Path) -> TextSettings:
    """Returns the settings of how texts become tokens. encoder: the folder of the encoder. Raises UserError."""
    path = next(iter(sorted(encoder.glob("sentence_*_config.json"))), None)
    fields = Fields({} if path is None else read_json(path))
    own = Fields(read_json(folder / OWN)) if (folder / OWN).is_file() else Fields({})
    texts: Any = own.take("prompts", {})
    default = own.take("default_prompt_name")
    if not isinstance(texts, dict) or not all(isinstance(x, str) for x in cast("dict[str, Any]", texts).values()):
        raise UserError(f"{folder / OWN} has prompts={texts!r}, which are not texts by name; download it again")
    prompts = Prompts(cast("dict[str, str]", texts), default)
    if default is not None and default not in prompts.texts:
        raise UserError(f"{folder / OWN} has default_prompt_name={default!r}, which is not one of its prompts")
    most = fields.whole("max_seq_length", 1) if fields.left.get("max_seq_length") is not None else None
    config = encoder / "tokenizer_config.json"
    if most is None and config.is_file():
        stated = read_json(config).get("model_max_length")
        most = stated if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0 else None
    return TextSettings(most, fields.flag("do_lower_case", False), prompts)


def tokenizer_of(folder: Path) -> tokenizers.Tokenizer:
    """Returns the tokeniser of a folder, with its normaliser and its special tokens. Raises UserError."""
    return built(folder, settings(folder)).tokenizer


def steps_of(rest: Sequence[tuple[type[Step], Path]], width: int) -> list[Step]:
    """Returns the steps after a pooling that gives `width` features. Raises UserError where one does not fit."""
    steps = [kind.read(folder) for kind, folder in rest]
    for step, (_, folder) in zip(steps, rest, strict=True):
        if isinstance(step, Dense):
            if step.weight.shape[1] != width:
                raise UserError(f"{folder} maps {step.weight.shape[1]} features, but gets {width}; download it again")
            width = step.weight.shape[0]
    return steps


def keep(folder: Path, out: Path) -> None:
    """Copies all files but the weights of the encoder: how its hidden states become vectors, and its tokeniser."""
    modules = modules_of(folder)
    out.mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.suffix in (".json", ".txt", ".model") and ".index." not in file.name:
            shutil.copyfile(file, out / file.name)
    for at in {modules.encoder, *([modules.pooling] if modules.pooling else []), *(path for _, path in modules.rest)}:
        for file in sorted(at.iterdir()) if at != folder else ():
            if at != modules.encoder or file.suffix in (".json", ".txt", ".model"):
                (out / at.name).mkdir(exist_ok=True)
                shutil.copyfile(file, out / at.name / file.name)


def write_folder(folder: Path, width: int, pooling: Pooling, steps: Sequence[Step], how: TextSettings) -> None:
    """Writes all files but those of the encoder and its tokeniser."""
    kinds = ["Transformer", "Pooling", *(step.name for step in steps)]
    names = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds[1:], 1))]
    listed = [
        {"idx": i, "name": str(i), "path": name, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, name) in enumerate(zip(kinds, names, strict=True))
    ]
    pooling.write(folder / names[1], width)
    for step, name in zip(steps, names[2:], strict=True):
        step.write(folder / name)
    own = {"prompts": how.prompts.texts, "default_prompt_name": how.prompts.default}
    settings = {"max_seq_length": how.most, "do_lower_case": how.lower}
    for name, data in ((MODULES, listed), (OWN, own), (TOKENS, settings)):
        (folder / name).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
