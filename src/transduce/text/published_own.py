"""Tokenisers whose ids stand in vocab.json and not in the model that cuts the text: Marian, M2M-100 and CTRL.

transformers has no tokenizer.json for them; here each becomes one, with the same ids.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from transduce.errors import UserError
from transduce.text.languages import M2M_100, WMT_21
from transduce.text.published_kinds import roles
from transduce.text.published_parts import Parts, frame, json_object
from transduce.text.sentencepiece import BPE, CONTROL, SPACE, UNKNOWN, Proto, merges, normalizer, parsed

# Before special tokens, and before pieces that only the other side has: no text holds it, so none is cut into them, and
# decoding takes it away.
MARK = "\uf8ff"
STRANGE = "\uf8fe"  # a character that no vocabulary has
UNLIKELY = -1e5  # the score of what is chosen only where nothing else fits
STRIPPED = decoders.Replace(Regex(r"\A\s+|\s+\z"), "")
CODE = re.compile(">>.*<<")  # the language that a model of several shall write


class Own(NamedTuple):
    """A tokeniser. answers: what cuts the texts that a decoder writes, where that is another one.

    roles: its special tokens, as they are called in it.
    spare: the first of the ids that stand for pieces without a row, which are unknown.
    """

    tokenizer: tokenizers.Tokenizer
    roles: Mapping[str, str]
    answers: tokenizers.Tokenizer | None = None
    spare: int | None = None


def marian(parts: Parts, names: Mapping[str, str]) -> Own:
    """Reads source.spm, target.spm and vocab.json, as OPUS-MT publishes its models."""
    folder, ids = parts.folder, numbered(parts.folder / "vocab.json", names)
    if parts.flag("separate_vocabs", False) or (folder / "target_vocab.json").exists():
        raise UserError(
            f"{folder} has a vocabulary for each language; only those with one vocab.json for both are read here"
        )
    both = [pieces(parsed(folder / f"{side}.spm"), ids, names) for side in ("source", "target")]
    for one in both:
        one.add_tokens([AddedToken(name, normalized=False) for name in ids if CODE.fullmatch(name)])
        one.post_processor = frame((names["eos"], ids[names["eos"]]), after=1)
    marked = {role: name if both[0].token_to_id(name) is not None else MARK + name for role, name in names.items()}
    return Own(both[0], marked, both[1], len(ids))


def m2m(parts: Parts, names: Mapping[str, str]) -> Own:
    """Reads sentencepiece.bpe.model and vocab.json; the tokens of the languages stand behind."""
    folder, ids = parts.folder, numbered(parts.folder / "vocab.json", names)
    tokenizer = pieces(parsed(folder / "sentencepiece.bpe.model"), ids, names)
    languages = {"m2m100": M2M_100, "wmt21": WMT_21}.get(parts.options.get("language_codes", "m2m100"))
    name = parts.options.get("src_lang") or "en"
    if languages is None or name not in languages:
        raise UserError(
            f"{folder / 'tokenizer_config.json'} has src_lang={name!r}, which is not a language of the model"
        )
    tokenizer.add_special_tokens([AddedToken(f"__{one}__", special=True) for one in languages])
    source, end = f"__{name}__", names["eos"]
    tokenizer.post_processor = frame((source, tokenizer.token_to_id(source)), (end, ids[end]), after=1)
    return Own(tokenizer, names)


def numbered(path: Path, names: Mapping[str, str]) -> dict[str, int]:
    """Returns the ids of vocab.json. Raises UserError where they have gaps, or a special token is missing."""
    ids = json_object(path)
    if sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
        raise UserError(f"{path} gives ids that are not 0 to {len(ids) - 1}; download it again")
    if missing := [name for name in names.values() if name not in ids]:
        raise UserError(f"{path} has no {missing[0]}; download it again")
    return ids


def pieces(proto: Proto, ids: Mapping[str, int], names: Mapping[str, str]) -> tokenizers.Tokenizer:
    """Returns what cuts a text as SentencePiece does, with the ids of a vocabulary."""
    scores = {piece.text: piece.score for piece in proto.pieces if piece.type not in (UNKNOWN, CONTROL)}
    order = sorted(ids, key=ids.__getitem__)
    strangers = [name for name in order if len(name) == 1 and name not in scores]
    unknown = names["unk"]
    if proto.kind == BPE:
        if missing := [name for name in scores if name not in ids]:
            raise UserError(f"vocab.json lacks {missing[0]!r}, a piece of its SentencePiece model; download both again")
        options: dict[str, Any] = {"unk_token": unknown, "fuse_unk": True, "byte_fallback": proto.bytes_}
        tokenizer = tokenizers.Tokenizer(models.BPE(dict(ids), merges(proto.pieces), **options))
    else:
        plain = {*scores, *strangers, *(name for name in order if CODE.fullmatch(name))} - {*names.values()}
        rows = [(name if name in plain else MARK + name, scores.get(name, UNLIKELY)) for name in order]
        rows += [(name, score) for name, score in scores.items() if name not in ids]
        tokenizer = tokenizers.Tokenizer(models.Unigram(rows, ids[unknown], proto.bytes_))
    steps: list[Any] = [normalizer(proto)]
    if strangers:  # several characters that the pieces lack are one unknown word, even where each has a row
        letters = "".join(re.escape(name) for name in scores if len(name) == 1)
        steps.append(normalizers.Replace(Regex(f"[^ {SPACE}{letters}]{{2,}}"), STRANGE))
    steps += [normalizers.Prepend(SPACE)] if proto.dummy else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    back: list[Any] = [decoders.Replace(MARK, ""), decoders.Replace(SPACE, " ")]
    back += [decoders.ByteFallback()] if proto.bytes_ else []
    tokenizer.decoder = decoders.Sequence([*back, decoders.Fuse(), STRIPPED])
    return tokenizer


def ctrl(parts: Parts, names: Mapping[str, str]) -> Own:
    """Reads vocab.json and merges.txt, where "@@" ends a piece that its word goes on after.   Keskar et al. 2019."""
    folder = parts.folder
    ids, lines = numbered(folder / "vocab.json", names), from_lines_of(folder / "merges.txt")
    unknown = names["unk"]
    rows = {name[:-2] if name.endswith("@@") else f"{name}</w>": i for name, i in ids.items() if name != unknown}
    rows[unknown] = ids[unknown]
    for name in dict.fromkeys(name for left, right in lines for name in (left, right, left + right)):
        rows.setdefault(name, len(rows))
    options: dict[str, Any] = {"unk_token": unknown, "end_of_word_suffix": "</w>"}
    tokenizer = tokenizers.Tokenizer(models.BPE(rows, lines, **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S+\n?"), behavior="removed", invert=True)
    tokenizer.decoder = decoders.Sequence([decoders.BPEDecoder(suffix="</w>"), decoders.Fuse(), STRIPPED])
    return Own(tokenizer, names, spare=len(ids))


def from_lines_of(path: Path) -> list[tuple[str, str]]:
    """Returns the pairs of merges.txt, whose first line is its version."""
    pairs = [tuple(line.split()) for line in path.read_text("utf-8").split("\n")[1:-1]]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"{path} has a line that is not a pair; download it again")
    return [(left, right) for left, right in pairs]


class Files(NamedTuple):
    names: tuple[str, ...]
    roles: Mapping[str, str]
    build: Any


OWN: Mapping[str, Files] = {
    "MarianTokenizer": Files(("source.spm", "target.spm", "vocab.json"), roles("- </s> <unk> - <pad>"), marian),
    "M2M100Tokenizer": Files(("sentencepiece.bpe.model", "vocab.json"), roles("<s> </s> <unk> </s> <pad>"), m2m),
    "CTRLTokenizer": Files(("vocab.json", "merges.txt"), roles("- - <unk>"), ctrl),
}
