"""Rewards by a model that learnt them from comparisons."""

import json
import shutil
from pathlib import Path

import pytest

import transduce
from transduce.cli.main import main
from transduce.runs.run import Run
from transduce.tasks.rewards.run import RunReward

SMALL = (
    "train.max_steps=4", "train.validate_every=4", "train.samples=4", "train.threads=1", "train.precision=fp32",
    "schedule.warmup_steps=1", "batch.batch_tokens=512", "batch.max_length=64", "tokenizer.kind=char",
    "model.width=16", "model.layers=1", "model.mixer.heads=2",
)  # fmt: skip
TALK = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judge")
    rows = [{"prompt": f"{c}?", "completion": c * 2, "chosen": c * 2, "rejected": "no"} for c in "abcdefghijkl"]
    for name, keep in (("talks", ("prompt", "completion")), ("pairs", ("prompt", "chosen", "rejected"))):
        lines = [json.dumps({key: row[key] for key in keep}) for row in rows]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for kind, data in (("sft", "talks"), ("reward", "pairs")):
        assert main(["train", kind, f"data.path={out / data}.jsonl", *SMALL, "--out", str(out), "--quiet"]) == 0
    return out


def words(folder: Path, *more: str, judge: str = "reward", name: str = "judged") -> list[str]:
    own = [f"start={folder / 'sft'}", f"data.path={folder / 'talks.jsonl'}", f"name={name}", *SMALL[:8]]
    by = ["task.reward.kind=run", f"task.reward.path={folder / judge}", "generate.max_new_tokens=3"]
    explore = ["objective.prompts=3", "objective.group=4", "objective.max_new_tokens=3", "train.log_every=1"]
    return ["train", "ppo", *own, *by, *explore, *more, "--out", str(folder), "--quiet"]


def test_the_reward_is_that_of_the_run(folder: Path) -> None:
    source, model = RunReward(path=str(folder / "reward")), transduce.load(folder / "reward")
    prompts, answers = [[{"role": "user", "content": "a?"}], TALK], ["aa", "no"]
    asked = [source.asked(json.dumps(prompt)) for prompt in prompts]
    assert asked[0] == "a?"
    assert json.loads(asked[1]) == TALK, "a reward is of the whole conversation"
    expected = model.reward(list(zip(prompts, answers, strict=True)))
    assert source.rewards(asked, answers, ["", ""]) == pytest.approx(expected, abs=1e-6)
    assert source.asked("[1]") == json.dumps([{"role": "user", "content": "[1]"}])


def test_a_policy_learns_from_it_as_long_as_it_is_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder)) == 0
    found = [row["reward"] for row in Run(folder / "judged").metrics if "reward" in row]
    assert len(set(found)) > 1
    assert json.loads((folder / "judged" / "reference" / "reward.json").read_text("utf-8"))["sha256"]
    shutil.copytree(folder / "reward", folder / "moved", symlinks=True)
    assert main(words(folder, judge="moved", name="other")) == 0
    shutil.rmtree(folder / "moved")
    again = ["train", "reward", f"data.path={folder / 'pairs.jsonl'}", "name=moved", "train.seed=1", *SMALL]
    assert main([*again, "--out", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    assert main(words(folder, "train.max_steps=8", judge="moved", name="other")) == 2
    assert "is not what it was when the training began (its hash differs)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("judge", "says"), [("sft", "which gives no rewards"), ("none", "is no run with a checkpoint")]
)
def test_what_gives_no_reward_is_refused(
    judge: str, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, judge=judge, name="odd")) == 2
    assert says in capsys.readouterr().err
    assert not (folder / "odd").exists()
