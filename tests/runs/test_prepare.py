"""Shards of any recipe: the same ids and batches as from memory, whoever encodes, and whenever it is killed."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transduce import api
from transduce.data.loader import BatchConfig, Loader
from transduce.data.prepared import writing
from transduce.data.prepared.index import Index
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.state import tensors
from transduce.runs.prepare import open_prepared, prepare
from transduce.runs.recipe import Recipe
from transduce.runs.run import fingerprint
from transduce.text import sample
from transduce.text.tokenizer import Tokenizer

WORDS = ["the", "cat's", "hat", "zwölf", "Kämpfer", "1,024", "日本", "don't\tstop", "…", "", "été", "é", "</s>", "ﬁn"]


def text(lines: int, seed: int = 0) -> str:
    draw = np.random.default_rng(seed)
    rows = (" ".join(draw.choice(WORDS, int(draw.integers(0, 30)))) for _ in range(lines))
    return "\n".join(row + ("\r" if i % 7 == 0 else "") for i, row in enumerate(rows)) + "\n"


def files(folder: Path) -> None:
    """Data of every kind, of which train alone is there, or also valid and test."""
    for name in ("all", "train"):
        (folder / name).mkdir()
        for n in range(2):
            (folder / name / f"{name}.{n}.txt").write_bytes(text(400, n).encode())
    for split, lines in (("train", 300), ("valid", 40), ("test", 30)):
        (folder / f"{split}.txt").write_bytes(text(lines, lines).encode())
        (folder / f"{split}.de").write_text("".join(f"{a} x\n" for a in text(lines, 5).split("\n")[:lines]))
        with gzip.open(folder / f"{split}.en.gz", "wt") as file:
            file.write("".join(f"y {a}\n" for a in text(lines, 6).split("\n")[:lines]))
    pairs = zip(text(300, 1).split("\n"), text(300, 2).split("\n"), strict=True)
    rows = [(a.replace("\t", " ").replace("\r", ""), b.replace("\t", " ").replace("\r", "")) for a, b in pairs]
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows))
    (folder / "labels.jsonl").write_text(
        "".join(json.dumps({"text": a, "label": i % 3}) + "\n" for i, (a, _) in enumerate(rows) if a.strip())
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": a}) + "\n" for a, _ in rows if a.strip()))


RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "stream": ("text", {"data.path": "all", "data.unit": "file"}),
    "stream with splits": ("text", {"data.path": ".", "data.unit": "file"}),
    "stream of words": ("text", {"data.path": "all", "data.unit": "file", "tokenizer.kind": "word"}),
    "stream read whole": ("text", {"data.path": "all", "data.unit": "file", "tokenizer.normalise": "nfkc"}),
    "stream without valid": ("text", {"data.path": "all", "data.unit": "file", "data.valid_fraction": 0}),
    "lines": ("text", {"data.path": "all", "data.unit": "line", "tokenizer.kind": "char"}),
    "paragraphs": ("text", {"data.path": ".", "data.unit": "paragraph"}),
    "rows": ("text", {"data.path": "rows.jsonl", "data.unit": "line"}),
    "pairs": ("pairs", {"data.path": "pairs.tsv"}),
    "pairs without valid": ("pairs", {"data.path": "pairs.tsv", "data.valid_fraction": 0}),
    "parallel": ("pairs", {"data.kind": "parallel", "data.path": ".", "data.source": "de", "data.target": "en"}),
    "labels": ("classify", {"data.path": "labels.jsonl"}),
    "dates": ("dates", {"data.train_size": 500, "data.valid_size": 50, "data.test_size": 50}),
}
BATCHES = [BatchConfig(batch_tokens=256, max_length=64), BatchConfig(batch_tokens=200, max_length=12)]
BATCHES += [BatchConfig(batch_tokens=900, max_length=150, overlong="drop"), BatchConfig(batch_tokens=256, packing=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    files(folder)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks and many shards of little text."""
    monkeypatch.setattr(writing, "CHUNK", 1000)
    monkeypatch.setattr(writing, "SHARD", 4000)
    monkeypatch.setattr("transduce.data.walk.BLOCK", 1 << 10)


def recipe(name: str, folder: Path, **more: Any) -> Recipe:
    spec, over = RECIPES[name]
    path = {"data.path": str(folder / over["data.path"])} if "data.path" in over else {}
    size = {} if over.get("tokenizer.kind") == "char" else {"tokenizer.vocab_size": 300}
    return api.recipe(spec, {**over, **path, **({} if name == "dates" else size), "model.width": 32, **more})


