"""The tokenisers of transformers 5 that choose the likeliest pieces, class by class.   Kudo 2018."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from transduce.errors import UserError
from transduce.text.languages import MBART, MBART_50, NLLB
from transduce.text.published_kinds import Kind, Roles, around, content, merged, roles
from transduce.text.published_parts import Parts, frame

Scores = list[tuple[str, float]]
QUOTES = (("``", '"'), ("''", '"'))


def scored(
    parts: Parts, unk: int, steps: Sequence[Any], scheme: str = "always", *, words: bool
) -> tokenizers.Tokenizer:  # fmt: skip
    """Returns a tokeniser of pieces with scores. steps: what normalises; words: whether white space is dropped."""
    tokenizer = tokenizers.Tokenizer(models.Unigram(parts.vocabulary, unk, False))
    if steps:
        tokenizer.normalizer = normalizers.Sequence(list(steps))
    space = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space]) if words else space
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer


def table(parts: Parts) -> list[Any]:
    return [normalizers.Precompiled(parts.charsmap)] if parts.charsmap else []


def prefix(parts: Parts, otherwise: str = "never") -> str:
    return "always" if parts.flag("add_prefix_space", True) else otherwise


def position(parts: Parts, name: str, otherwise: int) -> int:
    """Returns the id of an unknown token whose score is 0."""
    scores: Any = parts.vocabulary
    return scores.index((name, 0.0)) if (name, 0.0) in scores else otherwise


def albert(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    keep, lower = parts.flag("keep_accents", False), parts.flag("do_lower_case", True)
    return scored(parts, 1, without_accents(parts, keep, lower), prefix(parts), words=True)


def xlnet(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    unk = number(parts, "unk_id", 0)
    return scored(parts, unk, without_accents(parts, False, parts.flag("do_lower_case", False)), words=True)


def without_accents(parts: Parts, keep: bool, lower: bool) -> list[Any]:
    plain: list[Any] = [] if keep else [normalizers.NFKD(), normalizers.StripAccents()]
    quotes = [normalizers.Replace(old, new) for old, new in QUOTES]
    return [*quotes, *plain, *([normalizers.Lowercase()] if lower else []), *table(parts)]


def number(parts: Parts, name: str, default: int) -> int:
    """Returns a number: the SentencePiece model's, else that of tokenizer_config.json."""
    value = parts.proto.unk if parts.proto is not None else parts.options.get(name, default)
    return value if isinstance(value, int) else default


