"""An average of runs: it is the mean, one model averaged is itself, and what does not fit is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce import api
from transduce.api import averaging
from transduce.errors import UserError
from transduce.runs import soup

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 8, "model.layers": 1, "model.feedforward.hidden": 8,
    "model.mixer.heads": 2, "batch.max_length": 16, "batch.batch_tokens": 256, "optimizer.learning_rate": 0.03,
    "train.max_steps": 6,
    "train.validate_every": 6, "schedule.warmup_steps": 1, "train.threads": 1, "train.device": "cpu", "train.ema": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a: from scratch. b, c: two tunings of a, one with adapters. odd: of another width. other: of other letters."""
    out = tmp_path_factory.mktemp("soup")
    rows = [("ex" if i % 3 else "why", "ab" * (i % 4) + ("x" if i % 3 else "y")) for i in range(40)]
    (out / "rows.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    base = {"data.path": str(out / "rows.tsv"), **SMALL}
    td.train("classify", {**base, "name": "a"}, out=out, quiet=True)
    more = {"data.path": str(out / "rows.tsv"), "train.max_steps": 4, "train.validate_every": 4}
    td.train(str(out / "a"), {**more, "name": "b", "train.seed": 1}, out=out, quiet=True)
    td.train(str(out / "a"), {**more, "name": "c", "tune": "lora", "train.seed": 2}, out=out, quiet=True)
    td.train("classify", {**base, "name": "odd", "model.width": 16}, out=out, quiet=True)
    (out / "few.tsv").write_text("".join(f"{label}\t{text.replace('y', 'z')}\n" for label, text in rows))
    td.train("classify", {**base, "data.path": str(out / "few.tsv"), "name": "other"}, out=out, quiet=True)
    return out


def test_an_average_is_the_mean_and_predicts(cli, runs: Path) -> None:
    found = cli("average", runs / "a", runs / "b", runs / "c", "--out", "soup")
    assert found.code == 0, found.err
    assert found.out.count("on valid") == 1
    three = [soup.ingredient(runs / name).weights for name in "abc"]
    made = soup.ingredient(Path("soup"))
    for name, tensor in made.weights.items():
        exact = sum(part[name].double() for part in three) / 3
        assert torch.equal(tensor, exact.to(tensor.dtype)), name
    text = ["abx", "aby", ""]
    assert [one.label for one in td.load("soup", device="cpu").classify(text)][2] == ""
    record = json.loads(Path("soup/average.json").read_text())
    assert [one["run"] for one in record["runs"]] == [str(runs / name) for name in "abc"]
    assert record["measured"][-1]["name"] == "average"
    assert cli("train", "soup", f"data.path={runs / 'rows.tsv'}", "train.max_steps=1", "name=on", "--quiet").code == 0


def test_the_average_of_copies_is_the_model_and_greedy_never_loses(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "a", tmp_path / "copy", symlinks=True)
    made = api.average([runs / "a", tmp_path / "copy"], tmp_path / "same")
    one, other = soup.ingredient(runs / "a").weights, soup.ingredient(made.run.path).weights
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    picked = api.average([runs / name for name in "abc"], tmp_path / "greedy", greedy=True)
    own = {row.name: row.value for row in picked.rows}
    assert own.pop("average") >= max(own.values())
    assert any(row.used for row in picked.rows[:-1])


def test_a_greedy_average_leaves_out_what_harms(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"a": 1.0, "b": 9.0, "c": 1.2}.items()
    parts = [soup.Ingredient(Path(name), None, {"w": torch.tensor([x])}, {}) for name, x in made]  # type: ignore[arg-type]

    class Near:
        def taste(self, tensors: dict[str, torch.Tensor]) -> averaging.Scored:
            return averaging.Scored((-abs(float(tensors["w"]) - 1.1), 0.0), (0.0, "loss", 0.0))

    keys = [Near().taste(part.weights).key for part in parts]  # type: ignore[arg-type]
    assert averaging.chosen(parts, keys, Near()) == [0, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a"], "an average takes two runs or more, and 1 is given"),
        (["a", "b", "a"], "is given twice; name each run once"),
        (["a", "odd"], r"has the shape \[.*8\] in .*a and \[.*16\] in .*odd; average runs of one model"),
        (["a", "other"], "has another tokeniser than"),
        (["a", "nothing"], "nothing"),
    ],
)
def test_what_does_not_fit_is_one_sentence(names: list[str], sentence: str, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        api.average([runs / name for name in names], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="exists already"):
        api.average([runs / "a", runs / "b"], runs / "a")
