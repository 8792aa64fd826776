"""Classes of transformers with the head of a task: the same logits, in and out again, and what their runs say."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce import api
from transduce.errors import UserError
from transduce.exchange import checkpoint, tasked
from transduce.model.layout import right_padded
from transduce.testing.families import TOLERANCE, ids, saved

transformers: Any = pytest.importorskip("transformers")

BERT = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "initializer_range": 0.2, "num_labels": 3,
}  # fmt: skip
DISTILBERT = {
    "dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 4, "vocab_size": 53, "max_position_embeddings": 64,
    "initializer_range": 0.2, "num_labels": 3,
}  # fmt: skip
NAMES = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert",
         "distilbert": "DistilBert", "electra": "Electra"}  # fmt: skip
OPTIONS = {"distilbert": DISTILBERT, "electra": {**BERT, "embedding_size": 10}}
TEXT = "a cat sat on the mat"


def saved_as(one: tasked.Tasked, folder: Path, **more: Any) -> Any:
    labels = {"num_labels": 2} if one.ending == tasked.SPANS else {}
    options = {**OPTIONS.get(one.model_type, BERT), **labels, **more}
    return saved(f"{NAMES[one.model_type]}Config", one.architectures[0], options, folder)


@pytest.mark.parametrize("one", tasked.every(), ids=lambda one: one.architectures[0])
def test_logits_agree_on_padded_rows_and_files_are_written_again(one: tasked.Tasked, tmp_path: Path) -> None:
    theirs = saved_as(one, tmp_path / "theirs")
    opened = checkpoint.read(tmp_path / "theirs")
    assert opened.family == one
    layout = right_padded(torch.tensor([17, 5, 9]), 17)
    tokens = ids(theirs).masked_fill(~layout.valid, theirs.config.pad_token_id)
    model = opened.model
    for again in (theirs, None):
        if again is None:
            checkpoint.write(model, opened.config, opened.vocab_size, tmp_path / "ours", one)
            again = getattr(transformers, one.architectures[0]).from_pretrained(tmp_path / "ours").eval()
        with torch.no_grad():
            given = again(input_ids=tokens, attention_mask=layout.valid.long())
            hidden = model.features(model.given(tokens, layout, tokens, layout))
            assert model.head is not None
            if one.ending == tasked.TEXTS:
                torch.testing.assert_close(model.head(hidden, layout), given.logits, atol=TOLERANCE, rtol=0)
                continue
            spans = one.ending == tasked.SPANS
            expected = torch.stack([given.start_logits, given.end_logits], -1) if spans else given.logits
            valid = layout.valid
            torch.testing.assert_close(model.head(hidden)[valid], expected[valid], atol=TOLERANCE, rtol=0)


@pytest.fixture(scope="module")
def folders(published: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A BERT with each head, and a tokeniser beside it."""
    out, root = dict[str, Path](), tmp_path_factory.mktemp("tasked")
    for one in tasked.every():
        if one.model_type != "bert":
            continue
        names = {0: "O", 1: "B-PER", 2: "I-PER"} if one.ending == tasked.TOKENS else {0: "good", 1: "bad", 2: "so so"}
        labels = {} if one.ending == tasked.SPANS else {"id2label": names}
        size = {"vocab_size": json.loads((published / "config.json").read_text())["vocab_size"]}
        saved_as(one, root / one.task, **size, **labels)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(published / name, root / one.task / name)
        out[one.task] = root / one.task
    return out


def test_a_run_has_the_task_and_its_labels_and_is_exported_with_them(folders: dict[str, Path], tmp_path: Path) -> None:
    for task, folder in folders.items():
        run = api.import_model(folder, tmp_path / task)
        certificate = json.loads((run.path / "certificate.json").read_text())
        assert certificate["output"] == "logits" if "output" in certificate else certificate
        models = [td.load(run.path, device="cpu"), td.load(folder, device="cpu")]
        api.export(run.path, tmp_path / f"{task}-again")
        models.append(td.load(tmp_path / f"{task}-again", device="cpu"))
        assert {one.task.kind for one in models} == {task}
        if task == "classify":
            found = [one.classify(TEXT) for one in models]
            assert sorted(found[0].probabilities) == ["bad", "good", "so so"]  # type: ignore[union-attr]
            assert found[0].label == found[1].label == found[2].label  # type: ignore[union-attr]
        elif task == "tag":
            tags = [one.tag([TEXT])[0].tags for one in models]
            assert {*tags[0]} <= {"O", "B-PER", "I-PER"}
            assert tags[0] == tags[1] == tags[2]
        else:
            answers = [one.answer("what sat?", TEXT) for one in models]
            assert answers[0].text in TEXT
            assert answers[0] == answers[1]
            assert answers[0] == answers[2]
        config = json.loads((tmp_path / f"{task}-again/config.json").read_text())
        own = json.loads((folder / "config.json").read_text())
        assert config["architectures"] == own["architectures"]
        assert task == "answer" or config["id2label"] == own["id2label"]


def test_a_label_is_that_of_transformers(folders: dict[str, Path]) -> None:
    """Its pipeline reads the same folder."""
    ask = transformers.pipeline("text-classification", model=str(folders["classify"]), device="cpu")
    (theirs,) = ask([TEXT])
    ours = td.load(folders["classify"], device="cpu").classify(TEXT)
    assert ours.label == theirs["label"]  # type: ignore[union-attr]
    assert ours.probability == pytest.approx(theirs["score"], abs=1e-4)  # type: ignore[union-attr]


def test_a_training_starts_from_such_a_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"words": ["a", "cat"] * (1 + i % 4), "tags": ["O", "B-PER"] * (1 + i % 4)} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    over = {
        "data.path": str(tmp_path / "rows.jsonl"), "start": str(folders["tag"]), "train.max_steps": 2,
        "train.validate_every": 2, "schedule.warmup_steps": 1, "batch.max_length": 16, "batch.batch_tokens": 64,
        "train.threads": 1, "train.device": "cpu",
    }  # fmt: skip
    run = td.train("tag", over, out=tmp_path, quiet=True)
    log = (run.path / "log.txt").read_text()
    assert "keep their start values" not in log
    assert td.load(run.path, device="cpu").tag([TEXT])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"problem_type": "multi_label_classification"}, "several labels .problem_type., which is not read here"),
        ({"problem_type": "regression"}, "predicts a number, which is not read here"),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, "must name each number from 0 on, each name once"),
        ({"id2label": {"0": "a", "2": "b", "1": ""}}, "must name each number from 0 on"),
        ({"id2label": {"0": "a", "1": "b"}}, r"is \[3, 24\], but config.json asks for \[2, 24\]"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    change: dict[str, Any], sentence: str, folders: dict[str, Path], tmp_path: Path
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(folders["classify"], tmp_path / "spoilt"))
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(UserError, match=sentence):
        td.load(folder, device="cpu")
