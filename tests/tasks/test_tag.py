"""Tagging: words and their tokens, any body, long texts, files, and what is wrong in one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.framed import Frame
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.data.readers.tags import Tags
from transduce.errors import UserError
from transduce.tasks.tag import TagConfig, Tagging, aligned, firsts_of, parts
from transduce.text.bpe import Bpe
from transduce.text.byte import Byte
from transduce.text.char import Char
from transduce.text.unigram import Unigram
from transduce.text.word import Word

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 24,
    "batch.max_length": 40, "batch.batch_tokens": 512, "optimizer.learning_rate": 0.02, "schedule.warmup_steps": 2,
    "train.max_steps": 60, "train.validate_every": 30, "train.threads": 1, "train.device": "cpu", "train.ema": None,
    "model.residual.dropout": 0.0,
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "encoder": {"model.mixer.heads": 2, "model.positions": {"kind": "learned", "limit": 40}},
    "decoder": {"model.kind": "decoder", "model.mixer.heads": 2, "model.head": {"kind": "token-classes"}},
    "lstm": {"model.mixer": "lstm", "model.positions": "none"},
    "gated-delta": {"model.mixer": {"kind": "gated-delta", "heads": 2}, "model.positions": "none"},
}
NAMES, OTHERS = ("Xa", "Xbb", "Xcab"), ("a", "bb", "cab", "ba")


def sentence(i: int) -> tuple[list[str], list[str]]:
    """Names begin with X, and go on with words that begin with Y."""
    words = [OTHERS[i % 4]]
    for k in range(1 + i % 3):
        words += [NAMES[(i + k) % 3], *(["Ya", "Ybb"][: (i + k) % 3]), OTHERS[(i + k) % 4]]
    return words, [{"X": "B-per", "Y": "I-per"}.get(word[0], "O") for word in words]


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marked")
    for split, rows in (("train", range(80)), ("valid", range(80, 100))):
        text = "\n".join("".join(f"{w}\t{t}\n" for w, t in zip(*sentence(i), strict=True)) for i in rows)
        (folder / f"{split}.conll").write_text(text)
    return folder


@pytest.fixture(scope="session")
def run(marked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"data.path": str(marked), **SMALL, **BODIES["encoder"]}
    return td.train("tag", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_it_learns_and_says_what_it_measured(run: Path) -> None:
    model = td.load(run, device="cpu")
    (one,) = model.tag(["a Xbb Ya bb."])
    assert isinstance(one, Tagging)
    assert one.words == ("a", "Xbb", "Ya", "bb", ".")
    assert one.tags[:4] == ("O", "B-per", "I-per", "O")
    assert one.entities[0] == ("per", "Xbb Ya", 2, 8)
    assert all(0 < share <= 1 for share in one.probabilities)
    assert model.tag([["a", "Xbb", "Ya", "bb"]])[0].tags == one.tags[:4]
    assert model.tag([]) == []
    assert model.tag(["", " "]) == [Tagging((), (), (), ())] * 2
    measured = model.evaluate("valid").values
    assert measured["entity-f1"].value > 0.9
    assert measured["entity-f1"].baseline == ("marking nothing", 0.0)
    assert measured["entity-f1"].low is not None
    assert "precision" in measured["entity-f1"].note
    assert json.loads((run / "result.json").read_text())["metric"] == "entity-f1"
    assert json.loads((run / "readers/tags.json").read_text())["names"] == ["B-per", "I-per", "O"]


@pytest.mark.parametrize("body", ["decoder", "lstm", "gated-delta"])
def test_every_body_tags_a_text_alone_as_in_a_batch(body: str, marked: Path, tmp_path: Path) -> None:
    over = {"data.path": str(marked), **SMALL, **BODIES[body], "train.max_steps": 20, "train.validate_every": 20}
    model = td.load(td.train("tag", over, out=tmp_path, quiet=True).path, device="cpu")
    texts = ["a Xbb Ya bb", "Xcab", "ba " * 40]
    for text, answer in zip(texts, model.tag(texts), strict=True):
        assert model.tag([text])[0].tags == answer.tags
    assert len(model.tag(texts)[2].tags) == 40


def test_a_text_longer_than_the_model_is_read_in_windows(run: Path) -> None:
    model = td.load(run, device="cpu")
    words = ["a", "Xbb", "bb", "cab"] * 30
    (one,) = model.tag([words])
    assert len(one.tags) == 120
    assert [tag for word, tag in zip(words, one.tags, strict=True) if word == "Xbb"].count("B-per") > 27
    assert one.tags[:3] == ("O", "B-per", "O")
    assert one.tags[-4:-1] == ("O", "B-per", "O")


def test_windows_of_training_hold_each_tag_once(run: Path) -> None:
    model = td.load(run, device="cpu")
    words, tags = [["a", "Xbb"] * 50], [["O", "B-per"] * 50]
    examples = model.task.examples(Columns({"words": words, "tags": tags}), model.readers)
    rows = examples.rows(BatchConfig(batch_tokens=64, max_length=20), drop=False)
    batches = [rows.build(group) for group in rows.fixed()]
    assert sum(int((batch.targets >= 0).sum()) for batch in batches) == 100
    assert max(batch.inputs.shape[1] for batch in batches) == 20
    names = ["B-per", "I-per", "O"]
    for batch in batches:
        for ids, own in zip(batch.inputs, batch.targets, strict=True):
            for token, target in zip(ids.tolist(), own.tolist(), strict=True):
                if target >= 0:
                    letter = model.tokenizer.decode([token])
                    assert names[target] == ("B-per" if letter == "X" else "O")


@pytest.mark.parametrize("kind", [Char, Byte, Bpe, Unigram, Word])
def test_the_first_token_of_a_word_begins_it(kind: Any) -> None:
    words = ["The", "Ångström", "unit", "'s", "(", "10", "⁻", "¹⁰", "m", ")", "日本", "x"]
    options = {} if kind in (Char, Byte, Word) else {"vocab_size": 300}
    tokenizer = kind(**options).train([" ".join(words)] * 20)
    ((ids, first),) = aligned([words], tokenizer)
    assert ids == tokenizer.encode(" ".join(words))
    assert len(first) == len(words)
    assert [*first] == sorted(first)
    for word, start, stop in zip(words, first, [*first[1:], len(ids)], strict=True):
        assert tokenizer.decode(ids[start:stop]).replace(" ", "") == word


def test_a_token_of_two_words_is_the_first_one_s() -> None:
    assert firsts_of([(0, 3), (4, 7), (8, 9)], [(0, 7), (8, 9)]) == [0, -1, 1]
    assert firsts_of([(0, 1), (2, 3)], [(0, 0), (0, 1), (1, 3)]) == [1, 2]
    assert firsts_of([(0, 2), (3, 4)], [(0, 2)]) == [0, -1]
    assert firsts_of([], []) == []


def test_a_word_without_a_token_has_a_tag(run: Path) -> None:
    model = td.load(run, device="cpu")
    tokenizer = model.tokenizer
    task = TagConfig()
    logs = task.logs(model.model, Readers(tokenizer, model.readers.columns), [["a"], ["bb", "a"]])
    assert [row.shape for row in logs] == [(1, 3), (2, 3)]
    assert np.exp(logs[1]).sum(-1) == pytest.approx(1.0)


def test_words_of_a_text_are_parted_from_its_signs() -> None:
    text = 'He said: "Go (now)," @x #y e.g. 3.5 -- ok...'
    assert [text[a:b] for a, b in parts(text)] == [
        "He", "said", ":", '"', "Go", "(", "now", ")", ",", '"', "@x", "#y", "e.g", ".", "3.5", "--", "ok", ".", ".",
        ".",
    ]  # fmt: skip


def test_labels_of_tokens_are_those_of_bert_for_token_classification() -> None:
    """The head computes what transformers computes of the same hidden states, and the loss is theirs."""
    import transformers

    from transduce.model.heads.token_classes import TokenClassesHeadConfig
    from transduce.model.norms.norm import LayerNorm

    config = transformers.BertConfig(
        vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=16, num_labels=5
    )
    torch.manual_seed(0)
    theirs = transformers.BertForTokenClassification(config).eval()
    ids, labels = torch.randint(3, 31, (2, 9)), torch.randint(0, 5, (2, 9))
    labels[:, ::3] = -100
    given = theirs(ids, labels=labels, output_hidden_states=True)
    head = TokenClassesHeadConfig(classes=5).build(31, 12, LayerNorm(), None)
    assert head is not None
    head.output.load_state_dict(theirs.classifier.state_dict())  # type: ignore[union-attr]
    torch.testing.assert_close(head(given.hidden_states[-1]), given.logits)


@pytest.mark.parametrize(
    ("rows", "over", "told"),
    [
        ([(["a", "b"], ["O"]), (["a"], ["B-x"])], {}, "row 1 has 2 words and 1 tag; each word needs one"),
        ([(["a", ""], ["O", "B-x"])], {}, "word 2 of row 1 is empty"),
        ([(["a"], ["O"])], {}, "no two different tags"),
        ([(["a", "b"], ["O", "B x"])], {}, "a tag of the column `tags` is 'B x'"),
        (
            [(["a", "b"], ["O", "B-x"])],
            {"model": {"kind": "encoder-decoder", "width": 16}},
            "task=tag reads a text with one stack",
        ),
        ([(["a", "b"], ["O", "B-x"])], {"batch.packing": True}, "batch.packing=true puts several texts in a row"),
        ([(["a", "b"], ["O", "B-x"])], {"model.head.classes": 9}, "model.head.classes=9, but the data have 2 tags"),
        ([(["a", "b"], ["O", "B-x"])], {"data.columns.tags": "tgs"}, "has no column `tgs`; did you mean `tags`"),
        ([(["a", "b"], ["O", "B-x"])], {"data.columns.tag": "tags"}, "data.columns.tag names a column that the task"),
        ([(["a", "b"], ["O", "B-x"])], {"train.metric": "accuracy"}, "train.metric=accuracy looks at predictions"),
    ],
)
def test_what_does_not_fit_is_one_sentence(rows: Any, over: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lines = [json.dumps({"words": words, "tags": tags}) for words, tags in rows]
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(lines) + "\n")
    values = {
        "data.path": str(tmp_path / "data"),
        "data.valid_fraction": 0,
        **SMALL,
        "train.max_steps": 1,
        "schedule.warmup_steps": 0,
        **over,
    }
    with pytest.raises(UserError, match=told):
        td.train("tag", values, out=tmp_path / "runs", quiet=True)


def test_a_tag_that_was_not_seen_is_named() -> None:
    tags = Tags().fit([["O", "B-x"]], "tags")
    with pytest.raises(UserError, match="the label 'B-y' in the column `tags` was not there in training"):
        tags.encode([["B-y"]], "tags")


def test_tags_without_entities_are_chosen_by_accuracy() -> None:
    task = TagConfig()
    assert task.selects("auto", Columns({"words": [["a"]], "tags": [["NN"]]}), 1)[0].kind == "tag-accuracy"
    assert task.selects("auto", Columns({"words": [["a"]], "tags": [["B-x"]]}), 1)[0].kind == "entity-f1"


def test_the_command_prints_conll_and_json(run: Path, marked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tag", str(run), "a Xbb bb", "a Xcab"]) == 0
    assert capsys.readouterr().out == "a\tO\nXbb\tB-per\nbb\tO\n\na\tO\nXcab\tB-per\n\n"
    assert main(["tag", str(run), "--words", "--json", "a Xbb"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["words"] == ["a", "Xbb"]
    assert one["entities"] == [["per", "Xbb", 2, 5]] or one["entities"][0]["label"] == "per"
    assert main(["tag", str(run), "--file", str(marked / "valid.conll")]) == 0
    assert len(capsys.readouterr().out.split("\n\n")) == 21
    assert main(["tag", str(run), "a", "--file", "x"]) == 2
    assert main(["classify", str(run), "a"]) == 2
    assert "trained for task=tag; use tag" in capsys.readouterr().err


def test_a_frame_stands_around_every_window() -> None:
    assert Frame((1,), (2,), (2,)).row([7, 8]).ids == [1, 7, 8, 2]
