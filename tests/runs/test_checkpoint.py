import errno
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from transduce.errors import UserError
from transduce.runs import checkpoint


def make(folder: Path, step: int, *, regular: bool = True, healthy: bool = True) -> Path:
    path = folder / checkpoint.name(step)
    parts = {"model.safetensors": {"w": torch.full((3,), float(step))}}
    checkpoint.write(path, parts, {"step": step, "regular": regular, "healthy": healthy})
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = make(tmp_path, 7)
    assert sorted(p.name for p in path.iterdir()) == ["DONE", "model.safetensors", "state.json"]
    assert sorted(json.loads((path / "DONE").read_text())) == ["model.safetensors", "state.json"]
    assert checkpoint.fault(path) is None
    assert checkpoint.read_tensors(path / "model.safetensors")["w"].tolist() == [7.0] * 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "DONE"])
@pytest.mark.parametrize("damage", ["truncate", "alter", "remove"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(name: str, damage: str, tmp_path: Path) -> None:
    before, damaged = make(tmp_path, 1), make(tmp_path, 2)
    file, said = damaged / name, list[str]()
    content = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        half = len(content) // 2
        file.write_bytes(content[:half] if damage == "truncate" else content[:half] + b"!" + content[half + 1 :])
    assert checkpoint.newest(tmp_path, said.append) == before
    assert len(said) == 1
    assert "step-00000002 is damaged" in said[0]
    assert "falling back to the one before" in said[0]
    assert checkpoint.steps(tmp_path) == [1]
    with pytest.raises(UserError, match="cannot be used"):
        checkpoint.require_intact(tmp_path / "damaged-step-00000002")


def test_no_intact_checkpoint_is_an_error_but_none_at_all_is_not(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path, print) is None
    (make(tmp_path, 3) / "DONE").unlink()
    (make(tmp_path, 4) / "model.safetensors").unlink()
    for _ in range(2):  # the second time it must not look like a run that has not begun
        with pytest.raises(UserError, match=r"no checkpoint in .* is intact; remove that directory to start over"):
            checkpoint.newest(tmp_path, lambda _: None)
    assert checkpoint.steps(tmp_path) == [3, 4]


@pytest.mark.parametrize("content", ["[]", "5", "null", "{}", '{"state.json": "0"}', "[" * 10**5])
def test_a_list_of_files_that_lacks_the_model_proves_nothing(content: str, tmp_path: Path) -> None:
    (make(tmp_path, 3) / "DONE").write_text(content)
    with pytest.raises(UserError, match="cannot be used: its DONE"):
        checkpoint.require_intact(tmp_path / checkpoint.name(3))


@pytest.mark.parametrize("content", ["[]", "5", "{", "[" * 10**5])
def test_a_state_that_cannot_be_read_is_not_healthy(content: str, tmp_path: Path) -> None:
    (make(tmp_path, 3) / "state.json").write_text(content)
    assert checkpoint.read_state(tmp_path / checkpoint.name(3)) == {"healthy": False}


def test_rotation_keeps_the_last_regular_ones_and_the_best(tmp_path: Path) -> None:
    for step in range(1, 9):
        make(tmp_path, step, regular=step != 7)
    checkpoint.rotate(tmp_path, 2, {3})
    assert checkpoint.steps(tmp_path) == [3, 6, 8]


def test_rotation_never_counts_an_unhealthy_one_nor_removes_the_last_healthy_one(tmp_path: Path) -> None:
    for step in range(1, 7):
        make(tmp_path, step, healthy=step <= 3)
    checkpoint.rotate(tmp_path, 2, set())
    assert checkpoint.steps(tmp_path) == [2, 3]
    make(tmp_path, 9, regular=False)
    (tmp_path / checkpoint.name(3) / "state.json").write_text("{")
    checkpoint.rotate(tmp_path, 1, set())
    assert checkpoint.steps(tmp_path) == [2, 9]


@pytest.mark.parametrize("content", [pickle.dumps({"w": 1}), b"PK\x03\x04 a zip file"])
def test_a_pickle_is_refused_by_its_content(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is a pickle, which can run any code when it is read, so it is refused"):
        checkpoint.read_tensors(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"text that is no tensor", b"\x10\0\0\0\0\0\0\0{"])
def test_other_files_are_refused_too(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match="fetch it again"):
        checkpoint.read_tensors(tmp_path / "x")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.read_tensors(tmp_path / "missing")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, 5)

    def full(tensors: dict[str, Tensor], file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    for step in (5, 6):
        with pytest.raises(OSError, match="No space left") as caught:
            make(tmp_path, step)
        assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == [path]
    assert checkpoint.fault(path) is None