def refused(loader: Loader) -> str | None:
    try:
        loader.size(0)
    except UserError as error:
        return str(error)


def contents(folder: Path) -> dict[str, bytes]:
    """All that must repeat: the stamps of the index are times."""
    out = {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}
    index = json.loads(out.pop("index.json"))
    for part in (*index["shards"], *index["made_of"]["files"]):
        part.pop("stamp")
    return {**out, "index.json": json.dumps(index).encode()}


@pytest.mark.parametrize("name", RECIPES)
def test_batches_from_shards_are_those_from_memory(name: str, folder: Path, tmp_path: Path, small: None) -> None:
    made = recipe(name, folder)
    splits, task = made.data.load(made.task.reads), made.task
    train = splits["train"]
    shards = prepare(made, tmp_path / "shards", processes=1)
    tokenizer = Tokenizer.load(tmp_path / "shards" / "tokenizer")
    assert made.tokenizer is not None
    assert tokenizer.tokenizer.to_str() == made.tokenizer.train(list(task.texts(train))).tokenizer.to_str()
    assert len(shards.index.shards) > len(splits)
    assert shards.index.data == {split: fingerprint(columns) for split, columns in splits.items()}
    opened = open_prepared(tmp_path / "shards", made).splits
    assert opened.keys() == splits.keys()
    readers = Readers(tokenizer, task.readers(train))
    assert task.readers(opened["train"]) == readers.columns
    for split, columns in splits.items():
        ours, theirs = task.examples(opened[split], readers), task.examples(columns, readers)
        if split != "train" or ("without valid" in name and len(columns.names) > 1):
            assert [list(opened[split][c]) for c in columns.names] == [list(columns[c]) for c in columns.names]
            assert task.bytes(opened[split]) == task.bytes(columns)
        for config in BATCHES[:3] if name == "labels" else BATCHES:
            one, two = (Loader(examples, config, seed=3) for examples in (ours, theirs))
            if refused(one) is not None or refused(two) is not None:  # as where all is longer than max_length
                assert refused(one) == refused(two)
                continue
            assert one.size(0) == two.size(0)
            for a, b in [*((one.batch(e, i), two.batch(e, i)) for e in (0, 1) for i in range(min(one.size(e), 12))),
                         *zip(one.once(), two.once(), strict=True)]:  # fmt: skip
                assert a.examples == b.examples
                assert all(torch.equal(x, y) for x, y in zip(tensors(a[:7]), tensors(b[:7]), strict=True))


@pytest.mark.parametrize("name", ["stream", "lines", "parallel"])
def test_any_number_of_processes_makes_the_same_shards(name: str, folder: Path, tmp_path: Path, small: None) -> None:
    for processes in (1, 3):
        prepare(recipe(name, folder), tmp_path / str(processes), processes=processes)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


