"""`transduce embed` on a tiny random encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from transduce.exchange.sentences import SentenceEncoder
from transduce.testing.families import saved

pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    options = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    saved("BertConfig", "BertModel", {**options, "vocab_size": 9, "initializer_range": 0.5}, tmp_path / "encoder")
    words = {word: i for i, word in enumerate(["[UNK]", "red", "dog", "cat", "runs", "sleeps"])}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "encoder/tokenizer.json"))
    return tmp_path / "encoder"


def test_lines_and_arguments_and_files(cli, folder: Path, tmp_path: Path) -> None:
    expected = SentenceEncoder.read(folder).embed(["red dog", "cat sleeps"])
    found = cli("embed", folder, stdin=b"red dog\ncat sleeps\n")
    assert "mean pooling" in found.err
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert [row["text"] for row in rows] == ["red dog", "cat sleeps"]
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], np.float32), expected)
    assert cli("embed", folder, "red dog", "cat sleeps").out == found.out
    Path("lines.txt").write_text("red dog\ncat sleeps\n", "utf-8")
    assert cli("embed", folder, "--file", "lines.txt", "--out", "x.npy").code == 0
    np.testing.assert_array_equal(np.load("x.npy"), expected)
    assert cli("embed", folder, "--file", "lines.txt", "--out", "x.jsonl").out == ""
    assert Path("x.jsonl").read_text("utf-8") == found.out


def test_search_prints_the_nearest_first(cli, folder: Path) -> None:
    found = cli("embed", folder, "--search", "dog runs", "--top", "2", stdin=b"cat sleeps\n\ndog runs\nred cat\n")
    first, second = (line.split("\t") for line in found.out.splitlines())
    assert first == ["1.0000", "3", "dog runs"]
    assert float(second[0]) < 1
    assert second[2]


def test_what_cannot_be_is_told(cli, folder: Path) -> None:
    assert "must end in .npy or .jsonl" in cli("embed", folder, "a", "--out", "x.pt").err
    assert "give one of them" in cli("embed", folder, "a", "--file", "b").err
    assert "nothing is written" in cli("embed", folder, "a", "--search", "b", "--out", "x.npy").err
    assert "is not a model itself, but holds models (encoder); give one of them" in cli("embed", folder.parent, "a").err
    assert "text 2 has no tokens" in cli("embed", folder, "dog", "").err
