"""Chorales: grids as words and back, keys that keep intervals, MIDI that is read back, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transduce.data import midi
from transduce.data.chorales import Chorales, in_keys
from transduce.errors import UserError

ONE = [[74, 70, 65, 58]] * 3 + [[75, 70, 58, 55], [-1, -1, 60, 50], [72, 69, 60, 53], [72, 69, 60, 53]]
WIDE = [[80, 75, 70, 60], [60, 55, 50, 40]]
TWO = [[70, 65, 62, 46], [72, 65, 60, 45], [74, 65, 58, 58]]


def load(tmp_path: Path, content: Any, **keys: Any) -> dict[str, list[str]]:
    (tmp_path / "c.json").write_text(json.dumps(content), "utf-8")
    splits = Chorales(path=str(tmp_path / "c.json"), **{"every": 1, **keys}).load()
    return {name: list(rows["text"]) for name, rows in splits.items()}


def test_a_step_is_four_words_in_the_order_of_voices(tmp_path: Path) -> None:
    texts = load(tmp_path, {"train": [ONE], "valid": [TWO]}, every=3)
    assert texts == {"train": ["S74 A70 T65 B58 S75 A70 T58 B55 S72 A69 T60 B53"], "valid": ["S70 A65 T62 B46"]}
    assert midi.grid_of(midi.words(ONE)) == ONE
    assert midi.grid_of("S- A70 T65 B58 S70 A-") == [[-1, 70, 65, 58]]


def test_every_interval_stays_where_keys_change(tmp_path: Path) -> None:
    texts = load(tmp_path, {"train": [ONE, TWO, WIDE], "valid": [TWO]}, transpose=5)
    grids = [np.array(midi.grid_of(text)) for text in texts["train"]]
    assert len(grids) > 4
    assert texts["valid"] == [midi.words(TWO)]
    assert [grid.tolist() for grid in grids[:3]] == [ONE, TWO, WIDE]
    low, high = np.array(WIDE).min(0), np.array(WIDE).max(0)
    seen = set[tuple[int, int]]()
    for grid in grids:
        number = [len(ONE), len(TWO), len(WIDE)].index(len(grid))
        first = np.array((ONE, TWO, WIDE)[number])
        sounds = first >= 0
        assert ((grid >= 0) == sounds).all()
        (shift,) = {int(x) for x in (grid - first)[sounds]}
        assert (number, shift) not in seen
        seen.add((number, shift))
        assert ((grid >= low) | ~sounds).all()
        assert (grid <= high).all()
    assert in_keys([ONE], 0) == [ONE]


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_file_that_is_written_is_read_back_to_the_same_grid(tmp_path: Path, every: int) -> None:
    pytest.importorskip("mido", reason="needs mido: pip install 'transduce[music]'")
    draw = np.random.default_rng(every)
    random = [
        [int(x) if draw.random() < 0.8 else -1 for x in draw.integers(low, low + 9, 40)] for low in (70, 60, 50, 40)
    ]
    for grid in (ONE, TWO, [list(step) for step in zip(*random, strict=True)]):
        midi.write(grid, tmp_path / "one.mid", every)
        assert midi.read(tmp_path / "one.mid")[::every] == grid
    texts = Chorales(path=str(tmp_path / "*.mid"), every=every, valid_fraction=0).load()["train"]["text"]
    assert list(texts) == [midi.words(grid)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": [ONE, [[74, 70, 65]]]}, r"c.json, chorale 2 of train, has 3 voices at step 1, but four are read"),
        ({"train": [[*ONE, [74, 70, 65, 128]]]}, "chorale 1 of train, has 128 at step 8, but MIDI pitches are"),
        ({"train": [ONE, 5]}, "chorale 2 of train, is not a list of steps"),
        ({"train": [[ONE]]}, "chorale 1 of train, has 7 voices at step 1"),
        ({"music": [ONE]}, "has `music`, but holds lists of chorales under train, valid and test"),
        ({"train": []}, "holds no chorale to train on"), (ONE[:1] * 2, "has no voices at step 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, content)


def test_files_that_are_no_music_are_named(tmp_path: Path) -> None:
    mido = pytest.importorskip("mido", reason="needs mido: pip install 'transduce[music]'")
    (tmp_path / "empty.mid").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty.mid cannot be read as MIDI"):
        Chorales(path=str(tmp_path / "empty.mid")).load()
    track = mido.MidiTrack([mido.Message("note_on", note=60, time=0), mido.Message("note_off", note=60, time=480)])
    mido.MidiFile(tracks=[track] * 3).save(str(tmp_path / "three.mid"))
    with pytest.raises(UserError, match=r"three.mid has 3 voices, but four are read, a track each"):
        Chorales(path=str(tmp_path / "three.mid")).load()
    (tmp_path / "empty.json").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty.json is empty"):
        Chorales(path=str(tmp_path / "empty.json")).load()
    with pytest.raises(UserError, match="word 2 is T65, where A and a MIDI pitch stand"):
        midi.grid_of("S74 T65")
