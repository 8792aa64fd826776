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
KEPT = (  # what others read beside tokenizer.json
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model",
)  # fmt: skip
PACKAGE = "sentence_transformers"  # whose modules are known
OWN_MODULES = f"use a folder whose modules are those of {PACKAGE}"
ASSUMED = "{} has no modules.json, so a text's vector is the mean of its hidden states (mean pooling)"


class Prompts(NamedTuple):
    """Texts that may be put before others, by name.

    default: the name of the one that is, unless another is asked for.
    """

    texts: dict[str, str]
    default: str | None = None

    @property
    def text(self) -> str:
        return "" if self.default is None else self.texts[self.default]


class Reading(NamedTuple):
    """The way from texts to tokens. most: tokens of a text (None: as many as the model has positions for)."""

    most: int | None = None
    lower: bool = False
    prompts: Prompts = Prompts({})


class Places(NamedTuple):
    """The folders of the encoder, of its pooling, and of what follows. told: what was assumed."""

    encoder: Path
    pooling: Path | None
    rest: list[tuple[type[Step], Path]]
    told: str = ""


def places(folder: Path) -> Places:
    """Returns where everything is, by modules.json. Raises UserError for unknown modules, or another order."""
    remote_code.require_none(folder)
    path = folder / MODULES
    if not path.is_file():
        return Places(folder, None, [], ASSUMED.format(folder))
    try:
        listed: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); download it again") from None
    modules = list[tuple[str, Path]]()
    for module in cast("list[Any]", listed) if isinstance(listed, list) else [listed]:
        fields = cast("dict[str, Any]", module) if isinstance(module, dict) else {}
        kind, place = fields.get("type"), fields.get("path")
        if not isinstance(kind, str) or not isinstance(place, str) or Path(place).name != place or "\\" in place:
            raise UserError(
                f"{path} lists {module!r}, which is neither a type nor a folder beside it; download it again"
            )
        package, _, _ = kind.partition(".")
        if package != PACKAGE:
            raise UserError(f"{path} names {kind}, code of the folder's own, which is never run here; {OWN_MODULES}")
        modules.append((kind.rpartition(".")[2], folder / place))
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or (set(kinds[2:]) - STEPS.keys()):
        names = ", ".join(STEPS)
        raise UserError(f"{path} lists {', '.join(kinds)}; known are Transformer, Pooling, and then any of {names}")
    return Places(modules[0][1], modules[1][1], [(STEPS[kind], where) for kind, where in modules[2:]])


def reading(folder: Path, encoder: Path) -> Reading:
    """Returns how texts become tokens. encoder: the folder of the encoder."""
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
    return Reading(most, fields.flag("do_lower_case", False), prompts)


def tokenizer_of(folder: Path) -> tokenizers.Tokenizer:
    """Returns the tokeniser of a folder, with all that it does to a text. Raises UserError."""
    return built(folder, settings(folder)).tokenizer


def steps_of(rest: Sequence[tuple[type[Step], Path]], width: int) -> list[Step]:
    """Returns what follows the pooling, to a vector of `width` features. Raises UserError where one does not fit."""
    steps = [kind.read(folder) for kind, folder in rest]
    for step, (_, folder) in zip(steps, rest, strict=True):
        if isinstance(step, Dense):
            if step.weight.shape[1] != width:
                raise UserError(f"{folder} maps {step.weight.shape[1]} features, but gets {width}; download it again")
            width = step.weight.shape[0]
    return steps


def keep(folder: Path, out: Path) -> None:
    """Copies all but the weights of the encoder: what says how its hidden states become vectors of texts."""
    where = places(folder)
    out.mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.suffix in (".json", ".txt", ".model") and ".index." not in file.name:
            shutil.copyfile(file, out / file.name)
    for place in {where.encoder, *([where.pooling] if where.pooling else []), *(path for _, path in where.rest)}:
        for file in sorted(place.iterdir()) if place != folder else ():
            if place != where.encoder or file.suffix in (".json", ".txt", ".model"):
                (out / place.name).mkdir(exist_ok=True)
                shutil.copyfile(file, out / place.name / file.name)


def write_folder(folder: Path, width: int, pooling: Pooling, steps: Sequence[Step], how: Reading) -> None:
    """Writes all but the encoder and its tokeniser."""
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
