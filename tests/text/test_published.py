"""Every layout that published tokenisers come in, against transformers: the same ids and text, or one sentence.

Special tokens in a text are text here, as with `split_special_tokens=True` in transformers.
"""

import importlib
import json
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from transduce.exchange.families.family import families
from transduce.text.published import published

from .hf_layouts import layouts, say
from .sentencepiece_files import Processor

TEXTS = [
    "", " ", "  ", "hello world", " The Red  fox", "the red fox ", "Hello, World!  ", "\n", "a\nb\n", "tab\tin\t",
    "\r\n", "café naïve", "cafe\u0301 nai\u0308ve", "日本 12 345", "🙂 a🙂🙂", "don't (stop). . 'x'", "12ing..ing", "ß",
    "½ ﬁsh Ｗorld\u3000a", "a" * 40, "``quoted'' text", "</s> inside <s>", "[CLS] a [SEP]", "<unk>", "<mask> the",
    "▁▁a ▁b", "öß haus ößa é ö", "x\u0000y\u200b", "THE RED FOX SEES 1,5", ">>fra<< hello", "<|endoftext|>a",
    "a <sep>b", "a Hello World", "\u00a0hello\u2028the", "a\x1cb",
]  # fmt: skip


@pytest.fixture(scope="module")
def transformers() -> Iterator[Any]:
    """transformers with protobuf alone, and with our plain reading of SentencePiece in place of its library."""
    pytest.importorskip("google.protobuf")
    theirs: Any = pytest.importorskip("transformers")
    slow = importlib.import_module("transformers.convert_slow_tokenizer")

    patch = pytest.MonkeyPatch()
    fake: Any = types.ModuleType("sentencepiece")
    fake.SentencePieceProcessor = Processor
    patch.setitem(sys.modules, "sentencepiece", fake)
    patch.setattr(slow, "requires_backends", lambda *_: None)
    patch.setenv("HF_HUB_OFFLINE", "1")
    theirs.utils.logging.set_verbosity_error()
    yield theirs
    patch.undo()


def theirs_of(transformers: Any, folder: Path) -> Any:
    config = json_of(folder / "config.json")
    options = json_of(folder / "tokenizer_config.json")
    named = options.get("tokenizer_class") or {"marian": "MarianTokenizer", "m2m_100": "M2M100Tokenizer"}.get(
        config["model_type"]
    )
    if named in ("MarianTokenizer", "M2M100Tokenizer"):
        from importlib import import_module

        kind = named.removesuffix("Tokenizer").lower().replace("m2m100", "m2m_100")
        made = getattr(import_module(f"transformers.models.{kind}.tokenization_{kind}"), named)
        return made.from_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def json_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def answer(theirs: Any, text: str) -> list[int]:
    return theirs(text, split_special_tokens=True)["input_ids"]


def text_of(theirs: Any, ids: list[int]) -> str:
    text = theirs.decode(ids, skip_special_tokens=True)
    return text.removesuffix("@@") if type(theirs).__name__ == "CTRLTokenizer" else text  # a word that does not go on


LAYOUTS = {layout.name: layout for layout in layouts()}


def same(theirs: Any, folder: Path) -> None:
    ours = published(folder)
    for text in TEXTS:
        expected = answer(theirs, text)
        assert ours.whole(text) == expected, (
            text,
            ours.tokenizer.encode(text).tokens,
            theirs.convert_ids_to_tokens(expected),
        )
        assert ours.decode(expected) == text_of(theirs, expected), (text, expected)


def test_every_family_has_a_layout() -> None:
    assert {family.model_type for family in families() if not (family.sees or family.hears)} - {
        "decision_transformer"
    } <= {layout.family for layout in LAYOUTS.values()}


@pytest.mark.filterwarnings("ignore:Recommended")
@pytest.mark.parametrize("name", LAYOUTS)
def test_files_older_than_tokenizer_json(name: str, transformers: Any, tmp_path: Path) -> None:
    folder = LAYOUTS[name].make(tmp_path / "a")
    same(theirs_of(transformers, folder), folder)


PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast"}
CASES: list[dict[str, Any]] = [
    {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False}, {"strip_accents": True, **PLAIN},
    {"tokenize_chinese_chars": False, "do_lower_case": False, "strip_accents": True},
]  # fmt: skip
SPACES: list[dict[str, Any]] = [{"add_prefix_space": True}, {"add_prefix_space": False}]
FRAMES: list[dict[str, Any]] = [{"add_bos_token": True, "add_eos_token": True}, {"bos_token": "!", **PLAIN}]
LEGACY: list[dict[str, Any]] = [{"legacy": True}, {"legacy": False}]
# What is said in tokenizer_config.json against a tokenizer.json, by the layout that this was written from.
OVERRULED: dict[str, list[dict[str, Any]]] = {
    "bert plain": CASES, "distil": CASES, "mpnet": CASES, "electra": CASES[:2], "herbert": CASES[:1],
    "roberta plain": [*SPACES, *FRAMES], "bart named": SPACES, "gpt2 plain": [*SPACES, *FRAMES],
    "phi": [*SPACES, *FRAMES],
    "opt": [*SPACES, *FRAMES], "neox": [*SPACES, *FRAMES], "qwen3": SPACES, "cohere": SPACES, "deberta": SPACES,
    "gpt named": CASES[:1], "llama True 0": [*SPACES, *LEGACY, *FRAMES], "llama False 0": [*SPACES, *LEGACY],
    "mistral True": [*SPACES, *LEGACY], "gemma": [*SPACES, *FRAMES], "xlm-r": SPACES, "xlm-r, no table": SPACES,
    "albert": [*SPACES, {"do_lower_case": False, "keep_accents": True}, {"keep_accents": True}], "big bird": SPACES,
    "camembert": SPACES, "t5": [{"extra_ids": 7}, PLAIN], "pegasus": [{"offset": 5}], "barthez": SPACES,
    "xlnet": [{"do_lower_case": True}, {"keep_accents": True}, {"unk_id": 1}], "mbart": [{"src_lang": "de_DE"}],
    "mbart 50": [{"src_lang": "de_DE"}, {"legacy_behaviour": True}], "nllb": [{"legacy_behaviour": True}],
    "smollm": [{"tokenizer_class": "LlamaTokenizerFast"}, {"tokenizer_class": "LlamaTokenizer", "legacy": False}],
    "deberta-v2": [*SPACES, {"do_lower_case": True}, {"split_by_punct": True}],
}  # fmt: skip


@pytest.mark.parametrize("name", OVERRULED)
def test_tokenizer_config_overrules_tokenizer_json(name: str, transformers: Any, tmp_path: Path) -> None:
    theirs_of(transformers, LAYOUTS[name].make(tmp_path / "old")).save_pretrained(tmp_path / "new")
    shutil.copy(tmp_path / "old" / "config.json", tmp_path / "new")
    file = json_of(tmp_path / "new" / "tokenizer.json")
    said = json_of(tmp_path / "new" / "tokenizer_config.json")
    own = [file["normalizer"]] if file["normalizer"] else []
    steps = own[0]["normalizers"] if own and own[0]["type"] == "Sequence" else own
    odd = {**file, "normalizer": {"type": "Sequence", "normalizers": [*steps, {"type": "Lowercase"}]}}
    tidy = {"clean_up_tokenization_spaces": True}
    for i, options in enumerate(({}, tidy, *OVERRULED[name], {**OVERRULED[name][0], **tidy}, None)):
        for j, data in enumerate((file, odd)):
            folder = tmp_path / f"{i} {j}"
            folder.mkdir()
            shutil.copy(tmp_path / "old" / "config.json", folder)
            (folder / "tokenizer.json").write_text(json.dumps(data))
            if options is not None:
                say(folder, "tokenizer_config", **{**said, **options})
            elif name in ("herbert", "barthez", "nllb"):  # without its name, another class reads the file
                continue
            same(theirs_of(transformers, folder), folder)


def test_ids_that_come_one_at_a_time_give_the_text_of_all(tmp_path: Path) -> None:
    random = Random(0)
    for name, layout in LAYOUTS.items():
        made = published(layout.make(tmp_path / name))
        short = [i for i in range(made.vocab_size) if i not in made.silent]
        bytes_ = [i for byte in range(128, 256) if (i := made.tokenizer.token_to_id(f"<0x{byte:02X}>")) is not None]
        for _ in range(25):
            some = random.choice([short, bytes_ or short, short[:40]])
            ids = [random.choice(random.choice([some, short])) for _ in range(random.randrange(12))]
            stream = made.stream()
            assert "".join(map(stream.push, ids)) + stream.finish() == made.decode(ids), (name, ids)
