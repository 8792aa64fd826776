"""The tokenisers of published models: tokenizer.json, or what came before it, and the special tokens beside it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from transduce.errors import UserError
from transduce.text.sentencepiece import sentencepiece
from transduce.text.tokenizer import MARKS, Marks, Tokenizer, TokenizerConfig, backend

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# What a folder keeps beside the weights that is not the model's: copied as it is.
BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "generation_config.json", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
USUAL = {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]"}  # in vocab.txt
PIECES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model")


@dataclass(frozen=True, kw_only=True)
class File(TokenizerConfig):
    """A tokeniser that is there already, in the folder of a run or of a published model."""

    kind: ClassVar[str] = "file"
    path: str

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """The tokeniser as it is; `texts` are not looked at."""
        folder = Path(self.path).expanduser()
        inner = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
        return Tokenizer.load(inner) if (inner / MARKS).exists() or not settings(inner) else published(inner)


def settings(folder: Path) -> dict[str, Any]:
    """What the small files of a folder say, by file without its ending. Raises UserError for broken JSON."""
    names = ("config", "generation_config", "tokenizer_config", "special_tokens_map", "added_tokens", "chat_template")
    return {name: json_object(folder / f"{name}.json") for name in names if (folder / f"{name}.json").exists()}


def published(folder: Path, rows: int | None = None, *, answers: bool | None = None) -> Tokenizer:
    """The tokeniser of a model's folder. rows: of the model's table; None: as many as there are tokens.

    answers: whether the model writes an answer to a source; None: what config.json says. Raises UserError.
    """
    said = settings(folder)
    config = said.get("tokenizer_config", {})
    pieces = (folder / "vocab.txt").exists() and not (folder / "tokenizer.json").exists()
    roles = {**(USUAL if pieces else {}), **names_of(said)}
    made, complete = files(folder, config, roles)
    made.no_truncation()
    made.no_padding()
    add_tokens(made, folder, said, roles)
    ids = {role: made.token_to_id(name) for role, name in roles.items()}
    if not complete:
        made.post_processor = around(made, roles, ids, config)
    before, after = template(made)
    if answers is None:
        answers = bool(said.get("config", {}).get("is_encoder_decoder"))

    def token(role: str) -> int | None:
        for name in ("generation_config", "config")[: 1 if role == "forced_bos" and "generation_config" in said else 2]:
            found: Any = said.get(name, {}).get(f"{role}_token_id")
            if isinstance(found, list) and found:  # several ends: the first
                found = cast("list[Any]", found)[0]
            if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
                return found
        return ids.get(role)

    eos = first(token("eos"), ids.get("sep"), -1)
    start = first(token("decoder_start"), token("bos")) if answers else None
    bos = first(start, token("bos"), ids.get("cls"), eos if eos >= 0 else 0)
    forced = token("forced_bos")
    opens = (bos, *([] if forced is None or forced == bos else [forced])) if answers else before
    size = max(made.get_vocab().values(), default=-1) + 1
    rows = size if rows is None else rows
    named = {"bos": bos, "eos": eos, "pad": first(token("pad"), max(eos, 0))}
    for role, i in named.items():
        if i >= rows:
            raise UserError(f"{folder} has {role}_token_id={i}, but the model's table has {rows:,} rows")
    told = [said.get(name, {}).get("eos_token_id") for name in ("generation_config", "config")]
    ended: Any = next((one for one in told if one is not None), None)
    ends = [i for i in cast("list[Any]", ended) if isinstance(i, int) and i != eos] if isinstance(ended, list) else []
    special = sorted(i for i, one in made.get_added_tokens_decoder().items() if one.special)
    unk = token("unk")
    marks = Marks(
        **named, unk=unk, opens=tuple(opens), before=before, after=after, silent=tuple(special), rows=rows,
        chat=chat(folder, said), ends=tuple(ends),
    )  # fmt: skip
    return Tokenizer(made, marks)


def first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def files(
    folder: Path, config: Mapping[str, Any], roles: Mapping[str, str]
) -> tuple[tokenizers.Tokenizer, bool]:  # fmt: skip
    """The tokeniser, and whether its file says everything."""
    if (folder / "tokenizer.json").exists():
        return backend(folder), True
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        return byte_pairs(folder, config), False
    if (folder / "vocab.txt").exists():
        return word_pieces(folder, config, roles), False
    for name in PIECES:
        if (folder / name).exists():
            return sentencepiece(folder / name), False
    raise UserError(
        f"{folder} has no tokeniser that is known here: tokenizer.json, vocab.json with merges.txt, vocab.txt, or a "
        f"SentencePiece model ({', '.join(PIECES)})"
    )


def byte_pairs(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """vocab.json and merges.txt: byte-level BPE.   Radford et al. 2019."""
    vocabulary = json_object(folder / "vocab.json")
    lines = [line for line in text_of(folder / "merges.txt").split("\n") if line and not line.startswith("#version")]
    merges = [tuple(line.split(" ")) for line in lines]
    if not all(isinstance(i, int) for i in vocabulary.values()) or any(len(pair) != 2 for pair in merges):
        raise UserError(f"{folder} has a vocab.json or merges.txt that is none: ids, and pairs a line, are expected")
    try:
        model = models.BPE(cast("dict[str, int]", vocabulary), cast("list[tuple[str, str]]", merges))
    except Exception as error:  # a pair that is not in the vocabulary
        raise UserError(f"merges.txt and vocab.json of {folder} do not fit together ({error})") from None
    made = tokenizers.Tokenizer(model)
    prefix = bool(config.get("add_prefix_space", False))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    return made


def word_pieces(folder: Path, config: Mapping[str, Any], roles: Mapping[str, str]) -> tokenizers.Tokenizer:
    """vocab.txt, a token a line: WordPiece as BERT has it.   Devlin et al. 2019."""
    names = [line.removesuffix("\r") for line in text_of(folder / "vocab.txt").removesuffix("\n").split("\n")]
    unknown = roles.get("unk", "[UNK]")
    if unknown not in names:
        raise UserError(f"{folder / 'vocab.txt'} has no {unknown}; download it again")
    vocabulary = {name: i for i, name in enumerate(names)}
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"), lowercase=bool(config.get("do_lower_case", True)),
    )  # fmt: skip
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return made


def around(
    made: tokenizers.Tokenizer, roles: Mapping[str, str], ids: Mapping[str, int | None], config: Mapping[str, Any]
) -> Any:
    """What stands around a text where no file says it: [CLS] and [SEP], or what add_bos_token and add_eos_token say."""
    if ids.get("cls") is not None and ids.get("sep") is not None:
        return framed(roles, ids, True, True, ("cls", "sep"))
    ended = isinstance(made.model, models.Unigram)  # T5
    return framed(roles, ids, bool(config.get("add_bos_token")), bool(config.get("add_eos_token", ended)))


def framed(
    roles: Mapping[str, str], ids: Mapping[str, int | None], begun: bool, ended: bool,
    names: tuple[str, str] = ("bos", "eos"),
) -> Any:  # fmt: skip
    """A template with one token before the text, one after, or none."""
    asked = [names[0]] * begun, [names[1]] * ended
    before, after = ([role for role in some if ids.get(role) is not None] for some in asked)
    single = [*(roles[role] for role in before), "$A", *(roles[role] for role in after)]
    numbers = {(roles[role], ids[role] or 0) for role in (*before, *after)}
    return processors.TemplateProcessing(single=single, pair=None, special_tokens=sorted(numbers))


def template(made: tokenizers.Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens before and after a text."""
    for text in ("a", "1", ".", "x"):
        inner = made.encode(text, add_special_tokens=False).ids
        whole = made.encode(text, add_special_tokens=True)
        here = [i for i, special in enumerate(whole.special_tokens_mask) if not special]
        if inner and len(here) == len(inner):
            return tuple(whole.ids[: here[0]]), tuple(whole.ids[here[-1] + 1 :])
    return (), ()


