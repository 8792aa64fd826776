"""Music that a run writes: the MIDI file holds the grid of the text."""

import json
from pathlib import Path

import pytest

import transduce as td
from transduce.cli.main import main
from transduce.data import midi

pytest.importorskip("mido", reason="needs mido: pip install 'transduce[music]'")
STEPS = [[74, 70, 65, 58], [75, 70, 58, 55], [-1, 69, 60, 50]]


def test_generate_writes_the_text_as_midi(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"train": [STEPS * 8] * 3, "valid": [STEPS * 4]}), "utf-8")
    changes = {
        "data.path": str(tmp_path / "c.json"), "model.width": 16, "model.layers": 1, "train.max_steps": 40,
        "train.validate_every": 40, "schedule.warmup_steps": 1, "batch.batch_tokens": 256, "batch.max_length": 128,
        "train.device": "cpu", "train.threads": 1, "train.precision": "fp32", "data.every": 1, "data.transpose": 0,
        "optimizer.learning_rate": 0.02,
    }  # fmt: skip
    run = td.train("chorales", list(changes.items()), out=tmp_path / "runs", quiet=True).path
    words = ["generate", str(run), "S74 A70 T65 B58", "--temperature", "0", "--max-new-tokens", "22"]
    assert main([*words, "--midi", str(tmp_path / "one.mid")]) == 0
    grid = midi.grid_of(capsys.readouterr().out)
    assert len(grid) > 3
    assert midi.read(tmp_path / "one.mid") == grid
    for more, message in (
        (["--midi", "x.mid", "--samples", "2"], "--midi names one file, but --samples=2 writes several"),
        (["--midi", str(tmp_path / "no" / "x.mid")], "cannot be written: No such file or directory"),
    ):
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