def big_bird(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    unk = position(parts, content(roles, "unk"), 100)
    return scored(parts, unk, [normalizers.Replace(Regex(" {2,}"), "▁")], prefix(parts), words=False)


def camembert(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    name = content(roles, "unk")
    unk = next((i for i, (one, _) in enumerate(parts.vocabulary) if one == name), 0)
    return scored(parts, unk, table(parts), prefix(parts), words=True)


def tidy(lower: bool = False) -> list[Any]:
    steps = [normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "), normalizers.NFC(), normalizers.Strip(False, True)]
    return [*([normalizers.Lowercase()] if lower else []), *steps]


def deberta(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    unk = position(parts, content(roles, "unk"), number(parts, "unk_id", 1))
    scheme = prefix(parts, "first")
    tokenizer = scored(parts, unk, tidy(parts.flag("do_lower_case", False)), scheme, words=False)
    if parts.flag("split_by_punct", False):
        marks, space = pre_tokenizers.Punctuation(behavior="isolated"), pre_tokenizers.Metaspace(prepend_scheme=scheme)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([marks, space])
    return tokenizer


def barthez(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    return scored(parts, 3, tidy(), prefix(parts), words=False)


def mbart(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    return scored(parts, 3, [], words=True)


def mbart_50(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    scores: Any = parts.vocabulary
    if not {name for name, _ in scores} & set(MBART_50):
        parts = fairseq(MBART_50, "mask")(parts, roles)
    return scored(parts, 3, [*table(parts), normalizers.Replace(Regex(" {2,}"), " ")], words=False)


def pegasus(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    scores: Any = parts.vocabulary
    if (content(roles, "unk"), 0.0) not in scores[1:]:
        raise UserError(f"the vocabulary of {parts.folder} has no {content(roles, 'unk')}; download it again")
    first = table(parts) or [normalizers.Replace(Regex(r"\n"), " ")]
    unk = scores.index((content(roles, "unk"), 0.0), 1)
    return scored(parts, unk, [*first, normalizers.Replace(Regex(" {2,}"), " ")], words=False)


def t5(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    return scored(parts, 2, table(parts), words=True)


def xlm_roberta(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    return scored(parts, 3, table(parts), prefix(parts), words=True)


def nllb(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer = merged(parts, unk_token=content(roles, "unk"), fuse_unk=True, byte_fallback=False)
    if parts.charsmap:
        tokenizer.normalizer = normalizers.Sequence([*table(parts), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always", split=True)
    return tokenizer


def fairseq(languages: Sequence[str] = (), *ends: str) -> Callable[[Parts, Roles], Parts]:
    """Returns what puts <s>, <pad>, </s> and <unk> before the pieces of a SentencePiece model, and tokens behind."""

    def make(parts: Parts, roles: Roles) -> Parts:
        begin = "cls" if languages is MBART_50 else "bos"
        first: Scores = [(content(roles, role), 0.0) for role in (begin, "pad", "eos", "unk")]
        last = [*languages, *(content(roles, role) for role in ends)]
        scores: Any = parts.vocabulary
        return parts._replace(vocabulary=[*first, *scores[3:], *((name, 0.0) for name in last)])

    return make


def camembert_pieces(parts: Parts, roles: Roles) -> Parts:
    first: Scores = [
        ("<s>NOTUSED", 0.0), (content(roles, "pad"), 0.0), ("</s>NOTUSED", 0.0), (content(roles, "unk"), 0.0),
        ("<unk>NOTUSED", -100.0),
    ]  # fmt: skip
    scores: Any = parts.vocabulary
    return parts._replace(vocabulary=[*first, *scores[1:], (content(roles, "mask"), 0.0)])


def nllb_pieces(parts: Parts, roles: Roles) -> Parts:
    names = [content(roles, role) for role in ("bos", "pad", "eos", "unk")]
    order = dict.fromkeys([*names, *dict(parts.vocabulary)])
    return parts._replace(vocabulary={name: i for i, name in enumerate(order)})


def pegasus_pieces(parts: Parts, roles: Roles) -> Parts:
    """Puts 103 tokens before the pieces, most of them for masks that are never used."""
    roles_of = {role: one.content for role, one in parts.roles.items() if one is not None}
    sentence = parts.options.get("mask_token_sent", "<mask_2>")
    masks = dict.fromkeys([roles_of.get("mask", "<mask_1>"), *([sentence] if isinstance(sentence, str) else [])])
    names = [content(roles, "pad"), content(roles, "eos"), *masks]
    scores: Any = parts.vocabulary
    unused: Scores = [(f"<unk_{i}>", -100.0) for i in range(2, offset(parts))]
    return parts._replace(vocabulary=[*((name, 0.0) for name in names), *unused, *scores[2:]])


def offset(parts: Parts) -> int:
    value = parts.options.get("offset", 103)
    return value if isinstance(value, int) else 103


def pegasus_extra(parts: Parts) -> list[str | AddedToken]:
    sentence = parts.options.get("mask_token_sent", "<mask_1>")
    controls = {str(one.content if isinstance(one, AddedToken) else one) for one in parts.controls or []}
    first = [sentence] if isinstance(sentence, str) and sentence not in controls else []
    return [*first, *(f"<unk_{i}>" for i in range(2, offset(parts)))]


def t5_pieces(parts: Parts, roles: Roles) -> Parts:
    scores: Any = parts.vocabulary
    return parts._replace(vocabulary=[*scores, *((name, 0.0) for name in sentinels(parts)[::-1])])


def sentinels(parts: Parts) -> list[str]:
    count = parts.options.get("extra_ids", 100)
    return [f"<extra_id_{i}>" for i in range(count if isinstance(count, int) else 100)]


def language(parts: Parts, default: str, ids: Callable[[str], int | None]) -> tuple[str, int | None]:
    """Returns the language that a text is written in. Raises UserError where it is none of the vocabulary's."""
    name = parts.options.get("src_lang") or default
    if not isinstance(name, str) or ids(name) is None:
        raise UserError(
            f"{parts.folder} has no token {name!r}, the language that stands beside every text; name one that its "
            f"vocabulary has as src_lang in tokenizer_config.json"
        )
    return name, ids(name)


def mbart_frame(parts: Parts, roles: Roles, ids: Callable[[str], int | None]) -> Any:
    end = content(roles, "eos")
    return frame((end, ids(end)), language(parts, "en_XX", ids), after=2)


def mbart_50_frame(parts: Parts, roles: Roles, ids: Callable[[str], int | None]) -> Any:
    end = content(roles, "eos")
    return frame(language(parts, "en_XX", ids), (end, ids(end)), after=1)


def nllb_frame(parts: Parts, roles: Roles, ids: Callable[[str], int | None]) -> Any:
    end, name = content(roles, "eos"), language(parts, "eng_Latn", ids)
    behind = parts.flag("legacy_behaviour", False)
    return frame((end, ids(end)), name, after=2) if behind else frame(name, (end, ids(end)), after=1)


def ended(parts: Parts, roles: Roles, ids: Callable[[str], int | None]) -> Any:
    return frame((content(roles, "eos"), ids(content(roles, "eos"))), after=1)


def xlnet_frame(parts: Parts, roles: Roles, ids: Callable[[str], int | None]) -> Any:
    names = [content(roles, role) for role in ("sep", "cls")]
    return frame(*((name, ids(name)) for name in names), after=2, types=(0, 2))


def listed(*names: str) -> Callable[[Parts], list[str | AddedToken]]:
    """Returns the control pieces of a SentencePiece model, else these names."""
    return lambda parts: list(names) if parts.controls is None else parts.controls


def mbart_extra(parts: Parts) -> list[str | AddedToken]:
    return [*MBART, *(parts.controls or [])]


def mbart_50_extra(parts: Parts) -> list[str | AddedToken]:
    return [*(parts.controls or []), *MBART_50]


def t5_extra(parts: Parts) -> list[str | AddedToken]:
    return [*(parts.controls or []), *sentinels(parts)]


XLM = roles("<s> </s> <unk> </s> <pad> <s> <mask>")
UNIGRAMS: Mapping[str, Kind] = {
    "AlbertTokenizer": Kind(
        "Unigram", "spiece.model", roles("[CLS] [SEP] <unk> [SEP] <pad> [CLS] [MASK]"), albert, around("cls", "sep")
    ),
    "BigBirdTokenizer": Kind(
        "Unigram", "spiece.model", roles("<s> </s> <unk> [SEP] <pad> [CLS] [MASK]"), big_bird, around("cls", "sep")
    ),
    "CamembertTokenizer": Kind(
        None, "sentencepiece.bpe.model", XLM, camembert, around("bos", "eos"), camembert_pieces,
        listed("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    ),
    "DebertaV2Tokenizer": Kind(
        "Unigram", "spm.model", roles("[CLS] [SEP] [UNK] [SEP] [PAD] [CLS] [MASK]"), deberta, around("cls", "sep")
    ),
    "BarthezTokenizer": Kind(None, "sentencepiece.bpe.model", XLM, barthez),
    "MBartTokenizer": Kind(
        "Unigram", "sentencepiece.bpe.model", XLM, mbart, mbart_frame, fairseq(MBART, "mask"),
        mbart_extra,
    ),
    "MBart50Tokenizer": Kind(
        "Unigram", "sentencepiece.bpe.model", roles("- </s> <unk> </s> <pad> <s> <mask>"), mbart_50, mbart_50_frame,
        fairseq(MBART_50, "mask"), mbart_50_extra,
    ),
    "NllbTokenizer": Kind(
        "BPE", "sentencepiece.bpe.model", XLM, nllb, nllb_frame, nllb_pieces, listed(*NLLB)
    ),
    "PegasusTokenizer": Kind(
        "Unigram", "spiece.model", roles("- </s> <unk> - <pad> - <mask_2>"), pegasus, ended, pegasus_pieces,
        pegasus_extra,
    ),
    "T5Tokenizer": Kind(
        "Unigram", "spiece.model", roles("- </s> <unk> - <pad>"), t5, ended, t5_pieces,
        t5_extra,
    ),
    "XLMRobertaTokenizer": Kind(
        "Unigram", "sentencepiece.bpe.model", XLM, xlm_roberta, around("bos", "eos"), fairseq((), "mask")
    ),
    "XLNetTokenizer": Kind(
        "Unigram", "spiece.model", roles("<s> </s> <unk> <sep> <pad> <cls> <mask>"), xlnet, xlnet_frame,
        extra=listed("<eop>", "<eod>"),
    ),
}  # fmt: skip
