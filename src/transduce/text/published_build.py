"""The tokeniser of a model's folder, built as the class that transformers 5 reads it with builds it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from transduce.errors import UserError
from transduce.text.published_class import PLAIN, class_of
from transduce.text.published_kinds import KINDS, Kind
from transduce.text.published_own import MARK, OWN, Own
from transduce.text.published_parts import (
    STANDARD,
    Parts,
    frame,
    from_json,
    from_lines,
    from_merges,
    from_pieces,
    named,
)
from transduce.text.published_unigram import UNIGRAMS
from transduce.text.stream import TIDY
from transduce.text.tokenizer import backend

ALL: Mapping[str, Kind] = {**KINDS, **UNIGRAMS}
EARLY = ("AlbertTokenizer",)  # its frame gives way to that of tokenizer.json
DESPITE = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
ANY = "tokenizer.model"  # where a folder has it, a SentencePiece model by any other name is not looked at


class Built(NamedTuple):
    """A tokeniser with what stands around a text.

    roles: special tokens by role.
    answers: what cuts the texts that a decoder writes, where that is another one.
    spare: the first of the ids that stand for pieces without a row, which are unknown.
    """

    tokenizer: tokenizers.Tokenizer
    roles: Mapping[str, str]
    answers: tokenizers.Tokenizer | None = None
    spare: int | None = None


def built(folder: Path, files: Mapping[str, Any]) -> Built:
    """Returns the tokeniser. files: the content of its small files. Raises UserError where it cannot be read."""
    name = class_of(folder, files.get("config", {}), files.get("tokenizer_config", {}))
    try:
        return dispatched(name, named(folder, files))
    except UserError:
        raise
    except BaseException as error:  # the library raises bare Exception, or a panic, which is none
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())
        raise UserError(
            f"{folder} holds no vocabulary that a {name} can be built of ({reason}); download it again"
        ) from None


def dispatched(name: str, parts: Parts) -> Built:
    """Returns the tokeniser of a class, from the first of its files that are there."""
    folder, kind, own = parts.folder, ALL.get(name), OWN.get(name)
    if own is not None and all((folder / file).exists() for file in own.names):
        names = contents(filled(own.roles, parts))
        one: Own = own.build(parts, {role: names[role] for role in own.roles if role in names})
        for tokenizer in (one.tokenizer, one.answers):
            if tokenizer is not None:
                tokenizer.add_special_tokens([AddedToken(name, special=True) for name in one.roles.values()])
                tidied(tokenizer, parts, own=True)
        for i, token in parts.listed.items():
            if i not in (one.tokenizer.token_to_id(token.content), one.tokenizer.token_to_id(MARK + token.content)):
                raise UserError(f"{folder} wants the token {token.content} at id {i}, where its vocabulary has another")
        return Built(one.tokenizer, one.roles, one.answers, one.spare)
    if (folder / "tokenizer.json").exists():
        return of_json(name, kind, parts)
    if kind is not None:
        full = vocabulary(kind, parts)
        roles = filled(kind.roles, full)
        full = kind.from_pieces(full, roles) if full.proto is not None else full
        return finished(kind, full, kind.build(full, roles), roles, whole=False, early=name in EARLY)
    if name == PLAIN and (folder / ANY).exists():
        full = from_pieces(parts, folder / ANY, None)
        return finished(None, full, plain(full), filled(ends(full), full), whole=False)
    if name == PLAIN:
        reason = "config.json and tokenizer_config.json name no class that reads other files"
    else:
        files = " with ".join(("tokenizer.json",) if own is None else own.names)
        reason = f"the class {name} is read here only from {files}"
    raise UserError(
        f"{folder} has no tokeniser that is known here: tokenizer.json is missing, and {reason}; load it with "
        f"transformers and save it there"
    )


def of_json(name: str, kind: Kind | None, parts: Parts) -> Built:
    """Returns the tokeniser of tokenizer.json: its vocabulary, cut as the class cuts, where the class can be built.

    Where it cannot, since the file has another kind of model or lacks a token, the file is taken as it is.
    """
    full, model = from_json(parts)
    if kind is not None and kind.model in (None, model):
        roles = filled(kind.roles, parts)
        try:
            return finished(kind, full, kind.build(full, roles), roles, whole=True, early=name in EARLY)
        except UserError:
            raise
        except Exception:  # what the library raises for a vocabulary without the tokens that the class expects
            pass
    return finished(None, parts, backend(parts.folder), filled({}, parts), whole=True)


def vocabulary(kind: Kind, parts: Parts) -> Parts:
    """Returns the parts with the vocabulary that a class reads where there is no tokenizer.json. Raises UserError."""
    folder, file = parts.folder, kind.files
    if file.endswith(".model"):
        path = folder / ANY if (folder / ANY).exists() else folder / file
        if path.exists():
            return from_pieces(parts, path, kind.model)
    elif (folder / file).exists() and file == "vocab.txt":
        return from_lines(parts)
    elif (folder / file).exists() and (folder / "merges.txt").exists():
        return from_merges(parts)
    names = "vocab.json with merges.txt" if file == "vocab.json" else file
    raise UserError(
        f"{folder} has no tokeniser that is known here: tokenizer.json, {names}; download it, or load it with "
        f"transformers and save it there"
    )


def filled(usual: Mapping[str, str], parts: Parts) -> dict[str, AddedToken]:
    """Returns special tokens by role: what the folder says, and what is usual where it says nothing."""
    listed = {token.content: token for token in parts.listed.values()}
    tokens: dict[str, AddedToken | None] = {role: AddedToken(name, special=True) for role, name in usual.items()}
    tokens |= parts.roles
    order = [*STANDARD, *(role for role in tokens if role not in STANDARD)]
    some = [(role, token) for role in order if (token := tokens.get(role)) is not None]
    return {role: listed.get(token.content, token) for role, token in some}


def contents(roles: Mapping[str, AddedToken]) -> dict[str, str]:
    return {role: token.content for role, token in roles.items()}


def finished(
    kind: Kind | None, parts: Parts, tokenizer: tokenizers.Tokenizer, roles: dict[str, AddedToken], *, whole: bool,
    early: bool = False,
) -> Built:  # fmt: skip
    """Returns a tokeniser with added tokens and a frame. whole: it comes from tokenizer.json."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if early and kind is not None and kind.frame is not None:
        tokenizer.post_processor = kind.frame(parts, roles, tokenizer.token_to_id)
    if parts.processor is not None:
        tokenizer.post_processor = parts.processor
    extra = parts.extra
    if extra is None:
        extra = (parts.controls or []) if kind is None else kind.extra(parts)
    add_tokens(tokenizer, parts, roles, extra)
    added = [role for role in ("bos", "eos") if not whole and parts.flag(f"add_{role}_token", False)]
    says_so = not whole and ("add_bos_token" in parts.options or "add_eos_token" in parts.options)
    if says_so or tokenizer.post_processor is None or (kind is not None and kind is ALL["GPTNeoXTokenizer"]):
        names = [(roles[role].content, tokenizer.token_to_id(roles[role].content)) for role in added if role in roles]
        tokenizer.post_processor = frame(*names, after=int("eos" in added and "eos" in roles))
    if not early and kind is not None and kind.frame is not None:
        tokenizer.post_processor = kind.frame(parts, roles, tokenizer.token_to_id)
    tidied(tokenizer, parts)
    return Built(tokenizer, contents(roles))