def names_of(said: Mapping[str, Any]) -> dict[str, str]:
    """Role (bos, eos, pad, ...) -> token."""
    found: dict[str, str] = {}
    for file in ("special_tokens_map", "tokenizer_config"):
        for role in ROLES:
            value = said.get(file, {}).get(f"{role}_token")
            value = cast("dict[str, Any]", value).get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                found[role] = value
    return found


def add_tokens(made: tokenizers.Tokenizer, folder: Path, said: Mapping[str, Any], roles: Mapping[str, str]) -> None:
    """Tokens that stand outside the vocabulary, at the ids they are given. Raises UserError where that cannot be."""
    wanted: list[tuple[int, AddedToken]] = []
    decoder: Any = said.get("tokenizer_config", {}).get("added_tokens_decoder", {})
    for key, value in cast("dict[str, Any]", decoder).items() if isinstance(decoder, dict) else ():
        if not key.isdecimal() or not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise UserError(f"{folder / 'tokenizer_config.json'} has an added token that is none ({key!r})")
        one = cast("dict[str, Any]", value)
        flags = {name: bool(one.get(name, False)) for name in ("special", "lstrip", "rstrip", "single_word")}
        wanted.append((int(key), AddedToken(one["content"], normalized=bool(one.get("normalized", True)), **flags)))
    known = {token.content for _, token in wanted}
    for name, i in said.get("added_tokens", {}).items():
        if isinstance(i, int) and name not in known:
            wanted.append((i, AddedToken(name, special=name in roles.values(), normalized=False)))
    for i, token in sorted(wanted, key=lambda pair: pair[0]):
        made.add_special_tokens([token]) if token.special else made.add_tokens([token])
        if (there := made.token_to_id(token.content)) != i:
            raise UserError(f"{folder} wants the token {token.content} at id {i}, but it comes to stand at {there}")
    present = made.get_added_tokens_decoder().values()
    marked = {token.content for token in present if token.special}
    rest = [name for name in dict.fromkeys(roles.values()) if name not in marked]
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in rest])


def chat(folder: Path, said: Mapping[str, Any]) -> str | None:
    """The Jinja template of conversations, if there is one."""
    if (folder / "chat_template.jinja").exists():
        return text_of(folder / "chat_template.jinja")
    found = said.get("chat_template", {}).get("chat_template", said.get("tokenizer_config", {}).get("chat_template"))
    if isinstance(found, list):
        named = [cast("dict[str, Any]", one) for one in cast("list[Any]", found) if isinstance(one, dict)]
        found = next((one.get("template") for one in named if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None


def json_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError."""
    try:
        found: object = json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); download it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, not an object; download it again")
    return cast("dict[str, Any]", found)
