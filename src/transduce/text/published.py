"""The tokenisers of published models: tokenizer.json, or what came before it, and the special tokens beside it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import tokenizers

from transduce.errors import UserError
from transduce.text.published_build import built
from transduce.text.published_parts import json_object, text_of
from transduce.text.tokenizer import MARKS, Marks, Tokenizer, TokenizerConfig

# What a folder keeps beside the weights that is not the model's: copied as it is.
BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "generation_config.json", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
PIECES = (
    "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model", "source.spm",
    "target.spm", "target_vocab.json",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class File(TokenizerConfig):
    """A tokeniser that is there already, in the folder of a run or of a published model.

    path: the folder, or the file.
    """

    kind: ClassVar[str] = "file"
    path: str

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Returns the tokeniser as it is; `texts` are not looked at."""
        folder = Path(self.path).expanduser()
        inner = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
        return Tokenizer.load(inner) if (inner / MARKS).exists() or not settings(inner) else published(inner)


def settings(folder: Path) -> dict[str, Any]:
    """Returns what the small files of a folder say, by file without its ending. Raises UserError for broken JSON."""
    names = ("config", "generation_config", "tokenizer_config", "special_tokens_map", "added_tokens", "chat_template")
    return {name: json_object(folder / f"{name}.json") for name in names if (folder / f"{name}.json").exists()}


def published(folder: Path, rows: int | None = None, *, answers: bool | None = None) -> Tokenizer:
    """Returns the tokeniser of a model's folder.

    rows: of the model's table (None: as many as it has tokens).
    answers: the model writes an answer to a source (None: as config.json says).

    Raises UserError.
    """
    files = settings(folder)
    tokenizer, roles, other, spare = built(folder, files)
    before, after = template(tokenizer)
    size = spare or max(tokenizer.get_vocab().values(), default=-1) + 1
    rows = size if rows is None else rows
    # A token that the table has no row for is none of the model's: classes name some that few vocabularies have.
    ids = {role: i for role, name in roles.items() if (i := tokenizer.token_to_id(name)) is not None and i < rows}
    if answers is None:
        answers = bool(files.get("config", {}).get("is_encoder_decoder"))

    def token(role: str) -> int | None:
        for name in ("generation_config", "config")[
            : 1 if role == "forced_bos" and "generation_config" in files else 2
        ]:
            number: Any = files.get(name, {}).get(f"{role}_token_id")
            if isinstance(number, list) and number:  # several ends: the first
                number = cast("list[Any]", number)[0]
            if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
                return number
        return ids.get(role)

    eos = first(token("eos"), ids.get("sep"), -1)
    start = first(token("decoder_start"), token("bos")) if answers else None
    bos = first(start, token("bos"), ids.get("cls"), eos if eos >= 0 else 0)
    forced = token("forced_bos")
    opens = (bos, *([] if forced is None or forced == bos else [forced])) if answers else before
    ids_of_roles = {"bos": bos, "eos": eos, "pad": first(token("pad"), max(eos, 0))}
    for role, i in ids_of_roles.items():
        if i >= rows:
            raise UserError(f"{folder} has {role}_token_id={i}, but the model's table has {rows:,} rows")
    ends_of_files = [files.get(name, {}).get("eos_token_id") for name in ("generation_config", "config")]
    ended: Any = next((one for one in ends_of_files if one is not None), None)
    ends = [i for i in cast("list[Any]", ended) if isinstance(i, int) and i != eos] if isinstance(ended, list) else []
    special = sorted(i for i, one in tokenizer.get_added_tokens_decoder().items() if one.special)
    unk = token("unk")
    marks = Marks(
        **ids_of_roles, unk=unk, opens=tuple(opens), before=before, after=after, silent=tuple(special), rows=rows,
        chat=chat(folder, files), ends=tuple(ends), spare=spare,
    )  # fmt: skip
    return Tokenizer(tokenizer, marks, other)


def first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def template(tokenizer: tokenizers.Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the special tokens before and after a text."""
    for text in tried(tokenizer):
        inner = tokenizer.encode(text, add_special_tokens=False).ids
        whole = tokenizer.encode(text, add_special_tokens=True)
        here = [i for i, special in enumerate(whole.special_tokens_mask) if not special]
        if inner and len(here) == len(inner):
            return tuple(whole.ids[: here[0]]), tuple(whole.ids[here[-1] + 1 :])
    return (), ()


def tried(tokenizer: tokenizers.Tokenizer) -> Iterator[str]:
    """Yields texts of which a vocabulary has at least one."""
    yield from ("a", "1", ".", "x")
    for name in sorted(tokenizer.get_vocab(), key=len)[:200]:
        yield name.strip("▁Ġ")


def chat(folder: Path, files: Mapping[str, Any]) -> str | None:
    """Returns the Jinja template of conversations, if the folder has one."""
    if (folder / "chat_template.jinja").exists():
        return text_of(folder / "chat_template.jinja")
    jinja = files.get("chat_template", {}).get("chat_template", files.get("tokenizer_config", {}).get("chat_template"))
    if isinstance(jinja, list):
        templates = [cast("dict[str, Any]", one) for one in cast("list[Any]", jinja) if isinstance(one, dict)]
        jinja = next((one.get("template") for one in templates if one.get("name") == "default"), None)
    return jinja if isinstance(jinja, str) else None
