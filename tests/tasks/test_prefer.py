"""Preferences as tasks, and a training on them, whose reference is computed once, kept, and missed where it is gone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce
from transduce.cli.main import main
from transduce.data.chats import Chats
from transduce.data.columns import Columns
from transduce.data.readers.reader import Readers
from transduce.disk import read_json
from transduce.errors import UserError
from transduce.runs.run import Run
from transduce.tasks.chat import ChatConfig
from transduce.tasks.judged import JudgedConfig
from transduce.tasks.prefer import PreferConfig
from transduce.text.char import Char
from transduce.training.reference import attached, of_answers

PROMPT = [{"role": "user", "content": "hi"}]
FORMS: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "hi", "chosen": "yes", "rejected": "no"},
    "messages": {
        "prompt": PROMPT, "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    },
    "whole conversations": {
        "chosen": [*PROMPT, {"role": "assistant", "content": "yes"}],
        "rejected": [*PROMPT, {"role": "assistant", "content": "no"}],
    },
    "ShareGPT": {
        "conversations": [{"from": "human", "value": "hi"}], "chosen": {"from": "gpt", "value": "yes"},
        "rejected": {"from": "gpt", "value": "no"},
    },
    "Alpaca": {"instruction": "hi", "input": "", "output": "yes", "chosen": "yes", "rejected": "no"},
}  # fmt: skip
SMALL = (
    "train.max_steps=6", "train.validate_every=3", "train.samples=2", "train.threads=1", "train.precision=fp32",
    "schedule.warmup_steps=1", "generate.max_new_tokens=4", "batch.batch_tokens=256", "batch.max_length=64",
)  # fmt: skip
MODEL = ("tokenizer.kind=char", "model.width=16", "model.layers=1", "model.mixer.heads=2")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_pair(form: str, tmp_path: Path) -> None:
    path = written(tmp_path / "train.jsonl", [FORMS[form]])
    columns = Chats(path=str(path), valid_fraction=0.0).load(PreferConfig.reads)["train"]
    assert [json.loads(columns["prompt"][0]), columns["chosen"][0], columns["rejected"][0]] == [PROMPT, "yes", "no"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "hi", "chosen": "a", "rejected": "a"}, "row 1: `chosen` and `rejected` are equal"),
        ({"prompt": "hi", "chosen": "a"}, "row 1: there is no `rejected`"),
        ({"prompt": "hi", "rejected": "a"}, "row 1: there is no `chosen`"),
        ({"chosen": PROMPT, "rejected": PROMPT}, "row 1: there is no prompt before the answers"),
        ({"prompt": "hi", "chosen": PROMPT, "rejected": "a"}, "row 1: an answer is by the user"),
    ],
)
def test_pairs_that_are_refused(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        Chats(path=str(written(tmp_path / "train.jsonl", [row])), valid_fraction=0.0).load(PreferConfig.reads)


def test_equal_answers_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    same = {"prompt": "hi", "chosen": "a", "rejected": "a"}
    path = written(tmp_path / "train.jsonl", [same, FORMS["texts"]])
    data = Chats(path=str(path), valid_fraction=0.0, equal="drop")
    assert data.load(PreferConfig.reads)["train"]["chosen"] == ["yes"]
    assert data.remarks(PreferConfig.reads) == ["1 of 2 pairs of train have two equal answers and are left out"]


def test_only_the_last_answer_is_compared() -> None:
    talk = [*PROMPT, {"role": "assistant", "content": "ab"}, {"role": "user", "content": "c"}]
    columns = Columns({"prompt": [json.dumps(talk)], "chosen": ["d"], "rejected": ["ef"]})
    readers = Readers(Char().train(list(PreferConfig().texts(columns))))
    answers = PreferConfig().examples(columns, readers)
    texts = [
        readers.text.decode([i for i, own in zip(row, mine, strict=True) if own]) for row, mine in rows_of(answers)
    ]
    assert texts == ["d", "ef"]


def rows_of(answers: Any) -> list[tuple[list[int], list[bool]]]:
    ends = answers.texts.offsets
    return [(answers.texts[i].tolist(), answers.own[ends[i] : ends[i + 1]].tolist()) for i in range(len(answers.texts))]


def test_labels_are_true_or_false() -> None:
    columns = Columns({"prompt": ["a"] * 4, "completion": ["b"] * 4, "label": [True, "false", "1", 0]})
    readers = Readers(Char().train(list(JudgedConfig().texts(columns))))
    assert JudgedConfig().examples(columns, readers).label.tolist() == [1, 0, 1, 0]  # type: ignore[attr-defined]
    odd = Columns({"prompt": ["a"], "completion": ["b"], "label": ["maybe"]})
    with pytest.raises(UserError, match="answer 1 has the label 'maybe'; write true"):
        JudgedConfig().examples(odd, readers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers, and pairs."""
    out = tmp_path_factory.mktemp("prefer")
    talks = [{"prompt": f"{i}+1?", "completion": f"{i + 1}"} for i in range(24)]
    pairs = [{"prompt": f"{i}+1?", "chosen": f"{i + 1}", "rejected": f"{i}+1"} for i in range(24)]
    sft, data = written(out / "talks.jsonl", talks), written(out / "pairs.jsonl", pairs)
    words = ["sft", f"data.path={sft}", *MODEL, *SMALL, "model.residual.dropout=0.2"]
    assert main(["train", *words, "--out", str(out), "--quiet"]) == 0
    assert data.is_file()
    return out


