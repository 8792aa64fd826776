import os
from pathlib import Path

import pytest

from transduce import disk
from transduce.errors import UserError
from transduce.exchange import importing as imported


def test_what_is_written_is_whole_and_goes_through_no_link(tmp_path: Path) -> None:
    outside, file = tmp_path / "outside", tmp_path / "run" / "result.json"
    outside.write_text("work")
    file.parent.mkdir()
    for name in ("result.json", ".result.json.partial"):
        (file.parent / name).symlink_to(outside)
    disk.replace_text(file, "é\n")
    assert file.read_bytes() == "é\n".encode()
    assert not file.is_symlink()
    assert outside.read_text() == "work"
    assert [p.name for p in file.parent.iterdir()] == ["result.json"]


def test_a_link_or_a_pipe_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic links|No such device"):
            disk.open_own(tmp_path / name, "ab")
    assert not (tmp_path / "nothing").exists()


def test_files_are_compared_with_their_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    sha = disk.digest(tmp_path / "a")
    assert sha == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert disk.mismatch(tmp_path, {"a": sha}) is None
    assert disk.mismatch(tmp_path, {"b": sha}) == "b is missing"
    (tmp_path / "a").write_text("y")
    assert disk.mismatch(tmp_path, {"a": sha}) == "a is not what was written (its sha256 differs)"
    for name in ("../a", "/etc/passwd", "b/../../a"):
        assert disk.mismatch(tmp_path / "sub", {name: sha}) == f"{name!r} is not a file inside it"


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis").write_text("work")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    disk.remove(tmp_path / "link")
    assert (tmp_path / "folder" / "thesis").exists()
    disk.remove(tmp_path / "folder")
    disk.remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 10**5])
def test_json_that_is_no_object_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json (cannot be read|holds .*, not an object).*; ask me"):
        disk.read_json(tmp_path / "x.json", "ask me")


def test_what_is_written_first_goes_through_no_link(tmp_path: Path) -> None:
    """The hidden folder in which a folder is prepared may have been planted as a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis").write_text("work")
    (tmp_path / ".new.partial").symlink_to(outside)
    with pytest.raises(UserError):
        imported.write(outside, tmp_path / "new")
    assert [p.name for p in outside.iterdir()] == ["thesis"]
    assert not (tmp_path / ".new.partial").is_symlink()