@pytest.mark.parametrize("name", ["stream", "pairs"])
def test_killed_at_any_instant_it_goes_on_to_the_same_shards(name: str, folder: Path, tmp_path: Path) -> None:
    spec, over = RECIPES[name]
    over = {**over, "data.path": str(folder / over["data.path"]), "tokenizer.vocab_size": 300}
    words = [
        sys.executable,
        str(Path(__file__).with_name("prepare_killer.py")),
        json.dumps([spec, over, str(tmp_path)]),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    found = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert found.returncode == 0, found.stderr
    codes = json.loads(found.stdout)
    assert len(codes) > 4
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_finished_shards_are_kept_and_half_a_shard_is_none(folder: Path, tmp_path: Path, small: None) -> None:
    made, out = recipe("stream", folder), tmp_path / "shards"
    prepare(made, out, processes=1)
    whole, index = contents(out), Index.read(out)
    for done in (0, 1, len(index.shards) // 2, len(index.shards) - 1):
        part = Index(index.made_of, index.tokenizer, index.shards[:done])
        part.write(out)
        for shard in index.shards[done:]:
            half = (out / shard.name).read_bytes()[: shard.size // 2]
            (out / shard.name).write_bytes(half)
            (out / f".{shard.name}.partial").write_bytes(half)
        with pytest.raises(UserError, match="is not finished; run the same `transduce prepare` again"):
            open_prepared(out, made)
        kept = {shard.name: (out / shard.name).stat().st_mtime_ns for shard in part.shards}
        prepare(made, out, processes=2)
        assert contents(out) == whole
        assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept


def test_a_damaged_shard_is_one_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, out = recipe("lines", folder), tmp_path / "shards"
    shard = out / prepare(made, out, processes=1).index.shards[0].name
    good, stat = shard.read_bytes(), shard.stat()
    for place in (3, len(good) // 2, len(good) - 1):
        shard.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        for opening in (lambda: open_prepared(out, made), lambda: prepare(made, out)):
            with pytest.raises(UserError, match=r"is not what was written \(its sha256 differs\); remove that folder"):
                opening()
    monkeypatch.setattr("transduce.data.prepared.index.ALWAYS", 0)  # as of many shards: what has its size and time
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    open_prepared(out, made)
    with pytest.raises(UserError, match="sha256 differs"):
        open_prepared(out, made, every=True)
    shard.write_bytes(good[:-1])
    with pytest.raises(UserError, match=r"has [\d,]+ bytes, but [\d,]+ were written"):
        open_prepared(out, made)
    shard.unlink()
    with pytest.raises(UserError, match="is missing"):
        open_prepared(out, made)
    (out / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"index.json cannot be read"):
        open_prepared(out, made)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"data.unit": "paragraph"}, 'data.unit is "paragraph" now, "line" there'),
        ({"data.valid_fraction": 0.2}, "data.valid_fraction is 0.2 now"),
        ({"tokenizer.kind": "byte"}, 'tokenizer.kind is "byte" now'),
        ({"tokenizer.min_count": 9}, "tokenizer.min_count is 9 now"),
        ({"data.path": "rows.jsonl"}, "the files have other names or sizes"),
    ],
)
def test_shards_of_something_else_are_refused(change: dict[str, Any], what: str, folder: Path, tmp_path: Path) -> None:
    prepare(recipe("lines", folder), out := tmp_path / "shards", processes=1)
    if "data.path" in change:
        change = {"data.path": str(folder / change["data.path"])}
    for opening in (open_prepared, lambda folder, made: prepare(made, folder)):
        with pytest.raises(UserError, match="prepared from something else: ") as told:
            opening(out, recipe("lines", folder, **change))
        assert what in str(told.value)


def test_a_file_that_changed_is_seen_by_what_it_holds(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text(text(200))
    made = api.recipe("text", {"data.path": str(data), "data.unit": "line", "tokenizer.kind": "char"})
    prepare(made, out := tmp_path / "shards", processes=1)
    os.utime(data, (1, 1))
    open_prepared(out, made)  # touched, not changed
    data.write_text(text(200)[:-2] + "x\n")
    with pytest.raises(UserError, match=r"data.txt has changed"):
        open_prepared(out, made)
    data.unlink()
    open_prepared(out, made)  # the shards stand for a file that is not here
    with pytest.raises(UserError, match=r"data\.unit"):
        open_prepared(out, api.recipe("text", {"data.path": str(data), "tokenizer.kind": "char"}))
    (out / "tokenizer" / "tokenizer.json").write_text("{}")
    data.write_text(text(200))
    with pytest.raises(UserError, match=r"is not the tokeniser that .* was prepared with"):
        prepare(made, out)


def test_a_folder_of_other_things_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other files"):
        prepare(recipe("lines", folder), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
@pytest.mark.parametrize("size", [None, 5000])
def test_the_tokeniser_of_a_walk_is_that_of_texts_in_memory(
    kind: str, size: int | None, folder: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "PART", 1 << 8)
    if size is not None:
        monkeypatch.setattr(sample, "SAMPLE", size)
    over = {} if kind == "char" else {"tokenizer.vocab_size": 300}
    for unit in ("file", "line"):
        path = {"data.path": str(folder / "all"), "data.unit": unit}
        made, lines = api.recipe("text", {**path, "tokenizer.kind": kind, **over}), list[str]()
        shards = prepare(made, tmp_path / unit, processes=1, say=lines.append)
        texts = list(made.task.texts(made.data.load(made.task.reads)["train"]))
        characters = sum(map(len, texts))
        assert made.tokenizer is not None
        ours = made.tokenizer.train(sample.sampled(texts, sample.every(characters)))
        assert Tokenizer.load(shards.folder / "tokenizer").tokenizer.to_str() == ours.tokenizer.to_str()
        assert [line.startswith("the tokeniser is made of a sample") for line in lines] == [True] * (size is not None)
        if size is None:
            assert made.tokenizer.train(texts).tokenizer.to_str() == ours.tokenizer.to_str()
        else:
            taken = sum(map(len, sample.sampled(texts, sample.every(characters))))
            assert 0.5 * size < taken < 1.5 * size
