"""What names and lengths tell of a checkpoint: as much as the hashes do of one that is cut off."""

from pathlib import Path

import pytest
import torch

from transduce.runs import checkpoint
from transduce.runs.integrity import count_numbers, fault, quick_fault


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    tensors = {"w": torch.zeros(13, 3), "b": torch.zeros((), dtype=torch.float64), "none": torch.zeros(0, 5)}
    checkpoint.write(tmp_path / "step-00000001", {"model.safetensors": tensors}, {"step": 1})
    return tmp_path / "step-00000001"


def test_the_numbers_of_a_file_are_counted_from_its_header(whole: Path) -> None:
    assert count_numbers(whole / "model.safetensors") == 13 * 3 + 1
    assert quick_fault(whole) is None


@pytest.mark.parametrize("length", [0, 1, 8, 9, 60, -1])
def test_a_file_that_is_cut_off_anywhere_is_damaged(whole: Path, length: int) -> None:
    file = whole / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    assert count_numbers(file) is None
    assert quick_fault(whole) == "model.safetensors is cut off or damaged"
    assert fault(whole) is not None


@pytest.mark.parametrize("name", ["DONE", "model.safetensors", "state.json"])
def test_a_file_that_is_gone_is_missed(whole: Path, name: str) -> None:
    (whole / name).unlink()
    assert quick_fault(whole) == fault(whole) is not None


def test_what_is_not_safetensors_has_no_numbers(tmp_path: Path) -> None:
    for content in (b"PK\x03\x04" + b"0" * 100, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"{}x"):
        (tmp_path / "file").write_bytes(content)
        assert count_numbers(tmp_path / "file") is None
    assert count_numbers(tmp_path / "missing") is None
