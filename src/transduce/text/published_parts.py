"""The vocabulary files of a published model, read before the class of its tokeniser is asked what they mean."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import tokenizers
from tokenizers import AddedToken, models, processors

from transduce.errors import UserError
from transduce.text.sentencepiece import BPE, CONTROL, USER, Proto, merges_of, parsed

KEYS = {"merges": "BPE", "unk_id": "Unigram", "max_input_chars_per_word": "WordPiece"}  # of a model, by its settings
STANDARD = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class Parts(NamedTuple):
    """The parts of a folder's tokeniser.

    options: of tokenizer_config.json.
    roles: special tokens that the folder names, by role; None where it says that the model has no such token.
    listed: tokens outside the vocabulary, by id.
    extra: further special tokens (None: the folder says nothing of them).
    file: tokenizer.json; empty where the folder has none.
    vocabulary: ids by token, or tokens with their scores in the order of their ids.
    merges: pairs of tokens, the first to be joined first.
    charsmap: the table by which SentencePiece normalises characters.
    proto: the SentencePiece model, where the vocabulary comes from one.
    processor: puts tokens around a text, as tokenizer.json says.
    """

    folder: Path
    options: Mapping[str, Any]
    roles: Mapping[str, AddedToken | None]
    listed: Mapping[int, AddedToken]
    extra: list[str | AddedToken] | None
    file: Mapping[str, Any]
    vocabulary: Any = None
    merges: Sequence[tuple[str, str]] = ()
    charsmap: bytes | None = None
    proto: Proto | None = None
    processor: Any = None

    def flag(self, name: str, default: bool) -> bool:
        """Returns a setting of tokenizer_config.json. Raises UserError where it is neither true nor false."""
        value = self.options.get(name)
        if value is not None and not isinstance(value, bool):
            path = self.folder / "tokenizer_config.json"
            raise UserError(f"{path} has {name}={value!r}; it must be true or false")
        return default if value is None else value

    @property
    def controls(self) -> list[str | AddedToken] | None:
        """Returns the control pieces of a SentencePiece model, and those that its user defined."""
        if self.proto is None:
            return None
        pieces = [piece for piece in self.proto.pieces if piece.type in (CONTROL, USER)]
        return [AddedToken(piece.text, normalized=False, special=piece.type == CONTROL) for piece in pieces]


def named(folder: Path, files: Mapping[str, Any]) -> Parts:
    """Returns the parts that the small files name, without a vocabulary. Raises UserError."""
    path = folder / "tokenizer.json"
    file = json_object(path) if path.exists() else {}
    options: dict[str, Any] = dict(files.get("tokenizer_config", {}))
    legacy = "added_tokens_decoder" not in options
    for key, value in files.get("special_tokens_map", {}).items() if legacy else ():
        if key == "extra_special_tokens" and isinstance(value, list):
            value: Any = [*(options.get(key) or []), *cast("list[Any]", value)]
        options[key] = value
    listed: dict[int, AddedToken] = {}
    decoder: Any = options.get("added_tokens_decoder")
    for key, value in cast("dict[str, Any]", decoder).items() if isinstance(decoder, dict) else ():
        if not key.isdecimal() or (one := token(value)) is None:
            raise UserError(f"{folder / 'tokenizer_config.json'} has an added token that is not a token ({key!r})")
        listed[int(key)] = one
    extras = options.get("extra_special_tokens") or options.get("additional_special_tokens")
    absent = "extra_special_tokens" not in options and "additional_special_tokens" not in options
    roles = {key.removesuffix("_token"): token(value) for key, value in options.items() if key.endswith("_token")}
    if isinstance(extras, dict):  # tokens with names of their own
        roles |= {role: token(value) for role, value in cast("dict[str, Any]", extras).items()}
        extras, absent = None, True
    if not isinstance(extras, list | None):
        raise UserError(
            f"{folder / 'tokenizer_config.json'} has further special tokens that are not a list; correct it"
        )
    extra = [one for value in cast("list[Any]", extras or []) if (one := token(value, special=True)) is not None]
    if legacy:
        special = {one.content for one in (*roles.values(), *extra) if one is not None}
        for name, i in files.get("added_tokens", {}).items():
            if isinstance(i, int):
                listed[i] = AddedToken(name, special=name in special, normalized=name not in special)
        added: list[dict[str, Any]] = file.get("added_tokens") or []
        for one in added:
            listed[one["id"]] = AddedToken(**{key: x for key, x in one.items() if key != "id"})
    return Parts(folder, options, roles, listed, None if absent else list(extra), file)


def token(value: Any, special: bool | None = None) -> AddedToken | None:
    """Returns a token as a file writes it: its text, or an object with flags."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    if not isinstance(value, dict):
        return None
    one = cast("dict[str, Any]", value)
    flags = {name: bool(one[name]) for name in ("lstrip", "rstrip", "single_word", "normalized") if name in one}
    if not isinstance(one.get("content"), str):
        return None
    return AddedToken(one["content"], special=bool(one.get("special", False)) if special is None else special, **flags)


