"""Hearing: any body learns to tell sounds apart, files in and labels out, and what is said of what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.data.augment.flip import FlipConfig
from transduce.data.augment.spec_mask import SpecMaskConfig
from transduce.data.readers.labels import Labels
from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.reader import Readers
from transduce.data.sounds import Sounds
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig, EncoderDecoderConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.tasks.hear import HearConfig
from transduce.tasks.listening import groups
from transduce.tasks.see import SeeConfig

SMALL = {
    "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 24,
    "task.features.mels": 12, "batch.batch_tokens": 128, "batch.max_length": 64, "optimizer.learning_rate": 0.01,
    "schedule.warmup_steps": 2, "train.max_steps": 24, "train.validate_every": 12, "train.threads": 1,
    "train.device": "cpu", "train.ema": None, "train.precision": "fp32",
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "attention": {"task.augment": [{"kind": "spec-mask", "frames": 3, "mels": 2}]},
    "lstm": {"model.mixer": "lstm", "model.positions": "none"},
}


@pytest.fixture(scope="session")
def heard(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """heard(body) -> the directory of a run."""
    runs: dict[str, Path] = {}

    def of(body: str) -> Path:
        if body not in runs:
            small = {k: v for k, v in SMALL.items() if not any(k.startswith(f"{key}.") for key in BODIES[body])}
            values = {"data.path": str(tones), **small, **BODIES[body]}
            runs[body] = td.train("hear", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path
        return runs[body]

    return of


@pytest.mark.parametrize("body", list(BODIES))
def test_every_body_learns_and_hears_a_sound_alone_as_among_others(
    body: str, heard: Callable[[str], Path], tones: Path
) -> None:
    model = td.load(heard(body), device="cpu")
    files = sorted((tones / "valid").glob("*/*.wav"))
    together = model.classify(files)
    assert sum(answer.label == file.parent.name for answer, file in zip(together, files, strict=True)) >= 10
    assert [model.classify(str(file)) for file in files] == together
    assert model.evaluate("valid").values["accuracy"].value > 0.8


def test_files_globs_and_folders_in_labels_out(heard: Callable[[str], Path], tones: Path, capsys) -> None:
    run, valid = str(heard("attention")), tones / "valid"
    assert main(["classify", run, str(valid / "high")]) == 0
    assert capsys.readouterr().out == "high\n" * 4
    assert main(["classify", run, str(valid / "*" / "0.wav"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sound"] for row in rows] == [str(valid / name / "0.wav") for name in ("high", "low", "middle")]
    assert [row["label"] for row in rows] == ["high", "low", "middle"]


def test_what_cannot_be_heard_gets_one_sentence(
    heard: Callable[[str], Path], tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, cut = str(heard("attention")), tmp_path / "cut.wav"
    good = tones / "valid" / "low" / "0.wav"
    cut.write_bytes(good.read_bytes()[:60])
    for words, sentence in (
        ([cut], "sound 1: "), ([good, cut], "cut.wav is cut off"), ([tmp_path / "*.ogg"], "stands for no sound"),
        ([tmp_path / "absent.wav"], "absent.wav: no such file"),
    ):  # fmt: skip
        assert main(["classify", run, *map(str, words)]) == 2
        out, err = capsys.readouterr()
        assert sentence in err
        assert err.count("\n") == 1
        assert out == ("low\n" if words[0] == good else "")


def test_any_rate_and_any_number_of_channels_is_the_same_sound(
    heard: Callable[[str], Path], tones: Path, tmp_path: Path
) -> None:
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra audio)")
    signal = pytest.importorskip("scipy.signal", reason="scipy is not installed (extra audio)")
    x, _ = soundfile.read(tones / "valid" / "middle" / "0.wav")
    soundfile.write(tmp_path / "stereo.wav", [[2 * v, 0] for v in x], 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "fast.flac", signal.resample_poly(x, 6, 1), 48000, subtype="PCM_24")
    assert {one.label for one in td.load(heard("attention"), device="cpu").classify(sorted(tmp_path.iterdir()))} == {
        "middle"
    }


def test_what_follows_from_the_data() -> None:
    readers = Readers(None, {"sound": LogMel(rate=8000, mels=5), "label": Labels(names=("a", "b", "c"))})
    task = HearConfig()
    shaped = task.shaped(EncoderConfig(), readers)
    assert shaped.embedding == FramesConfig()
    assert shaped.head == ClassesHeadConfig(classes=3, pool=("mean",))
    assert task.size(readers) == 5
    assert task.remarks(readers) == [
        "sounds are read as 5 mels every 10 ms, 8,000 samples a second, as convention=plain"
    ]
    with pytest.raises(UserError, match="task=hear reads a sound with one stack"):
        task.shaped(EncoderDecoderConfig(), readers)
    with pytest.raises(UserError, match=r"task\.augment=flip changes pictures, but here are frames; leave it out"):
        HearConfig(augment=(FlipConfig(),))
    with pytest.raises(UserError, match=r"task\.augment=spec-mask changes frames, but here are pictures"):
        SeeConfig(augment=(SpecMaskConfig(),))


def test_sounds_are_read_together_on_a_gpu_alone() -> None:
    rows: list[Any] = [[0] * n for n in (3, 5, 9000, 9000, 1)]
    assert [len(group) for group in groups(rows, torch.device("cpu"))] == [1] * 5
    assert [len(group) for group in groups(rows, torch.device("meta"))] == [2, 1, 1, 1]
    assert groups([], torch.device("cpu")) == []


def test_what_holds_no_sounds_gets_a_sentence(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones, tmp_path / "tones")
    folder = tmp_path / "tones" / "train"
    (folder / "low" / "notes.txt").write_text("a note")
    assert Sounds(path=str(tmp_path / "tones")).remarks() == [
        "1 files of train are no sounds of a class, and are not read: train/low/notes.txt"
    ]
    (folder / "none").mkdir()
    with pytest.raises(UserError, match="none is the folder of a class, but has no sounds; put some there"):
        Sounds(path=str(tmp_path / "tones")).load()
    with pytest.raises(UserError, match=r"has neither a folder for each class, nor a table train\.csv"):
        Sounds(path=str(folder / "none")).load()


def test_a_table_of_paths_is_read(tones: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted((tones / "train").glob("*/*.wav"))]
    (tmp_path / "train.csv").write_text("\n".join(["audio,class", *rows]) + "\n")
    splits = Sounds(path=str(tmp_path), valid_fraction=0.25).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 27, "valid": 9}
    assert all(Path(path).parent.name == label for path, label in zip(*splits["valid"].values.values(), strict=True))


def test_a_broken_sound_is_refused_before_anything_is_learnt_and_doctor_names_it(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones, tmp_path / "tones")
    low = tmp_path / "tones" / "train" / "low"
    cut = low / "3.wav"
    cut.write_bytes(cut.read_bytes()[:50])
    shutil.copy(low / "4.wav", tmp_path / "tones" / "valid" / "low" / "9.wav")
    values = {"data.path": str(tmp_path / "tones"), **SMALL}
    with pytest.raises(UserError, match=r"low/3\.wav is cut off"):
        td.train("hear", values, out=tmp_path / "runs", quiet=True)
    said = "\n".join(td.doctor("hear", values).unread)
    assert "train: 1 sound cannot be read" in said
    assert "1 of 13 sounds of valid are equal to one of train, byte for byte" in said


def test_plan_and_doctor_count_sounds(tones: Path) -> None:
    values = {"data.path": str(tones), **SMALL, "batch.max_length": 8}
    assert td.plan("hear", values, probe=False).batches >= 3
    findings = td.doctor("hear", values)
    assert {name: split.examples for name, split in findings.splits.items()} == {"train": 36, "valid": 12}
    assert 0 < findings.splits["train"].overlong < 36
