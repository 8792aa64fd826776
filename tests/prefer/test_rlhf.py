"""From pairs of answers to policies and a table, in one command that goes on where it was stopped."""

import json
from pathlib import Path

import pytest

import transduce
from transduce.api.rlhf import STAGES, rlhf
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.prefer.comparison import won

SMALL = (
    "sft.model.width=16", "sft.model.layers=1", "sft.model.mixer.heads=2", "sft.tokenizer.vocab_size=300",
    "train.threads=1", "train.precision=fp32", "train.seed=3", "dpo.train.accumulate=2",
    *(f"{name}.train.{key}" for name in STAGES for key in ("max_steps=2", "validate_every=2", "samples=2")),
    *(f"{name}.schedule.warmup_steps=1" for name in STAGES),
    *(f"{name}.objective.{key}" for name in ("grpo", "ppo") for key in ("prompts=3", "max_new_tokens=4")),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rlhf") / "pairs.jsonl"
    rows = [{"prompt": f"{i}+1?", "chosen": f"{i + 1}", "rejected": f"{i}, no"} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    return path


def test_from_pairs_to_a_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.parent
    assert main(["train", "rlhf", f"data.path={data}", *SMALL, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "ppo: transduce train ppo, in" in said
    told = json.loads((out / "rlhf" / "table.json").read_text("utf-8"))
    rows = {row["name"]: row for row in told["rows"]}
    assert list(rows) == ["sft", "dpo", "grpo", "ppo"]
    assert rows["sft"]["wins"] == {"reward": 0.5, "judge": 0.5}, "a model against itself"
    assert rows["sft"]["kl"] == 0.0
    assert all(row["kl"] != 0.0 and row["length"] >= 1 and len(row["answers"]) == 3 for row in told["rows"][1:])
    halves = [(out / "rlhf" / "data" / name / "train.jsonl").read_text("utf-8") for name in ("half", "rest")]
    first, second = ({json.loads(line)["prompt"][0]["content"] for line in text.splitlines()} for text in halves)
    assert first
    assert second
    assert not first & second, "who judges in the end has seen what the rewards were learnt from"
    assert len(transduce.load(out / "rlhf" / "judge").reward([("1+1?", "2")])) == 1

    weights = {name: (out / "rlhf" / name / "best" / "model.safetensors").stat().st_mtime_ns for name in STAGES}
    again = rlhf([tuple(word.split("=", 1)) for word in (f"data.path={data}", *SMALL)], out=out, quiet=True)
    assert [row._asdict() for row in again] == told["rows"], "the same trainings, which were done already"
    assert weights == {name: (out / "rlhf" / name / "best" / "model.safetensors").stat().st_mtime_ns for name in STAGES}


def test_what_is_refused(data: Path, tmp_path: Path) -> None:
    for words, says in (
        ({}, "rlhf needs your pairs"),
        ({"data.path": data, "model.width": 8}, "does not know for which of its trainings model.width is"),
        ({"data.path": data, "data.valid_fraction": 0}, "no pairs are held out"),
        ({"data.path": data, "start": "nowhere"}, "start=nowhere is not a directory"),
    ):
        with pytest.raises(UserError, match=says):
            rlhf(words, out=tmp_path, quiet=True)  # type: ignore[arg-type]
    other = {"data.path": str(data), **dict(word.split("=", 1) for word in SMALL)}
    with pytest.raises(UserError, match=r"train.max_steps above|is a run of another config: objective.beta"):
        rlhf({**other, "dpo.objective.beta": 0.9}, out=data.parent, quiet=True)
    with pytest.raises(UserError, match="was made of other pairs"):
        rlhf({**other, "data.system": "Be brief."}, out=data.parent, quiet=True)


def test_equal_rewards_are_half_a_win() -> None:
    assert (won(1.0, 0.0), won(0.0, 1.0), won(1.0, 1.0)) == (1.0, 0.0, 0.5)