def tidied(tokenizer: tokenizers.Tokenizer, parts: Parts, *, own: bool = False) -> None:
    """Takes spaces before marks out of what is decoded, where the folder says so; pairs of bytes keep them."""
    pairs = isinstance(tokenizer.model, models.BPE) and not parts.flag(DESPITE, False) and not own
    if parts.flag("clean_up_tokenization_spaces", False) and not pairs and tokenizer.decoder is not None:
        steps = [decoders.Replace(old, old.replace(" ", "")) for old in TIDY]
        tokenizer.decoder = decoders.Sequence([tokenizer.decoder, decoders.Fuse(), *steps])


def plain(parts: Parts) -> tokenizers.Tokenizer:
    """Returns the tokeniser of a SentencePiece model whose class is not known: without a space before a text."""
    proto = parts.proto
    assert proto is not None
    if isinstance(parts.vocabulary, dict):
        ids = cast("dict[str, int]", parts.vocabulary)
        for i, token in parts.listed.items():
            old = next((name for name, j in ids.items() if j == i), None)
            if old is not None and old != token.content and token.content not in ids:
                ids[token.content] = ids.pop(old)
        options: dict[str, Any] = {"unk_token": proto.unk_piece, "fuse_unk": True, "byte_fallback": proto.bytes_}
        tokenizer = tokenizers.Tokenizer(models.BPE(ids, parts.merges, **options))
    else:
        tokenizer = tokenizers.Tokenizer(models.Unigram(parts.vocabulary, proto.unk, proto.bytes_))
    table: list[Any] = [normalizers.Precompiled(proto.charsmap)] if proto.charsmap else []
    tokenizer.normalizer = normalizers.Sequence([*table, normalizers.Replace(" ", "▁")])
    back: list[Any] = [decoders.ByteFallback(), decoders.Fuse()] if proto.bytes_ else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), *back])
    return tokenizer


def ends(parts: Parts) -> dict[str, str]:
    """Returns the special tokens that a SentencePiece model says it was trained with."""
    one = parts.proto
    assert one is not None
    ids = {"bos": one.bos, "eos": one.eos, "unk": one.unk}
    names = {"bos": one.bos_piece, "eos": one.eos_piece, "unk": one.unk_piece}
    return {role: name for role, name in names.items() if ids[role] >= 0}


def add_tokens(
    tokenizer: tokenizers.Tokenizer, parts: Parts, roles: Mapping[str, AddedToken], extra: list[str | AddedToken]
) -> None:
    """Adds what stands outside the vocabulary, in the order of transformers. Raises UserError where an id differs."""
    special = {token.content for token in roles.values()}
    tokens = [token for _, token in sorted(parts.listed.items(), key=lambda pair: pair[0])]
    present = {token.content for token in (*tokenizer.get_added_tokens_decoder().values(), *tokens)}
    for one in (*roles.values(), *extra):
        token = AddedToken(one, special=True) if isinstance(one, str) else one
        if token.content not in present:
            present.add(token.content)
            tokens.append(token)
    for token in tokens:
        if token.content in special and not token.special:
            token.special = True
    if tokens:
        tokenizer.add_tokens(tokens)
    for i, token in parts.listed.items():
        if (there := tokenizer.token_to_id(token.content)) != i:
            folder = parts.folder
            raise UserError(f"{folder} wants the token {token.content} at id {i}, but it comes to stand at {there}")