def from_json(parts: Parts) -> tuple[Parts, str]:
    """Returns the parts with vocabulary, merges and frame of tokenizer.json, and the kind of its model."""
    data, section = dict(parts.file), parts.file.get("model")
    if not isinstance(section, dict):
        raise UserError(f"{parts.folder / 'tokenizer.json'} is not a tokeniser (it has no model); download it again")
    model = cast("dict[str, Any]", section)
    kind = next((kind for key, kind in KEYS.items() if key in model), "WordLevel")
    vocabulary: Any = model.get("vocab")
    if isinstance(vocabulary, list):
        vocabulary = [tuple(pair) for pair in cast("list[list[Any]]", vocabulary)]
    lines = cast("list[Any]", model.get("merges") or [])
    merges: Any = [tuple(line.split(" ")) if isinstance(line, str) else tuple(line) for line in lines]
    normalizer: Any = data.get("normalizer") or {}
    steps: list[Any] = normalizer.get("normalizers", []) if normalizer.get("type") == "Sequence" else [normalizer]
    tables = [step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"]
    return parts._replace(
        vocabulary=vocabulary, merges=merges, processor=frame_of(parts.folder, data),
        charsmap=base64.b64decode(tables[0]) if tables and tables[0] else None,
    ), str(model.get("type") or kind)  # fmt: skip


def frame_of(folder: Path, data: dict[str, Any]) -> Any:
    """Returns what a tokenizer.json puts around a text, read without its vocabulary. Raises UserError."""
    empty: dict[str, Any] = {"type": "BPE", "vocab": {}, "merges": []}
    try:
        return tokenizers.Tokenizer.from_str(json.dumps({**data, "model": empty, "added_tokens": []})).post_processor
    except Exception as error:  # the library raises bare Exception
        reason = " ".join(str(error).split())
        raise UserError(f"{folder / 'tokenizer.json'} is not a tokeniser ({reason}); download it again") from None


def from_pieces(parts: Parts, path: Path, model: str | None) -> Parts:
    """Returns the parts with the vocabulary of a SentencePiece model. model: the kind that its class expects."""
    proto = parsed(path)
    bpe = model == "BPE" or (model is None and proto.kind == BPE)
    parts = parts._replace(charsmap=proto.charsmap or None, proto=proto)
    if not bpe:
        return parts._replace(vocabulary=[(piece.text, piece.score) for piece in proto.pieces])
    ids = {piece.text: i for i, piece in enumerate(proto.pieces)}
    return parts._replace(vocabulary=ids, merges=merges_of(ids))


def from_merges(parts: Parts) -> Parts:
    """Returns the parts with vocab.json and merges.txt. Raises UserError."""
    folder = parts.folder
    vocabulary = json_object(folder / "vocab.json")
    text_of(folder / "merges.txt")
    try:
        ids, merges = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        models.BPE(ids, merges)
    except Exception as error:  # a line that is no pair, or a pair that is not in the vocabulary
        raise UserError(f"merges.txt and vocab.json of {folder} do not fit together ({error})") from None
    if len(ids) < len(vocabulary):
        raise UserError(f"{folder / 'vocab.json'} gives ids that are not numbers; download it again")
    return parts._replace(vocabulary=ids, merges=merges)


def from_lines(parts: Parts) -> Parts:
    """Returns the parts with vocab.txt, a token a line. Raises UserError."""
    text_of(parts.folder / "vocab.txt")
    return parts._replace(vocabulary=models.WordPiece.read_file(str(parts.folder / "vocab.txt")))


def frame(*tokens: tuple[str, int | None], after: int = 0, types: tuple[int, ...] = ()) -> Any:
    """Returns what puts tokens around a text. tokens: names and ids, the last `after` of them stand behind the text."""
    names = [f"{name}:{kind}" for (name, _), kind in zip(tokens, types or (0,) * len(tokens), strict=True)]
    cut = len(names) - after
    ids = sorted({(name, i) for name, i in tokens if i is not None})
    return processors.TemplateProcessing(single=[*names[:cut], "$A:0", *names[cut:]], pair=None, special_tokens=ids)


def text_of(path: Path) -> str:
    """Returns the text of a file. Raises UserError."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None


def json_object(path: Path) -> dict[str, Any]:
    """Returns a JSON object. Raises UserError."""
    try:
        data: object = json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); download it again") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds a {type(data).__name__}, not an object; download it again")
    return cast("dict[str, Any]", data)
