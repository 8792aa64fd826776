"""A run in a line: right for whole runs, and something for whatever else may lie in a directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transduce.errors import UserError
from transduce.runs.figures import best_value, minutes, valid_loss
from transduce.runs.listing import is_run, summaries, summary
from transduce.runs.lock import LOCK, owner


def bare(path: Path, config: str = "name: a\ntrain: {max_steps: 40}\n") -> Path:
    """The least that a run can be."""
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.yaml").write_text(config)
    return path


def write_lines(path: Path, *lines: object) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_minutes_of_several_processes_are_added(tmp_path: Path) -> None:
    seconds = [30.0, 90.0, 12.0, 60.0, 3.0]  # three processes: 90 + 60 + 3
    write_lines(tmp_path / "timings.jsonl", *({"step": i, "seconds": s} for i, s in enumerate(seconds)))
    assert minutes(tmp_path) == pytest.approx((90 + 60 + 3) / 60)
    assert minutes(tmp_path / "nothing") is None


@pytest.mark.parametrize("metric", ["loss", "bleu", "exact", "accuracy"])
def test_the_metric_of_a_run_that_goes_on_is_told_by_its_value(metric: str) -> None:
    line = {"step": 8, "val_loss": 2.5, "bleu": 13.0, "exact": 0.25, "accuracy": 0.75}
    value = line["val_loss" if metric == "loss" else metric]
    score = -value if metric == "loss" else value
    state = {"best_score": [score, -2.5], "best_step": 8}
    metrics = [{"step": 4, "val_loss": score, "bleu": score}, {"step": 8, "loss": 1.0}, line, {"step": 9, "loss": 1.0}]
    assert best_value({}, metrics, state, {}) == (metric, value, 8)
    result = {"metric": metric, "score": score - 1}
    assert best_value({}, metrics, state, result)[1] == (abs(score - 1) if metric == "loss" else score - 1)


def test_the_valid_loss_is_that_of_the_best_step() -> None:
    metrics = [{"step": 4, "val_loss": 2.0}, {"step": 8, "val_loss": 3.0}, {"step": 8, "loss": 9.0}]
    assert valid_loss(metrics, 4) == 2.0
    assert valid_loss(metrics, 5) == 3.0
    assert valid_loss(metrics[2:], 4) is None


@pytest.mark.parametrize("there", ["nothing", "config", "checkpoints", "a file", "a link to nothing"])
def test_what_is_not_a_run_is_left_out(tmp_path: Path, there: str) -> None:
    path = tmp_path / "one"
    if there == "a file":
        path.write_text("text")
    elif there == "a link to nothing":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
        (path / "config.yaml").write_text("name: a\n") if there == "config" else None
        (path / "checkpoints").mkdir() if there == "checkpoints" else None
    bare(tmp_path / ".hidden.removed")
    assert not is_run(path)
    assert summaries(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("config.yaml", b"\xff\xfe", "config.yaml cannot be read"),
        ("config.yaml", b"[1, 2]", "config.yaml is not a recipe"),
        ("config.yaml", b"a: [", "config.yaml cannot be read"),
        ("hashes.json", b"{", "hashes.json cannot be read"),
        ("hashes.json", b'{"config.yaml": "0"}', "config.yaml is not what was written (its sha256 differs)"),
        ("result.json", b"", "result.json cannot be read"),
        ("metrics.jsonl", b'{"step": 1, "loss": 2}\n', "no checkpoint is left"),
    ],
)
def test_damage_is_told_and_never_raised(tmp_path: Path, file: str, content: bytes, problem: str) -> None:
    path = bare(tmp_path / "a")
    (path / file).write_bytes(content)
    found = summary(path)
    assert found.state == "damaged"
    assert found.problem is not None
    assert found.problem.startswith(problem)


def test_a_run_that_has_not_begun_is_stopped_at_step_0(tmp_path: Path) -> None:
    found = summary(bare(tmp_path / "a"))
    assert (found.state, found.step, found.max_steps, found.parameters, found.metric) == ("stopped", 0, 40, None, None)


def test_strange_files_are_not_waited_for(tmp_path: Path) -> None:
    path = bare(tmp_path / "a")
    for name in ("log.txt", "metrics.jsonl", "timings.jsonl", "result.json", "hashes.json", LOCK):
        os.mkfifo(path / name)
    assert summary(path).state == "stopped"


def test_a_log_tells_the_hour_whatever_the_files_say(tmp_path: Path) -> None:
    path = bare(tmp_path / "a")
    lines = "2020-01-02 03:04:05 begun\nsecond line 2021-01-01 00:00:00\n" + "x" * 100_000
    (path / "log.txt").write_text(f"{lines}\n2020-01-02 03:05:06 done\nof this\n")
    assert summary(path).changed == "2020-01-02 03:05:06"


def test_the_order_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    for name, hour, loss in (("a", "03", 2.0), ("b", "01", None), ("c", "02", 1.0)):
        path = bare(tmp_path / name)
        (path / "log.txt").write_text(f"2020-01-02 {hour}:04:05 done\n")
        (path / "result.json").write_text('{"step": 4}')
        write_lines(path / "metrics.jsonl", *([{"step": 4, "val_loss": loss}] if loss else []))
    orders = {sort: "".join(one.name for one in summaries(tmp_path, sort)) for sort in ("when", "name", "loss")}
    assert orders == {"when": "bca", "name": "abc", "loss": "cab"}
    with pytest.raises(UserError, match="--sort size is not an order; use when, name"):
        summaries(tmp_path, "size")


def test_a_live_process_is_seen_and_a_dead_one_is_not(tmp_path: Path) -> None:
    path = bare(tmp_path / "a")
    write_lines(path / "metrics.jsonl", {"step": 7, "loss": 1.0})
    assert owner(path) is None
    assert not (path / LOCK).exists()  # to look leaves nothing behind
    code = (
        "import sys; from pathlib import Path; from transduce.disk import open_own\n"
        "from transduce.runs.lock import take\n"
        f"lock = open_own(Path({str(path)!r}) / '.lock', 'a+'); assert take(lock); lock.write('77\\n'); lock.flush()\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert owner(path) == "77"
        assert (summary(path).state, summary(path).step, summary(path).problem) == ("being written", 7, None)
        process.communicate(b"")
    assert owner(path) is None
    assert summary(path).state == "damaged"


def test_a_directory_that_is_a_run_or_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a run itself; see it with `transduce runs show"):
        summaries(bare(tmp_path / "a"))
    with pytest.raises(UserError, match="there is no directory"):
        summaries(tmp_path / "b")
