"""Folders with tokenisers, in every layout that published checkpoints have, over tiny vocabularies."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tokenizers import Tokenizer as Raw
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from transduce.text.languages import M2M_100

from .sentencepiece_files import BPE, BYTE, CONTROL, UNIGRAM, UNKNOWN, USER, charsmap, model, piece

LINES = ["the red fox sees a small house by the sea", "The Hello World, don't café naïve Ünder", "12 345 a.b (c)"] * 9
LETTERS = "▁abcdefghilmnorstuvwxyzTHWU0123456789.,'!-()[]<>/_éü"
WORDS = ["▁the", "▁hello", "▁wor", "ld", "▁red", "fo", "x", "▁a", "ing", "▁H", "ello", "1,", "▁12", "..", "é", "▁éa"]
TABLE = charsmap({"\t": " ", "\n": " ", "\u3000": " ", "ﬁ": "fi", "e\u0301": "é", "Ｗ": "W", "½": "1/2"})
END = "<|endoftext|>"
Write = Callable[[Path], None]


class Layout(NamedTuple):
    """A folder. family: model_type; write: makes the vocabulary files.

    options: what tokenizer_config.json says; None: there is no such file.
    config: what else config.json says.
    """

    name: str
    family: str
    write: Write
    options: dict[str, Any] | None = None
    config: Mapping[str, Any] = MappingProxyType({})

    def make(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        say(folder, "config", model_type=self.family, **self.config)
        self.write(folder)
        if self.options is not None:
            say(folder, "tokenizer_config", **self.options)
        return folder


def say(folder: Path, name: str, **values: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(values))


def spm(
    name: str, first: str, kind: int = UNIGRAM, table: bytes = TABLE, bytes_: bool = False, more: str = ""
) -> Write:
    """A SentencePiece model. first: special pieces, of which "<unk>" is unknown; a leading "+" defines by user."""

    def write(folder: Path) -> None:
        words, pieces, seen = first.split(), list[bytes](), set[str]()
        for word in words:
            what = UNKNOWN if word.strip("+") in ("<unk>", "[UNK]") else USER if word.startswith("+") else CONTROL
            seen.add(word.strip("+"))
            pieces.append(piece(word.strip("+"), 0.0, what))
        unk = next(i for i, word in enumerate(words) if word in ("<unk>", "[UNK]"))
        if bytes_:
            pieces += [piece(f"<0x{b:02X}>", 0.0, BYTE) for b in range(256)]
        normal = [*merged(), *LETTERS] if kind == BPE else [*WORDS, *LETTERS, *more]
        for i, text in enumerate(dict.fromkeys(normal)):
            if text not in seen:
                pieces.append(piece(text, -1.0 * i if kind == BPE else -2.0 - 3 * (len(text) == 1) - i / 40))
        (folder / name).write_bytes(model(kind, pieces, charsmap=table, bytes_=bytes_, unk=unk))

    return write


def merged() -> list[str]:
    return ["he", "▁t", "▁the", "ll", "llo", "hello", "▁hello", "re", "▁re", "▁red", "12", "▁W", "▁H", "▁Hello", "ox"]


@cache
def pairs(specials: tuple[str, ...], suffix: str | None = None) -> tuple[dict[str, int], list[tuple[str, str]]]:
    made = Raw(models.BPE(end_of_word_suffix=suffix) if suffix else models.BPE())
    trainer: dict[str, Any] = {"vocab_size": 340 if suffix is None else 120, "show_progress": False}
    if suffix is None:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    else:
        made.pre_tokenizer, trainer["end_of_word_suffix"] = pre_tokenizers.WhitespaceSplit(), suffix
    texts = LINES if suffix is None else [line.lower() for line in LINES]
    made.train_from_iterator(texts, trainers.BpeTrainer(special_tokens=list(specials), **trainer))
    data = json.loads(made.to_str())["model"]
    return data["vocab"], [tuple(pair) for pair in data["merges"]]


def bytes_(*specials: str) -> Write:
    return lambda folder: write_pairs(folder, *pairs(specials))


def whole(*specials: str) -> Write:
    """A tokenizer.json alone, with a frame of its own."""

    def write(folder: Path) -> None:
        ids, merges = pairs(specials)
        made = Raw(models.BPE(ids, merges))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.decoder = decoders.ByteLevel()
        made.post_processor = processors.TemplateProcessing(f"{specials[0]} $A", None, [(specials[0], 0)])
        made.add_special_tokens(list(specials))
        made.save(str(folder / "tokenizer.json"))

    return write


def words(*specials: str) -> Write:
    return lambda folder: write_pairs(folder, *pairs(specials, "</w>"))


def write_pairs(folder: Path, ids: dict[str, int], merges: list[tuple[str, str]]) -> None:
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), "utf-8")


def ctrl(folder: Path) -> None:
    ids, merges = pairs(("<unk>",), "</w>")
    names = [name[:-4] if name.endswith("</w>") else name if name == "<unk>" else f"{name}@@" for name in ids]
    kept = [name for i, name in enumerate(names) if i < 20 or i % 9]  # some pieces have no row
    write_pairs(folder, {name: i for i, name in enumerate(kept)}, merges)


def lines_of(specials: Sequence[str]) -> list[str]:
    rest = ["the", "red", "fox", "hello", "world", "##s", "##ing", "cafe", "café", "naive", "日", "The", "Hello"]
    rest += [*"abcdefghijklmnopqrstuvwxyzTHW0123456789.,'!?-()[]<>/é"]
    return list(dict.fromkeys([*specials, *rest, *(f"##{c}" for c in "abcdefhilnorstué0123456789")]))


def lines(*specials: str) -> Write:
    def write(folder: Path) -> None:
        (folder / "vocab.txt").write_text("\n".join(lines_of(specials)) + "\n")

    return write


def both(*writes: Write) -> Write:
    def write(folder: Path) -> None:
        for one in writes:
            one(folder)

    return write


def marian(folder: Path) -> None:
    spm("source.spm", "<unk> <s> </s>", table=b"")(folder)
    spm("target.spm", "<unk> <s> </s>", table=b"", more="öß日")(folder)
    target = ["▁Haus", "ö", "ß", "▁öß", "日"]
    names = ["</s>", "<unk>", *dict.fromkeys([*WORDS[::-1], *target, *LETTERS]), ">>fra<<", "<pad>"]
    kept = [name for name in names if name not in ("ing", "▁12")]
    say(folder, "vocab", **{name: i for i, name in enumerate(kept)})


def m2m(folder: Path) -> None:
    spm("sentencepiece.bpe.model", "<unk> <s> </s>", BPE, table=b"")(folder)
    names = ["<s>", "<pad>", "</s>", "<unk>", *dict.fromkeys([*reversed(LETTERS), *merged()])]
    say(folder, "vocab", **{name: i for i, name in enumerate(names)})


BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
XLM = "<unk> <s> </s>"
XLNET = "<unk> <s> </s> <cls> <sep> <pad> <mask> <eod> <eop>"
T5 = "<pad> </s> <unk>"
LLAMA = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def layouts() -> Iterator[Layout]:
    """Every model_type with the files that its published checkpoints came with before tokenizer.json."""
    yield from berts()
    yield from byte_levels()
    yield from unigrams()
    yield from llamas()
    yield Layout("ctrl", "ctrl", ctrl)
    yield Layout("ctrl named", "ctrl", ctrl, {"tokenizer_class": "CTRLTokenizer"})
    yield Layout("gpt", "openai-gpt", words("<unk>"))
    yield Layout("gpt named", "openai-gpt", words("<unk>"), {"tokenizer_class": "OpenAIGPTTokenizer"})
    yield Layout(
        "opus", "marian", marian, {"source_lang": "en", "target_lang": "de", "tokenizer_class": "MarianTokenizer"}
    )
    yield Layout("opus without a class", "marian", marian, {"model_max_length": 512})
    codes = {"additional_special_tokens": [f"__{code}__" for code in M2M_100]}
    yield Layout("m2m", "m2m_100", m2m, {"src_lang": "fr", "tokenizer_class": "M2M100Tokenizer", **codes})
    yield Layout("m2m with a map", "m2m_100", both(m2m, lambda folder: say(folder, "special_tokens_map", **codes)))
    nllb = spm("sentencepiece.bpe.model", XLM, BPE)
    languages = {"additional_special_tokens": ["eng_Latn", "deu_Latn"], "tokenizer_class": "NllbTokenizer"}
    yield Layout("nllb", "m2m_100", nllb, languages)
    yield Layout("nllb, behind", "m2m_100", nllb, {**languages, "legacy_behaviour": True, "src_lang": "deu_Latn"})


def beside(**files: dict[str, Any]) -> Write:
    def write(folder: Path) -> None:
        for name, values in files.items():
            say(folder, name, **values)

    return write


def berts() -> Iterator[Layout]:
    for family in ("bert", "distilbert", "electra"):
        yield Layout(f"{family} plain", family, lines(*BERT))
    yield Layout(
        "distil", "distilbert", lines(*BERT), {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}
    )
    yield Layout("electra", "electra", lines(*BERT), {"tokenizer_class": "ElectraTokenizer", "do_lower_case": True})
    for i, options in enumerate((
        {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False}, {"tokenize_chinese_chars": False},
        {"do_lower_case": False, "strip_accents": True}, {"cls_token": "[SEP]", "sep_token": "[CLS]"},
        {"do_lower_case": False, "added_tokens_decoder": {"0": {"content": "[PAD]", "special": True}}},
    )):  # fmt: skip
        yield Layout(f"bert {i}", "bert", lines(*BERT), {"tokenizer_class": "BertTokenizer", **options})
    roles = {"cls_token": {"content": "the", "lstrip": True, "rstrip": False}, "additional_special_tokens": ["red"]}
    yield Layout("bert, a map", "bert", both(lines(*BERT), beside(special_tokens_map=roles)), {"cls_token": "fox"})
    number = len(lines_of(BERT))
    mine = {"[NEW]": number, "hello world": number + 1}
    yield Layout("bert, added", "bert", both(lines(*BERT), beside(added_tokens=mine)))
    listed = {str(i): {"content": name, "special": i == number} for name, i in mine.items()}
    yield Layout("bert, listed", "bert", lines(*BERT), {"added_tokens_decoder": listed, "cls_token": "[NEW]"})
    one = {"0": {"content": "[PAD]", "special": True}}
    both_say = both(lines(*BERT), beside(special_tokens_map={"cls_token": "the"}))
    yield Layout("bert, a map too many", "bert", both_say, {"added_tokens_decoder": one, "cls_token": "fox"})
    mpnet = lines("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    yield Layout("mpnet", "mpnet", mpnet)
    yield Layout("mpnet cased", "mpnet", mpnet, {"tokenizer_class": "MPNetTokenizer", "do_lower_case": False})
    yield Layout(
        "herbert", "bert", words("<s>", "<pad>", "</s>", "<unk>", "<mask>"), {"tokenizer_class": "HerbertTokenizer"}
    )


def byte_levels() -> Iterator[Layout]:
    for family in ("roberta", "bart"):
        yield Layout(f"{family} plain", family, bytes_(*ROBERTA))
        yield Layout(f"{family} spaced", family, bytes_(*ROBERTA), {"add_prefix_space": True})
    yield Layout("bart named", "bart", bytes_(*ROBERTA), {"tokenizer_class": "BartTokenizer"})
    for family in ("gpt2", "gpt_neo", "gptj", "phi"):
        yield Layout(f"{family} plain", family, bytes_(END))
        yield Layout(
            f"{family} spaced", family, bytes_(END), {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}
        )
    yield Layout("phi", "phi", bytes_(END), {"tokenizer_class": "CodeGenTokenizer"})
    yield Layout("gpt2 framed", "gpt2", bytes_(END), {"add_bos_token": True, "add_eos_token": True})
    yield Layout("smollm", "llama", bytes_(END), {"tokenizer_class": "GPT2Tokenizer"})
    for family, kind in (("bloom", "BloomTokenizerFast"), ("falcon", "PreTrainedTokenizerFast"), ("smollm3", None)):
        yield Layout(family, family, whole(END, "<pad>"), {"tokenizer_class": kind} if kind else None)
        yield Layout(f"{family} spaced", family, whole(END), {"add_prefix_space": True, "add_bos_token": False})
    opt = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "bos_token": "</s>", "eos_token": "</s>"}
    yield Layout("opt", "opt", bytes_(*ROBERTA), {**opt, "unk_token": "</s>", "pad_token": "<pad>"})
    yield Layout("neox", "gpt_neox", bytes_(END, "<|padding|>"))
    yield Layout(
        "neox framed",
        "gpt_neox",
        bytes_(END, "<|padding|>"),
        {"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": True},
    )
    for family in ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"):
        yield Layout(
            family, family, bytes_(END, "<|im_start|>"), {"tokenizer_class": "Qwen2Tokenizer", "pad_token": END}
        )
    yield Layout("qwen misnamed", "qwen2", bytes_(END), {"tokenizer_class": "GPT2Tokenizer"})
    yield Layout("qwen plain", "qwen2", bytes_(END))
    for family in ("cohere", "cohere2"):
        yield Layout(
            family,
            family,
            bytes_("<PAD>", "<UNK>", "<CLS>", "<SEP>", "<MASK_TOKEN>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
            {"tokenizer_class": "CohereTokenizer", "add_bos_token": True},
        )
    yield Layout("deberta", "deberta", bytes_(*BERT), {"do_lower_case": False, "vocab_type": "gpt2"})
    yield Layout("deberta plain", "deberta", bytes_(*BERT))


def unigrams() -> Iterator[Layout]:
    albert = spm("spiece.model", "<pad> <unk> +[CLS] +[SEP] +[MASK]")
    yield Layout("albert", "albert", albert)
    yield Layout("albert cased", "albert", albert, {"tokenizer_class": "AlbertTokenizer", "do_lower_case": False})
    yield Layout("albert framed", "albert", albert, {"add_bos_token": True, "add_eos_token": False})
    yield Layout("albert accents", "albert", albert, {"keep_accents": True, "add_prefix_space": False})
    yield Layout("big bird", "big_bird", spm("spiece.model", "<pad> </s> <s> <unk> +[CLS] +[SEP] +[MASK]"))
    for name, table in (("", TABLE), (", no table", b"")):
        yield Layout(f"xlm-r{name}", "xlm-roberta", spm("sentencepiece.bpe.model", XLM, table=table))
        yield Layout(f"camembert{name}", "camembert", spm("sentencepiece.bpe.model", XLM, table=table))
        yield Layout(f"t5{name}", "t5", spm("spiece.model", T5, table=table))
        yield Layout(f"pegasus{name}", "pegasus", spm("spiece.model", T5, table=table))
        yield Layout(
            f"xlnet{name}",
            "xlnet",
            spm("spiece.model", "<unk> <s> </s> <cls> <sep> <pad> <mask> <eod> <eop>", table=table),
        )
    yield Layout(
        "xlm-r named",
        "xlm-roberta",
        spm("sentencepiece.bpe.model", XLM),
        {"tokenizer_class": "XLMRobertaTokenizer", **TOKENS},
    )
    yield Layout(
        "camembert named", "camembert", spm("sentencepiece.bpe.model", XLM), {"tokenizer_class": "CamembertTokenizer"}
    )
    for family in ("t5", "mt5", "switch_transformers"):
        yield Layout(
            f"{family} in config",
            family,
            spm("spiece.model", T5),
            {"extra_ids": 7},
            {"tokenizer_class": "T5Tokenizer"},
        )
    sentinels = {"additional_special_tokens": [f"<extra_id_{i}>" for i in range(100)]}
    yield Layout(
        "t5 sentinels",
        "t5",
        spm("spiece.model", T5),
        {**sentinels, "tokenizer_class": "T5TokenizerFast"},
    )
    yield Layout(
        "xlnet lower",
        "xlnet",
        spm("spiece.model", "<unk> <s> </s> <cls> <sep> <pad> <mask> <eod> <eop>"),
        {"do_lower_case": True},
    )
    yield Layout("t5 tidy", "t5", spm("spiece.model", T5), {"clean_up_tokenization_spaces": True})
    yield Layout("bert tidy", "bert", lines(*BERT), {"clean_up_tokenization_spaces": True})
    deberta = spm("spm.model", "[PAD] [CLS] [SEP] [UNK]")
    yield Layout("deberta-v2", "deberta-v2", deberta)
    yield Layout(
        "deberta-v3", "deberta-v2", deberta, {"do_lower_case": True, "split_by_punct": True, "add_prefix_space": False}
    )
    mbart = spm("sentencepiece.bpe.model", XLM)
    yield Layout("mbart", "mbart", mbart)
    yield Layout("mbart de", "mbart", mbart, {"tokenizer_class": "MBartTokenizer", "src_lang": "de_DE"})
    yield Layout("mbart 50", "mbart", mbart, {"tokenizer_class": "MBart50Tokenizer", "src_lang": "sl_SI"})
    yield Layout("barthez", "mbart", mbart, {"tokenizer_class": "BarthezTokenizer"})


def llamas() -> Iterator[Layout]:
    for bytes_, first in ((True, "<unk> <s> </s>"), (False, "<unk> <s> </s> +<sep>")):
        write = spm("tokenizer.model", first, BPE, b"", bytes_)
        yield Layout(f"llama {bytes_}", "llama", write)
        for i, options in enumerate(({}, {"legacy": True}, {"add_prefix_space": False}, {"add_eos_token": True})):
            yield Layout(
                f"llama {bytes_} {i}",
                "llama",
                write,
                {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, **TOKENS, **options},
            )
        for family in ("mistral", "mixtral", "phi3"):
            yield Layout(
                f"{family} {bytes_}",
                family,
                write,
                {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, **TOKENS},
            )
    for family in ("gemma", "gemma2", "gemma3_text"):
        write = spm("tokenizer.model", "<pad> <eos> <bos> <unk> +<mask> +<start_of_turn>", BPE, b"", True)
        yield Layout(
            family, family, write, {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<bos>"}
        )
        yield Layout(f"{family} plain", family, write)
