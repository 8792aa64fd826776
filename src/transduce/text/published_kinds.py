"""The tokenisers of transformers 5 that cut text into bytes, word pieces or merged letters, class by class."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from transduce.text.published_parts import STANDARD, Parts, frame

Roles = Mapping[str, AddedToken]
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
END = "<|endoftext|>"


class Kind(NamedTuple):
    """A class of transformers.

    model: the kind of model it expects of tokenizer.json; None: whatever the SentencePiece model is.
    files: the vocabulary it reads where tokenizer.json is missing: a SentencePiece model, vocab.json or vocab.txt.
    roles: special tokens where the folder names none.
    build: makes the tokeniser, without added tokens and without a frame.
    frame: what stands around a text, of ids by token; None: what add_bos_token and add_eos_token say.
    from_pieces: makes the vocabulary of a SentencePiece model that of the class.
    extra: further special tokens, unless the folder lists its own.
    """

    model: str | None
    files: str
    roles: Mapping[str, str]
    build: Callable[[Parts, Roles], tokenizers.Tokenizer]
    frame: Callable[[Parts, Roles, Callable[[str], int | None]], Any] | None = None
    from_pieces: Callable[[Parts, Roles], Parts] = lambda parts, roles: parts
    extra: Callable[[Parts], list[str | AddedToken]] = lambda parts: parts.controls or []


def roles(values: str) -> dict[str, str]:
    """Returns special tokens by role, of words in the order of `STANDARD`; "-": the class has none of this role."""
    return {role: word for role, word in zip(STANDARD, values.split(), strict=False) if word != "-"}


def around(before: str, after: str) -> Callable[[Parts, Roles, Callable[[str], int | None]], Any]:
    """Returns a frame of one token before and one after a text, by role."""

    def make(parts: Parts, roles: Roles, ids: Callable[[str], int | None]) -> Any:
        names = [(roles[role].content, ids(roles[role].content)) for role in (before, after) if role in roles]
        return frame(*names, after=int(after in roles))

    return make


def merged(parts: Parts, **options: Any) -> tokenizers.Tokenizer:
    """Returns a tokeniser that merges pairs."""
    return tokenizers.Tokenizer(models.BPE(parts.vocabulary, parts.merges, **options))


def byte_level(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    """Returns byte-level BPE.   Radford et al. 2019."""
    tokenizer = merged(parts, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=parts.flag("add_prefix_space", False))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def neox(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer = byte_level(parts, roles)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def cohere(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer, space = neox(parts, roles), parts.flag("add_prefix_space", False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=space)])
    return tokenizer


def qwen(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer = neox(parts, roles)
    space = parts.flag("add_prefix_space", False)
    words = pre_tokenizers.Split(Regex(QWEN), behavior="isolated", invert=False)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_])
    return tokenizer


def llama(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer, space = merged(parts, fuse_unk=True, byte_fallback=True), parts.flag("add_prefix_space", True)
    scheme = ("always" if parts.options.get("legacy") else "first") if space else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *([decoders.Strip(content=" ", left=1)] if space else [])])
    return tokenizer


def gemma(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer = merged(parts, fuse_unk=True, unk_token=content(roles, "unk"), byte_fallback=True)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def gpt(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    """Returns BPE over lower-cased words, whose ends are marked.   Radford et al. 2018."""
    tokenizer = ends_marked(parts, roles, continuing_subword_prefix="", fuse_unk=False)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    return tokenizer


def herbert(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    tokenizer = ends_marked(parts, roles)
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=False, strip_accents=False, clean_text=True, handle_chinese_chars=True
    )
    return tokenizer


def ends_marked(parts: Parts, roles: Roles, **options: Any) -> tokenizers.Tokenizer:
    tokenizer = merged(parts, end_of_word_suffix="</w>", unk_token=content(roles, "unk"), **options)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.BPEDecoder(suffix="</w>")
    return tokenizer


def word_pieces(parts: Parts, roles: Roles) -> tokenizers.Tokenizer:
    """Returns WordPiece as BERT has it.   Devlin et al. 2019."""
    if content(roles, "unk") not in parts.vocabulary:
        raise ValueError(f"it has no {content(roles, 'unk')}")
    tokenizer = tokenizers.Tokenizer(models.WordPiece(parts.vocabulary, unk_token=content(roles, "unk")))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=parts.flag("tokenize_chinese_chars", True),
        strip_accents=parts.options.get("strip_accents"), lowercase=parts.flag("do_lower_case", True),
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def content(roles: Roles, role: str) -> str:
    return roles[role].content if role in roles else "None"


BERT = roles("- - [UNK] [SEP] [PAD] [CLS] [MASK]")
KINDS: Mapping[str, Kind] = {
    "BertTokenizer": Kind("WordPiece", "vocab.txt", BERT, word_pieces, around("cls", "sep")),
    "MPNetTokenizer": Kind(
        "WordPiece", "vocab.txt", roles("<s> </s> [UNK] </s> <pad> <s> <mask>"), word_pieces, around("cls", "sep")
    ),
    "RobertaTokenizer": Kind(
        "BPE", "vocab.json", roles("<s> </s> <unk> </s> <pad> <s> <mask>"), byte_level, around("cls", "sep")
    ),
    "DebertaTokenizer": Kind(
        "BPE", "vocab.json", roles("[CLS] [SEP] [UNK] [SEP] [PAD] [CLS] [MASK]"), byte_level, around("cls", "sep")
    ),
    "GPT2Tokenizer": Kind("BPE", "vocab.json", roles(f"{END} {END} {END}"), byte_level),
    "CodeGenTokenizer": Kind("BPE", "vocab.json", roles(f"{END} {END} {END}"), byte_level),
    "WhisperTokenizer": Kind("BPE", "vocab.json", roles(f"{END} {END} {END}"), byte_level),
    "GPTNeoXTokenizer": Kind("BPE", "vocab.json", roles(f"{END} {END} {END} - <|padding|>"), neox),
    "CohereTokenizer": Kind(
        "BPE", "vocab.json",
        roles("<BOS_TOKEN> <|END_OF_TURN_TOKEN|> <UNK> <SEP> <PAD> <CLS> <MASK_TOKEN>"), cohere,
    ),
    "Qwen2Tokenizer": Kind("BPE", "vocab.json", roles(f"- {END} {END} - {END}"), qwen),
    "LlamaTokenizer": Kind("BPE", "tokenizer.model", roles("<s> </s> <unk>"), llama),
    "GemmaTokenizer": Kind("BPE", "tokenizer.model", roles("<bos> <eos> <unk> - <pad> - <mask>"), gemma),
    "OpenAIGPTTokenizer": Kind("BPE", "vocab.json", roles("- - <unk>"), gpt),
    "HerbertTokenizer": Kind(
        "BPE", "vocab.json", roles("- - <unk> </s> <pad> <s> <mask>"), herbert, around("cls", "sep")
    ),
}  # fmt: skip
