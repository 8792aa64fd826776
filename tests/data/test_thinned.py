"""Samples of large files: whole lines, evenly spread, aligned where they belong together, and read as files are."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from transduce.config import from_data, kinds
from transduce.data import thinned as module
from transduce.data.mixture import Mixture
from transduce.data.source import DataConfig
from transduce.data.thinned import thinned, trimmed


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a file of some kilobytes is a large one."""
    for name, value in {"LARGE": 20_000, "SAMPLE": 8_000, "PART": 500, "LINES": 10}.items():
        monkeypatch.setattr(module, name, value)


def data(kind: str, path: Path | str, **keys: Any) -> DataConfig:
    return from_data(kinds(DataConfig.folder)[kind], {"path": str(path), **keys})  # type: ignore[return-value]


def lines(count: int, tail: str = "") -> list[str]:
    return [f"{i:05d} zwölf 日本 {'x' * (i % 23)}{tail}" for i in range(count)]


def look(made: DataConfig, folder: Path) -> tuple[dict[str, Any], Any]:
    some = thinned(made, folder / "sample")
    assert some is not None
    assert 2_000 < some.sample < 0.3 * some.whole
    return some.data.load(("text", "label")), some


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("unit", ["line", "file"])
def test_lines_of_a_text_are_whole_and_from_everywhere(unit: str, packed: bool, tmp_path: Path) -> None:
    every = lines(4000)
    path = tmp_path / "a" / ("train.txt.gz" if packed else "train.txt")
    path.parent.mkdir()
    with gzip.open(path, "wt") if packed else path.open("w") as file:
        file.write("\n".join(every) + "\n")
    splits, some = look(data("text", path.parent, unit=unit), tmp_path)
    texts = [line for split in splits.values() for text in split.given for line in text.split("\n") if line]
    assert unit == "file" or set(texts) <= set(every)
    numbers = [int(line[:5]) for line in texts if line[:5].isdecimal()]
    assert len(numbers) > 50
    assert min(numbers) < 50
    assert max(numbers) > 3700
    assert some.whole == len("\n".join(every).encode()) + 1
    assert "MB of text, evenly spread" in some.remark


def test_a_text_of_one_line_is_cut_between_characters(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("日本é" * 20_000)
    splits, _ = look(data("text", tmp_path / "one.txt"), tmp_path)
    assert set("".join(splits["train"].given)) == set("日本é")
    whole = "日本é".encode()
    assert [trimmed(whole[i : len(whole) - j]).decode() for i, j in ((0, 0), (1, 0), (0, 1), (2, 1))] == [
        "日本é", "本é", "日本", "本"
    ]  # fmt: skip


def test_translations_stay_beside_their_sources(tmp_path: Path) -> None:
    for ending, tail in (("de", ""), ("en", " and more")):
        with gzip.open(tmp_path / f"train.{ending}.gz", "wt") as file:
            file.write("\n".join(lines(6000, tail)) + "\n")
    splits, _ = look(data("parallel", tmp_path, source="de", target="en"), tmp_path)
    pairs = [pair for split in splits.values() for pair in zip(*split.values.values(), strict=True)]
    assert len(pairs) > 50
    assert all(target == f"{source} and more" for source, target in pairs)


def test_rows_of_tables_stay_rows(tmp_path: Path) -> None:
    rows = [(f"{line}\n, {i}", f"b{i % 2}") for i, line in enumerate(lines(4000))]
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f'"{a}",{b}\n' for a, b in rows))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in rows))
    for name in ("t.csv", "t.jsonl"):
        splits, _ = look(data("table", tmp_path / name), tmp_path / name.replace(".", "-"))
        found = {row for split in splits.values() for row in zip(split["text"], split["label"], strict=True)}
        assert found <= set(rows)
        assert len(found) > 50


def test_what_is_small_or_cannot_be_cut_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("few\nlines\n")
    (tmp_path / "many.txt").write_text("\n".join(lines(4000)))
    assert thinned(data("text", tmp_path / "few.txt"), tmp_path / "x") is None
    few = {"kind": "text", "path": str(tmp_path / "few.txt")}
    assert thinned(from_data(Mixture, {"of": {"one": few, "two": few}}), tmp_path / "x") is None
    made = from_data(Mixture, {"of": {"few": few, "many": {"kind": "text", "path": str(tmp_path / "m*y.txt")}}})
    splits, some = look(made, tmp_path)
    assert splits["train"].sources == {"few": 1, "many": 1}
    assert some.data.of["few"] == made.of["few"]
