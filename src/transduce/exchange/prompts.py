"""The tokens that a transcript begins with, and the settings by which it is written, as folders of Whisper say them."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transduce.errors import Notice, UserError
from transduce.exchange.importing import settings_file
from transduce.generate import hugging_face
from transduce.generate.config import GenerateConfig
from transduce.text.published import json_object
from transduce.text.tokenizer import Tokenizer

TIME = re.compile(r"<\|\d+\.\d+\|>")  # seconds since a window began
ENGLISH, TRANSCRIBE, PLAIN = "en", "transcribe", "<|notimestamps|>"
# What says nothing of the text, or is read here: the prompt, and how times are told.
OWN = frozenset({
    "alignment_heads", "forced_decoder_ids", "is_multilingual", "lang_to_id", "language", "task", "task_to_id",
    "max_initial_timestamp_index", "median_filter_width", "no_timestamps_token_id", "prev_sot_token_id",
    "return_timestamps", "return_token_timestamps", "prompt_condition_type",
})  # fmt: skip


def marks_of(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """Returns the tokeniser of a folder with the prompt of a transcript, and with times that are no text.

    The prompt is <|startoftranscript|><|en|><|transcribe|><|notimestamps|>, with the language and the task that
    generation_config.json names; a model of English alone has neither of these two.
    """
    data, inner = json_object(settings_file(folder)), tokenizer.tokenizer
    language, task = data.get("language") or ENGLISH, data.get("task") or TRANSCRIBE
    names = [token_of(language), token_of(task)] if several(data, tokenizer) else []
    ids = [i for name in (*names, PLAIN) if (i := inner.token_to_id(name)) is not None]
    if missing := [name for name in names if inner.token_to_id(name) is None]:
        what = f"{settings_file(folder)} asks for {' and '.join(missing)}, which its tokeniser lacks"
        raise UserError(f"{what}; correct language or task there")
    times = {i for i, one in inner.get_added_tokens_decoder().items() if TIME.fullmatch(one.content)}
    marks = replace(
        tokenizer.marks, opens=(tokenizer.bos, *ids), before=(), after=(tokenizer.eos,),
        silent=tuple(sorted({*tokenizer.marks.silent, *times})),
    )  # fmt: skip
    return Tokenizer(inner, marks, tokenizer.answers)


def several(data: Mapping[str, Any], tokenizer: Tokenizer) -> bool:
    """Says whether a model knows several languages. data: of generation_config.json."""
    stated: Any = data.get("is_multilingual")
    return bool(tokenizer.tokenizer.token_to_id(token_of(TRANSCRIBE))) if stated is None else stated is True


def token_of(name: str) -> str:
    """Returns the token of a language or a task. name: as `en`, or written out already."""
    return name if name.startswith("<|") else f"<|{name}|>"


def generate_config(folder: Path, limit: int | None) -> GenerateConfig:
    """Returns the settings of decoding that a folder has, with a `Notice` on those that are not obeyed here.

    limit: positions of the decoder. Raises UserError for values that do not suit their keys.
    """
    path = settings_file(folder)
    data = {key: value for key, value in json_object(path).items() if key not in OWN and value is not None}
    try:
        of_folder = hugging_face.settings(data, limit)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not path.name.startswith("generation"):
        of_folder = of_folder._replace(unknown=())
    notices = [one for one in (of_folder.notice(), times(path)) if one]
    if notices:
        sentence = f"{path} {' and '.join(notices)}; texts may differ from those of transformers"
        warnings.warn(sentence, Notice, stacklevel=3)
    return of_folder.config


def times(path: Path) -> str:
    """Returns a part of a sentence where texts with times are asked for."""
    return "asks for return_timestamps, which is not done here" if json_object(path).get("return_timestamps") else ""
