"""One folder gives one answer: what embeds, what loads and what imports read its tokeniser alike, or refuse it."""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.exchange.sentences import SentenceEncoder
from transduce.testing.families import saved
from transduce.text.published import published

from ..text.hf_layouts import BERT, LETTERS, bytes_, layouts, lines, marian, say

transformers: Any = pytest.importorskip("transformers")

TEXTS = ["The Red fox", "café naïve 日本", "hello  world, don't", "ÜNDER", "a"]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 400,
}


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False}, {"strip_accents": False}])
@pytest.mark.parametrize("old", [True, False])
def test_three_ways_to_a_bert_and_transformers(old: bool, options: dict[str, Any], tmp_path: Path) -> None:
    """Vectors were far off where tokenizer_config.json was not asked."""
    folder = tmp_path / "bert"
    saved("BertConfig", "BertModel", {**SMALL, "max_position_embeddings": 48}, folder)
    lines(*BERT)(folder)
    if not old:
        transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
        (folder / "vocab.txt").unlink()
    say(folder, "tokenizer_config", tokenizer_class="BertTokenizer", **options)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = theirs(TEXTS)["input_ids"]
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        vectors = [model(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy() for ids in expected]
    assert main(["import", str(folder), str(tmp_path / "run")]) == 0
    encoder = SentenceEncoder.read(folder)
    assert [row.ids for row in encoder.encode(TEXTS)] == expected
    for where in (folder, tmp_path / "run"):
        loaded = td.load(where, device="cpu")
        assert [loaded.tokenizer.whole(text) for text in TEXTS] == expected
        np.testing.assert_allclose(loaded.embed(TEXTS), vectors, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(TEXTS), vectors, atol=1e-5)
    encoder.write(tmp_path / "copy")
    np.testing.assert_allclose(SentenceEncoder.read(tmp_path / "copy").embed(TEXTS), vectors, atol=1e-5)


ENCODERS = {
    "albert": "Albert", "xlm-r": "XLMRoberta", "deberta-v2": "DebertaV2", "roberta plain": "Roberta",
    "electra": "Electra", "deberta": "Deberta", "big bird": "BigBird", "distil": "DistilBert",
    "camembert": "Camembert", "mpnet": "MPNet",
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
def test_embedding_and_loading_read_the_same_ids(name: str, tmp_path: Path) -> None:
    layout = next(one for one in layouts() if one.name == name)
    layout.make(tmp_path)
    kind = ENCODERS[name]
    shape = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "vocab_size": 400}
    over = shape if name == "distil" else {**SMALL, "max_position_embeddings": 64}
    over |= {"attention_type": "original_full"} if kind == "BigBird" else {}
    over |= {"pad_token_id": 1} if kind == "MPNet" else {}
    over |= {"embedding_size": 8} if kind == "Albert" else {"embedding_size": 16} if kind == "Electra" else {}
    saved(f"{kind}Config", f"{kind}Model", over, tmp_path)
    rows = [row.ids for row in SentenceEncoder.read(tmp_path).encode(TEXTS)]
    loaded = td.load(tmp_path, device="cpu").tokenizer
    assert [loaded.whole(text) for text in TEXTS] == rows
    assert min(map(len, rows)) > 2


def opus(folder: Path) -> Any:
    """A folder as OPUS-MT uploads it, whose model likes <pad> best."""
    folder.mkdir()
    marian(folder)
    say(folder, "tokenizer_config", source_lang="en", target_lang="de", tokenizer_class="MarianTokenizer")
    ids = json.loads((folder / "vocab.json").read_text())
    pad = ids["<pad>"]
    torch.manual_seed(0)
    sizes = {f"{side}_{what}": 2 if "heads" in what else 1 if what == "layers" else 16
             for side in ("encoder", "decoder") for what in ("layers", "attention_heads", "ffn_dim")}  # fmt: skip
    config = transformers.MarianConfig(
        vocab_size=len(ids), d_model=16, max_position_embeddings=64, pad_token_id=pad, eos_token_id=0, bos_token_id=0,
        decoder_start_token_id=pad, forced_eos_token_id=0, init_std=0.5, **sizes,
    )  # fmt: skip
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        model.final_logits_bias[0, pad] = 50.0
    model.save_pretrained(folder)
    say(folder, "generation_config", bad_words_ids=[[pad]], decoder_start_token_id=pad, pad_token_id=pad,
        eos_token_id=0, forced_eos_token_id=0, bos_token_id=0, max_length=20, num_beams=1)  # fmt: skip
    return transformers.MarianMTModel.from_pretrained(folder).eval()


def test_opus_translates_as_it_was_uploaded(tmp_path: Path) -> None:
    theirs = opus(tmp_path / "opus")
    loaded = td.load(tmp_path / "opus", device="cpu")
    tokens = loaded.tokenizer
    for text in ("hello world", "the red fox, x"):
        written = theirs.generate(torch.tensor([tokens.whole(text)]))[0].tolist()
        assert tokens.pad not in written[1:]
        assert loaded.translate(text) == tokens.decode(written)
        assert loaded.translate(text)
    assert tokens.encode_batch(["öß Haus"], answers=True) != tokens.encode_batch(["öß Haus"])
    assert loaded.score([("hello", "öß Haus")])[0].total < 0
    loaded.tokenizer.save(tmp_path / "saved")
    again = type(tokens).load(tmp_path / "saved")
    assert again.encode_batch(["öß Haus"], answers=True) == tokens.encode_batch(["öß Haus"], answers=True)


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [
        (None, ("vocab.json", "merges.txt"), "name no class that reads other files; load it with"),
        (
            "PhobertTokenizer",
            ("vocab.txt", "bpe.codes"),
            "class PhobertTokenizer is read here only from tokenizer.json; load .* save it there",
        ),
        ("BertJapaneseTokenizer", ("vocab.txt",), "class BertJapaneseTokenizer is read here only from tokenizer.json"),
        ("BertTokenizer", (), r"tokenizer\.json, vocab\.txt; download it"),
        ("XLMRobertaTokenizer", ("vocab.txt",), r"tokenizer\.json, sentencepiece\.bpe\.model; download it"),
        ("GPT2Tokenizer", ("vocab.json",), r"tokenizer\.json, vocab\.json with merges\.txt"),
        ("MarianTokenizer", ("source.spm", "vocab.json"), r"only from source\.spm with target\.spm with vocab\.json"),
        ("LlamaTokenizer", ("spiece.model",), r"tokenizer\.json, tokenizer\.model"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(
    kind: str | None, files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    family = {"MarianTokenizer": "marian", None: "falcon"}.get(kind, "roberta")
    say(tmp_path, "config", model_type=family)
    say(tmp_path, "tokenizer_config", tokenizer_class=kind)
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=message) as told:
        published(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("value", ["yes", 1, "false"])
def test_a_setting_that_is_neither_true_nor_false_is_refused(value: Any, tmp_path: Path) -> None:
    lines(*BERT)(tmp_path)
    say(tmp_path, "tokenizer_config", tokenizer_class="BertTokenizer", do_lower_case=value)
    with pytest.raises(UserError, match=r"do_lower_case=.*; it must be true or false"):
        published(tmp_path)


def test_vocabularies_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    lines("[PAD]", "[CLS]", "[SEP]")(tmp_path)
    say(tmp_path, "config", model_type="bert")
    with pytest.raises(UserError, match=r"has no \[UNK\]"):
        published(tmp_path)
    folder = tmp_path / "marian"
    folder.mkdir()
    marian(folder)
    say(folder, "config", model_type="marian")
    say(folder, "vocab", **{name: i + 5 for i, name in enumerate(["</s>", "<unk>", "<pad>", *LETTERS])})
    with pytest.raises(UserError, match="ids that are not 0 to"):
        published(folder)
    bytes_("<s>")(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nno such\n")
    say(tmp_path, "config", model_type="gpt2")
    with pytest.raises(UserError, match="do not fit together"):
        published(tmp_path)


JUNK: list[Any] = [None, True, -1, 10**20, 1e308, "", "x", "<s>", [], {}, ["a", None], {"content": 5}, "\n", [[]]]
KEYS = ["tokenizer_class", "model_type", "added_tokens_decoder", "extra_special_tokens", "src_lang", "vocab", "unk_id"]
KEYS += ["do_lower_case", "additional_special_tokens", "bos_token", "offset", "extra_ids"]


def spoilt(data: Any, random: Random) -> Any:
    """Something somewhere in a JSON file replaced, added or left out."""
    if not isinstance(data, dict | list) or not data or random.random() < 0.3:
        return random.choice(JUNK)
    key = random.choice(list(data)) if isinstance(data, dict) else random.randrange(min(len(data), 40))
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    what = random.random() if isinstance(data, dict) else 1
    if what < 0.15:
        del copy[key]
    elif what < 0.3:
        copy[random.choice(KEYS)] = random.choice(JUNK)
    else:
        copy[key] = spoilt(data[key], random)
    return copy


def test_damaged_folders_are_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    random, read, told = Random(0), 0, list[str]()
    names = [
        "bert, listed",
        "gpt2 framed",
        "xlm-r named",
        "t5 sentinels",
        "opus",
        "m2m",
        "ctrl",
        "llama True 0",
        "nllb",
    ]
    folders = [one.make(tmp_path / one.name) for one in layouts() if one.name in names]
    for folder in folders[:2]:
        transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    for number in range(300):
        folder = tmp_path / str(number)
        shutil.copytree(random.choice(folders), folder)
        path = random.choice(sorted(folder.iterdir()))
        if path.suffix == ".json":
            path.write_text(json.dumps(spoilt(json.loads(path.read_text()), random)))
        else:
            data = bytearray(path.read_bytes())
            data[random.randrange(len(data))] = random.randrange(256)
            path.write_bytes(data[: random.choice([len(data), random.randrange(len(data))])])
        try:
            made = published(folder)
            stream = made.stream()
            for i in made.whole("hello world é日"):
                stream.push(i)
            stream.finish()
            read += 1
        except UserError as error:
            told.append(str(error))
        shutil.rmtree(folder)
    assert read > 50
    assert len(told) > 50
    assert not any("\n" in message for message in told)
