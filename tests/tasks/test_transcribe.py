"""Transcribing: tones that follow one another are written down, each alone as among 40, files in and texts out."""

import csv
import json
from pathlib import Path

import pytest

import transduce as td
from transduce.cli.main import main
from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig, EncoderDecoderConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.heads.ctc import CtcHeadConfig
from transduce.tasks.transcribe import TranscribeConfig, Transcribed, needed
from transduce.text.char import Char

SMALL = {
    "model.width": 24, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 32,
    "model.residual.dropout": 0.0,
    "task.features.mels": 10, "batch.batch_tokens": 600, "batch.max_length": 100, "optimizer.learning_rate": 0.02,
    "schedule.warmup_steps": 5, "train.max_steps": 80, "train.validate_every": 40, "train.threads": 1,
    "train.device": "cpu", "train.ema": None, "train.precision": "fp32", "train.samples": 40,
}  # fmt: skip


@pytest.fixture(scope="session")
def run(joined: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"data.path": str(joined), "task.augment": [{"kind": "spec-mask", "frames": 2, "bands": 0}], **SMALL}
    return td.train("transcribe", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_it_learns_and_each_sound_alone_has_the_text_that_it_has_among_forty(run: Path, joined: Path) -> None:
    model = td.load(run, device="cpu")
    with (joined / "valid.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [joined / row["sound"] for row in rows]
    for beam_size in (1, 4):
        together = model.transcribed(files, beam_size=beam_size)
        assert len(together) == 40
        assert [model.transcribed([file], beam_size=beam_size)[0] for file in files] == together
        right = sum(one.text == row["text"] for one, row in zip(together, rows, strict=True))
        assert right >= 34, f"{right} of 40"
    rate = model.evaluate("valid").values["word-error-rate"]
    assert rate.value < 0.15
    assert model.transcribe(files[0]) == model.transcribe(files[:1])[0]


def test_files_in_texts_out(run: Path, joined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(joined / f"valid{n}.wav") for n in range(3)]
    model = td.load(run, device="cpu")
    assert main(["transcribe", str(run), *files, "--beam-size", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == model.transcribe(files, beam_size=2)
    assert main(["transcribe", str(run), str(joined / "valid[0-2].wav"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sound"] for row in rows] == files
    assert [row["text"] for row in rows] == model.transcribe(files)
    assert all(set(row) == {"sound", "text", "log_p"} and row["log_p"] < 0 for row in rows)
    assert main(["predict", str(run), files[1]]) == 0
    assert capsys.readouterr().out == f"{model.transcribe(files[1])}\n"
    assert main(["transcribe", str(run), files[0], str(joined / "absent.wav")]) == 2
    out, err = capsys.readouterr()
    assert out == f"{model.transcribe(files[0])}\n"
    assert err.endswith("absent.wav: no such file\n")
    with pytest.raises(UserError, match="a transcript is not drawn at random; leave temperature out"):
        model.transcribe(files, temperature=1.0)
    with pytest.raises(UserError, match="trained for task=transcribe; use transcribe"):
        model.classify(files)


def test_what_is_shorter_than_its_text_is_told_skipped_and_counted(joined: Path, tmp_path: Path) -> None:
    with (joined / "train.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    table = [(str(joined / name), "abcb" * 40 if n in (3, 5) else text) for n, (name, text) in enumerate(rows[1:])]
    (tmp_path / "train.csv").write_text("\n".join(["sound,text", *map(",".join, table)]) + "\n")
    values = {
        "data.path": str(tmp_path),
        "data.valid_fraction": 0.0,
        **SMALL,
        "train.max_steps": 4,
        "schedule.warmup_steps": 1,
    }
    values |= {"train.validate_every": 4, "train.log_every": 1}
    said = "\n".join(td.doctor("transcribe", values).unread)
    assert "train: 2 of 80 sounds are shorter than their texts and are skipped" in said
    assert "train3.wav has" in said
    assert "its text needs 160" in said
    made = td.train("transcribe", values, out=tmp_path / "runs", quiet=True)
    assert "2 of 80 sounds are shorter than their texts" in " ".join((made.path / "log.txt").read_text().split())
    losses = [json.loads(line) for line in (made.path / "metrics.jsonl").read_text().splitlines()]
    assert all(abs(row["loss"]) < 1e3 for row in losses if "loss" in row)
    assert any(row.get("skipped", 0) > 0 for row in losses)


def test_doctor_and_plan_count_letters_and_frames(joined: Path) -> None:
    values = {"data.path": str(joined), **SMALL}
    findings = td.doctor("transcribe", values)
    assert findings.splits["train"].examples == 80
    assert findings.splits["train"].columns["text"].longest <= 4
    assert {token.text for row in findings.preview for token in row.target} <= {"a", "b", "c"}
    assert td.plan("transcribe", values, probe=False).batches > 3
    kept = {**values, "batch.max_length": 20}
    assert 0 < td.doctor("transcribe", kept).splits["train"].overlong < 80
    assert td.doctor("transcribe", {**kept, "batch.overlong": "truncate"}).splits["train"].overlong == 0


def test_what_follows_from_the_data() -> None:
    tokenizer = Char().train(["abc"])
    readers = Readers(tokenizer, {"sound": LogMel(rate=8000, mels=5)})
    task, labels = TranscribeConfig(), tokenizer.vocab_size
    shaped = task.shaped(EncoderConfig(), readers)
    assert (shaped.embedding, shaped.head) == (FramesConfig(), CtcHeadConfig(labels=labels))
    task.check(shaped.build(5), readers)
    with pytest.raises(UserError, match=r"one stack, but model\.kind=encoder-decoder has two"):
        task.shaped(EncoderDecoderConfig(), readers)
    with pytest.raises(UserError, match=f"labels=2, but the tokeniser has {labels} tokens; leave it out"):
        task.shaped(EncoderConfig(head=CtcHeadConfig(labels=2)), readers)
    with pytest.raises(UserError, match=f"there are {labels} tokens and a blank, but the head of this model gives 3"):
        task.check(EncoderConfig(embedding=FramesConfig(), head=CtcHeadConfig(labels=2)).build(5), readers)
    assert [needed(row) for row in ([], [1], [1, 1], [1, 2, 1])] == [1, 1, 3, 3]
    assert task.line(Transcribed("abc", -1.0)) == "abc"
