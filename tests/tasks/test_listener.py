"""Transcribing by a decoder: tones are written letter by letter, each sound alone as among forty."""

import csv
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.data.dictated import Dictated
from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.generate.inputs import Shown
from transduce.generate.score import score
from transduce.model.architecture import EncoderConfig, EncoderDecoderConfig
from transduce.model.architecture.listener import ListenerConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.listener import marked
from transduce.tasks import transcribe
from transduce.tasks.transcribe import TranscribeConfig
from transduce.tasks.writing import apart
from transduce.text.char import Char
from transduce.transducer import Transducer

SMALL: dict[str, Any] = {
    "model.kind": "listener", "model.width": 32, "model.layers": 1, "model.mixer.heads": 2,
    "model.feedforward.hidden": 32, "model.residual.dropout": 0.0, "task.features.mels": 10, "batch.batch_tokens": 600,
    "batch.max_length": 100, "optimizer.learning_rate": 0.01, "schedule.warmup_steps": 5, "train.max_steps": 200,
    "train.validate_every": 200, "train.threads": 1, "train.device": "cpu", "train.ema": None,
    "train.precision": "fp32", "train.samples": 40, "generate.max_new_tokens": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(joined: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"data.path": str(joined), "task.augment": [{"kind": "spec-mask", "frames": 2, "bands": 0}], **SMALL}
    return td.train("transcribe", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path


@pytest.fixture(scope="module")
def model(run: Path) -> Transducer:
    return td.load(run, device="cpu")


@pytest.fixture
def rows(joined: Path) -> list[tuple[Path, str]]:
    with (joined / "valid.csv").open(newline="") as file:
        return [(joined / row["sound"], row["text"]) for row in csv.DictReader(file)]


def test_it_learns_and_each_sound_alone_has_the_text_that_it_has_among_forty(
    model: Transducer, rows: list[tuple[Path, str]]
) -> None:
    files = [path for path, _ in rows]
    for size in (1, 4):
        together = model.transcribed(files, beam_size=size)
        assert [model.transcribed([path], beam_size=size)[0] for path in files] == together
        right = sum(one.text == text for one, (_, text) in zip(together, rows, strict=True))
        assert right >= 24, f"{right} of 40"
    assert model.evaluate("valid").values["word-error-rate"].value < 0.4


def test_a_text_has_the_log_p_of_one_pass_over_it(model: Transducer, rows: list[tuple[Path, str]]) -> None:
    reader = model.readers["sound"]
    assert isinstance(reader, LogMel)
    for path, _ in rows[:3]:
        one, frames = model.transcribed([path], beam_size=3)[0], torch.from_numpy(reader.one(str(path)))
        [scored] = score(
            model.model, model.tokenizer, sources=[Shown(marked(frames, len(frames)))],
            targets=[model.tokenizer.encode(one.text)],
        )  # fmt: skip
        assert one.log_p == pytest.approx(scored.total, abs=1e-4)


def test_sounds_that_are_written_together_have_the_texts_that_they_have_alone(
    model: Transducer, rows: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where shorter ones have frames behind them that are no frames."""
    exact, files = replace(model, model=deepcopy(model.model).double().eval()), [path for path, _ in rows[:12]]
    for size in (1, 3):
        alone = exact.transcribed(files, beam_size=size)
        with monkeypatch.context() as patch:
            patch.setattr(transcribe, "groups", lambda sounds, device: [list(sounds)])
            together = exact.transcribed(files, beam_size=size)
        assert [one.text for one in together] == [one.text for one in alone]
        assert [one.log_p for one in together] == pytest.approx([one.log_p for one in alone], abs=1e-9)
    assert len({len(model.readers["sound"].one(str(path))) for path in files}) > 3  # pyright: ignore


def test_batches_hold_every_text_once_beside_its_sound(model: Transducer) -> None:
    columns = model.recipe.data.load(model.task.reads)["train"]
    examples = model.task.examples(columns, model.readers)
    assert isinstance(examples, Dictated)
    rows = examples.rows(model.recipe.batch, drop=False)
    groups = rows.plan(np.random.default_rng(0))
    assert sorted(np.concatenate(groups)[:, 0].tolist()) == list(range(80))
    for group in groups[:3]:
        batch = rows.build(group)
        assert batch.source is not None
        assert batch.source_layout is not None
        own = group[:, 0].tolist()
        assert batch.source_layout.valid.sum(1).tolist() == examples.sounds.slots[own].tolist()
        for row, targets in zip(own, batch.targets, strict=True):
            ids = [i for i in targets.tolist() if i >= 0]
            assert ids == [*model.tokenizer.encode(columns["text"][row]), model.tokenizer.eos]
    short = replace(model.recipe.batch, max_length=30, batch_tokens=900)
    kept = np.concatenate(examples.rows(short, drop=True).fixed())[:, 0]
    assert sorted(kept.tolist()) == np.flatnonzero(examples.sounds.slots <= 30).tolist()
    assert 0 < len(kept) < 80


def test_what_is_longer_than_its_window_is_told_and_left_out(joined: Path) -> None:
    values = {"data.path": str(joined), **SMALL, "task.features.seconds": 0.5, "batch.max_length": 60}
    sentences = "\n".join(td.doctor("transcribe", values).unread)
    assert "sounds are longer than 0.5 seconds and are left out" in sentences
    assert "cut them into parts with a text each" in sentences


def test_what_does_not_fit_is_said(joined: Path) -> None:
    readers = Readers(Char().train(["abc"]), {"sound": LogMel(rate=8000, mels=5)})
    task, labels = TranscribeConfig(decoder=True), readers.text.vocab_size
    shaped = task.shaped(EncoderDecoderConfig(width=16, layers=1), readers)
    assert isinstance(shaped, ListenerConfig)
    assert (shaped.embedding, shaped.source_vocab, shaped.tie_embeddings) == (FramesConfig(), 5, "output")
    assert shaped == apart(shaped, FramesConfig())
    task.check(shaped.build(labels), readers)
    assert task.size(readers) == labels
    with pytest.raises(
        UserError, match=r"a second stack, but model\.kind=encoder has one; choose model\.kind=listener"
    ):
        task.shaped(EncoderConfig(), readers)
    with pytest.raises(UserError, match=r"model\.source_vocab=7, but sounds are read in 5 mels; leave it out"):
        task.shaped(ListenerConfig(source_vocab=7), readers)
    with pytest.raises(UserError, match=f"writes {labels} tokens of frames, which this model does not"):
        task.check(shaped.build(labels + 1), readers)
    with pytest.raises(UserError, match="this tokeniser tells no languages apart; leave it out"):
        TranscribeConfig(decoder=True, language="de").begin(readers.text)
    with pytest.raises(UserError, match="objective=ctc learns labels and blank"):
        td.train("transcribe", {"data.path": str(joined), **SMALL, "objective": "ctc"}, quiet=True)