def words(folder: Path, *more: str, kind: str = "dpo", name: str = "dpo", out: Path | None = None) -> list[str]:
    return [
        "train", kind, f"start={folder / 'sft'}", f"data.path={folder / 'pairs.jsonl'}", f"name={name}", *SMALL, *more,
        "--out", str(out or folder),
    ]  # fmt: skip


def test_it_trains_from_an_answering_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder)) == 0
    out = capsys.readouterr().out
    assert "the reference is what it starts from; log p of 48 answers are kept in" in out
    model = transduce.load(folder / "dpo")
    seen = model.evaluate("valid")
    assert set(seen.means) == {"preferred", "margin", "chosen", "rejected"}
    assert seen.means["margin"] == pytest.approx(seen.means["chosen"] - seen.means["rejected"], abs=1e-6)
    assert isinstance(model.chat("3+1?"), str)
    first = next(row for row in model_metrics(folder / "dpo") if "val_loss" in row)
    assert {"val_margin", "val_preferred"} <= first.keys()


def model_metrics(run: Path) -> list[dict[str, Any]]:
    return Run(run).metrics


def test_before_the_first_update_nothing_is_preferred_although_the_model_drops_out(folder: Path) -> None:
    small = ["optimizer.learning_rate=1e-12", "train.max_steps=1", "train.validate_every=1", "train.log_every=1"]
    assert main([*words(folder, name="first"), *small, "schedule.warmup_steps=0", "--quiet"]) == 0
    row = next(row for row in model_metrics(folder / "first") if "margin" in row)
    assert row["margin"] == pytest.approx(0.0, abs=1e-5)
    assert row["loss"] == pytest.approx(float(torch.tensor(2.0).log()), abs=1e-5)


def test_a_stopped_training_goes_on_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    assert main([*words(folder, name="whole"), "--quiet"]) == 0
    steps: list[int] = []

    def stop(event: Any) -> None:
        steps.append(event.step)
        if len(steps) == 3:
            raise KeyError

    config = [word.split("=", 1) for word in words(folder, name="parts")[2:] if "=" in word]
    with pytest.raises(KeyError):
        transduce.train("dpo", config, out=folder, quiet=True, watch=stop)
    made = (folder / "parts" / "reference" / "reference.json").stat().st_mtime_ns
    assert main([*words(folder, name="parts"), "--quiet"]) == 0
    assert (folder / "parts" / "reference" / "reference.json").stat().st_mtime_ns == made, "computed again"
    names = ("checkpoints/step-00000006/model.safetensors", "metrics.jsonl")
    for name in names:
        assert (folder / "parts" / name).read_bytes() == (folder / "whole" / name).read_bytes(), name


def test_a_reference_that_is_another_is_missed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = "schedule.kind=constant"
    assert main([*words(folder, "train.max_steps=3", fixed, name="other"), "--quiet"]) == 0
    run = folder / "other"
    kept = tmp_path / "kept"
    shutil.copytree(run, kept, symlinks=True)
    longer = [*words(folder, fixed, name="other"), "--quiet"]
    log_p = run / "reference" / "log_p.safetensors"
    log_p.write_bytes(log_p.read_bytes()[:-4] + b"\0\0\0\0")
    assert main(longer) == 2
    assert "its hash differs" in capsys.readouterr().err
    shutil.rmtree(run / "reference")
    assert main(longer) == 2
    assert "was removed, so" in capsys.readouterr().err
    more = written(tmp_path / "more.jsonl", [{"prompt": "9?", "chosen": "a", "rejected": "b"}] * 2)
    assert main(["evaluate", str(kept), f"data.path={more}", "data.valid_fraction=0", "--split", "train"]) == 2
    assert "has no log p of the answers to prompt 1, since the data are others" in capsys.readouterr().err
    assert len(read_json(kept / "reference" / "reference.json")["answers"]) == 48


def test_examples_without_a_run_or_that_are_no_answers_have_no_reference() -> None:
    columns = Columns({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    readers = Readers(Char().train(list(PreferConfig().texts(columns))))
    with pytest.raises(UserError, match="has no run beside it"):
        attached(None, PreferConfig().examples(columns, readers))
    talk = Columns({"messages": [json.dumps([*PROMPT, {"role": "assistant", "content": "b"}])]})
    with pytest.raises(UserError, match="use task=prefer"):
        of_answers(ChatConfig().examples(talk, readers))


@pytest.mark.parametrize("kind", ["orpo", "kto"])
def test_the_others_train_too(kind: str, folder: Path) -> None:
    data = []
    if kind == "kto":
        rows = [{"prompt": f"{i}?", "completion": f"{i}", "label": i % 2 == 0} for i in range(20)]
        data = [f"data.path={written(folder / 'judged.jsonl', rows)}"]
    assert main([*words(folder, *data, kind=kind, name=kind), "--quiet"]) == 0
    assert transduce.load(folder / kind).evaluate("valid").means["preferred"] >= 0
    assert (folder / kind / "reference").exists() == (kind == "kto")
