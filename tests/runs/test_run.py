"""The run directory: what is in it, who may write it, and what is said when it cannot be."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from transduce.config import from_data
from transduce.errors import UserError
from transduce.runs import checkpoint
from transduce.runs.claim import claim
from transduce.runs.migrate import SCHEMA
from transduce.runs.position import Position, from_state, to_state
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run, record_data
from transduce.training.train import stop_signals, train

RecipeOf = Callable[..., Recipe]


@pytest.fixture(scope="module")
def finished(recipe: RecipeOf, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that came to its end."""
    torch.set_num_threads(1)
    return train(recipe(over={"train.average": 2}), tmp_path_factory.mktemp("runs"), quiet=True)


def test_a_run_is_one_directory_with_everything(finished: Run) -> None:
    names = sorted(p.name for p in finished.path.iterdir() if not p.name.startswith("."))
    assert names == [
        "README.txt", "best", "checkpoints", "config.yaml", "data.json", "env.json", "hashes.json", "last", "log.txt",
        "metrics.jsonl", "plots", "result.json", "samples", "timings.jsonl", "tokenizer",
    ]  # fmt: skip
    assert [p.name for p in sorted((finished.path / "samples").iterdir())] == [
        f"step-{step:08d}.txt" for step in (4, 8, 12)
    ]
    assert os.readlink(finished.last) == "checkpoints/step-00000012"
    assert not os.path.isabs(os.readlink(finished.best))
    last = sorted(p.name for p in finished.last.iterdir())
    assert last == ["DONE", "model.safetensors", "optimizer.safetensors", "state.json"]
    assert (finished.path / "plots" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in finished.path.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".bin")]


def test_the_config_is_fully_resolved_and_gives_the_recipe_back(finished: Run) -> None:
    data = yaml.safe_load((finished.path / "config.yaml").read_text())
    assert data["schema"] == SCHEMA
    assert data["train"]["save_every"] == 4
    assert data["batch"]["overlong"] == "truncate"
    assert from_data(Recipe, data) == finished.recipe


def test_metrics_are_what_was_asked_for(finished: Run) -> None:
    lines = finished.metrics
    updates, validations = [x for x in lines if "loss" in x], [x for x in lines if "val_loss" in x]
    assert [x["step"] for x in updates] == [2, 4, 6, 8, 10, 12]
    assert set(updates[0]) == {"step", "loss", "nll", "learning_rate", "grad_norm", "tokens"}
    assert [x["step"] for x in validations] == [4, 8, 12]
    assert set(validations[0]) == {"step", "val_loss", "bleu", "exact"}
    timings = [json.loads(x) for x in (finished.path / "timings.jsonl").read_text().splitlines()]
    assert [x["step"] for x in timings] == [2, 4, 6, 8, 10, 12]
    assert finished.result is not None
    assert finished.result["metric"] == "exact"
    assert finished.result["test"]["notes"]["bleu"].startswith("nrefs:1|case:mixed|")
    assert finished.result["averaged"] == [8, 12]


def test_no_steps_left(finished: Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.checkpoints.iterdir()}
    with pytest.raises(
        UserError, match=r"no steps left in .*tiny: all 12 steps are done; to go on, raise train.max_steps"
    ):
        train(finished.recipe, finished.path.parent, quiet=True)
    assert before == {p: p.stat().st_mtime_ns for p in finished.checkpoints.iterdir()}


def test_another_config_in_the_same_directory_is_refused_with_the_keys(finished: Run, recipe: RecipeOf) -> None:
    other = recipe(over={"train.average": 2, "model.width": 32, "train.seed": 4})
    with pytest.raises(UserError) as caught:
        train(other, finished.path.parent, quiet=True)
    told = str(caught.value)
    assert "is a run of another config: model.width (there 16, now 32), train.seed (there 3, now 4)" in told
    assert "choose another name=" in told


def test_a_finite_schedule_says_how_to_go_on(recipe: RecipeOf, tmp_path: Path) -> None:
    over = {"schedule.kind": "linear", "train.max_steps": 4, "train.samples": 0}
    train(recipe(over=over), tmp_path, quiet=True)
    with pytest.raises(
        UserError, match=r"schedule.steps \(there 4, now 6\); add schedule.steps=4 to keep its learning rates"
    ):
        train(recipe(over={**over, "train.max_steps": 6}), tmp_path, quiet=True)
    run = train(recipe(over={**over, "train.max_steps": 6, "schedule.steps": 4}), tmp_path, quiet=True)
    assert [line["learning_rate"] for line in run.metrics if "loss" in line][-1] == 0.0


def test_a_run_that_was_copied_with_its_links_followed_goes_on(recipe: RecipeOf, tmp_path: Path) -> None:
    run = train(recipe(over={"train.max_steps": 4}), tmp_path / "a", quiet=True)
    shutil.copytree(run.path, tmp_path / "b" / run.path.name, symlinks=False)  # as `zip -r` and `cp -rL` do
    longer = train(recipe(over={"train.max_steps": 8}), tmp_path / "b", quiet=True)
    once = train(recipe(over={"train.max_steps": 8}), tmp_path / "c", quiet=True)
    assert longer.last.is_symlink()
    assert (longer.last / "model.safetensors").read_bytes() == (once.last / "model.safetensors").read_bytes()


def test_a_run_may_be_made_longer_and_is_then_the_longer_run(recipe: RecipeOf, tmp_path: Path) -> None:
    train(recipe(over={"train.max_steps": 4}), tmp_path / "a", quiet=True)
    longer = train(recipe(over={"train.max_steps": 8, "batch.workers": 1, "train.keep": 4}), tmp_path / "a", quiet=True)
    once = train(recipe(over={"train.max_steps": 8}), tmp_path / "b", quiet=True)
    assert longer.metrics == once.metrics
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (longer.last / name).read_bytes() == (once.last / name).read_bytes()


def test_other_libraries_or_threads_are_told(recipe: RecipeOf, tmp_path: Path) -> None:
    train(recipe(over={"train.max_steps": 2, "train.threads": 1}), tmp_path, quiet=True)
    run = train(recipe(over={"train.max_steps": 3, "train.threads": 2}), tmp_path, quiet=True)
    assert "made with threads 1, now 2: the numbers may differ in their last bits" in (run.path / "log.txt").read_text()


def test_changed_data_is_refused(recipe: RecipeOf, texts: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "texts"
    elsewhere.mkdir()
    for file in texts.iterdir():
        (elsewhere / file.name).write_bytes(file.read_bytes())
    train(recipe(over={"train.max_steps": 2}), tmp_path, quiet=True)
    moved = {"data.path": str(elsewhere), "train.max_steps": 3}
    train(recipe(over=moved), tmp_path, quiet=True)
    (elsewhere / "train.src").write_text((elsewhere / "train.src").read_text().replace("a", "b"))
    with pytest.raises(
        UserError, match=r"was started on other data: `train` has changed; restore it, or choose another"
    ):
        train(recipe(over={**moved, "train.max_steps": 4}), tmp_path, quiet=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff", b"{}", b'{"step": "x"}', b"[" * 10**5])
@pytest.mark.parametrize("name", ["data.json", "result.json"])
def test_files_of_a_run_that_are_broken_are_one_sentence(
    name: str, content: bytes, recipe: RecipeOf, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"(data|result)\.json|was started on other data"):
        _ = Run(tmp_path).result if name == "result.json" else record_data(Run(tmp_path), recipe().data.load())


@pytest.mark.parametrize(
    "content", [b"a: 2026-13-45", b"modle: {}", b"model: 3", b"name: no", b"[" * 10**5, b"a: [", b"\xff", b"a: 1\na: 2"]
)
def test_a_config_that_cannot_be_read_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.yaml") as caught:
        _ = Run(tmp_path).recipe
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keys", [["rng"], ["cursor"], ["step", "tokens"]])
def test_a_state_that_lacks_something_is_one_sentence(keys: list[str]) -> None:
    state = to_state(Position(), {"cpu": torch.get_rng_state()})
    with pytest.raises(UserError, match=r"state\.json does not say where training stood .*; remove that checkpoint"):
        from_state({key: value for key, value in state.items() if key not in keys})


def test_two_writers_are_kept_apart(recipe: RecipeOf, tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from transduce.config import from_data; import json\n"
        "from transduce.runs.recipe import Recipe; from transduce.runs.claim import claim\n"
        "with claim(from_data(Recipe, json.loads(sys.argv[1])), Path(sys.argv[2])): print('held', flush=True); input()"
    )
    from transduce.config import to_data

    command = [sys.executable, "-c", holder, json.dumps(to_data(recipe())), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"is being written by process {process.pid}; wait for it, or choose"),
            claim(recipe(), tmp_path),
        ):
            pass
        process.kill()
    with claim(recipe(), tmp_path):  # a lock dies with its process
        pass


def test_a_directory_that_is_no_run_is_left_alone(recipe: RecipeOf, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"is not a run: it has no config.yaml; choose another name="):
        train(recipe(), tmp_path, quiet=True)


def test_a_directory_that_cannot_be_written(recipe: RecipeOf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/tiny cannot be written: Not a directory; choose another directory"):
        train(recipe(), tmp_path / "file", quiet=True)
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(UserError, match=r"cannot be written: Permission denied; choose another directory"):
        train(recipe(), locked, quiet=True)


@pytest.mark.parametrize("where", ["checkpoint", "metrics"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    where: str, recipe: RecipeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, calls = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), list[int]()
    target, name = {"checkpoint": (checkpoint, "save_tensors"), "metrics": (os, "fsync")}[where]
    original = getattr(target, name)

    def limited(*args: Any) -> Any:
        calls.append(1)
        if len(calls) > (5 if where == "checkpoint" else 15):
            raise full
        return original(*args)

    with monkeypatch.context() as patched:
        patched.setattr(target, name, limited)
        with pytest.raises(UserError, match=r"the disk is full, so .* cannot be written; the checkpoints .* are whole"):
            train(recipe(), tmp_path, quiet=True)
    assert checkpoint.fault(tmp_path / "tiny" / "last") is None
    resumed = train(recipe(), tmp_path, quiet=True)
    whole = train(recipe(), tmp_path / "whole", quiet=True)
    assert resumed.metrics == whole.metrics
    assert (resumed.last / "model.safetensors").read_bytes() == (whole.last / "model.safetensors").read_bytes()


def test_a_damaged_checkpoint_is_told_and_the_result_is_the_same(recipe: RecipeOf, tmp_path: Path) -> None:
    whole = train(recipe(over={"train.max_steps": 12}), tmp_path / "whole", quiet=True)
    train(recipe(over={"train.max_steps": 8}), tmp_path, quiet=True)
    file = tmp_path / "tiny" / "last" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    again = train(recipe(over={"train.max_steps": 12}), tmp_path, quiet=True)
    assert again.metrics == whole.metrics
    assert (again.last / "optimizer.safetensors").read_bytes() == (whole.last / "optimizer.safetensors").read_bytes()
    log = (again.path / "log.txt").read_text()
    assert "checkpoint step-00000008 is damaged: optimizer.safetensors is not what was written" in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(number: int, tiny: Any, recipe: RecipeOf, tmp_path: Path) -> None:
    """The signal comes from inside, in the middle of update 6, as if from a terminal."""
    script = (
        "import json, os, signal, sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from transduce.config import from_data; from transduce.errors import UserError\n"
        "from transduce.training import loop; from transduce.training.train import train\n"
        "from transduce.runs.recipe import Recipe\n"
        "signal.signal(int(sys.argv[3]), signal.SIG_DFL)\n"  # some are ignored in the background
        "original, calls = loop.read, []\n"
        "def read(*args):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 6: os.kill(os.getpid(), int(sys.argv[3]))\n"
        "    return original(*args)\n"
        "loop.read = read\n"
        "try: train(from_data(Recipe, json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
        "except UserError as error: print(error); sys.exit(error.exit_code)\n"
    )
    command = [sys.executable, "-c", script, json.dumps(tiny()), str(tmp_path), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130, done.stderr
    assert "finishing this step, then saving" in done.stdout
    assert "stopped after step 6 of 12; all is saved in" in done.stdout
    assert "Run the same command again to go on" in done.stdout
    assert "Traceback" not in done.stderr
    assert Run(tmp_path / "tiny").last.resolve().name == "step-00000006"


def test_without_a_validation_split_the_last_is_the_best(recipe: RecipeOf, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train.txt").write_text("abc\nabcd\nab\n" * 9)
    over = {"data.path": str(folder), "data.valid_fraction": 0.0, "train.max_steps": 7, "train.save_every": 3}
    run = train(recipe("language", over), tmp_path, quiet=True)
    assert run.best.resolve() == run.last.resolve() == (run.checkpoints / "step-00000007").resolve()
    assert run.result is not None
    assert run.result["score"] is None


def test_a_model_beyond_the_memory_is_refused_before_it_is_made(recipe: RecipeOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the weights take [\d,]+ GB in float32.*lower layers, width"):
        train(recipe(over={"model.width": 1 << 20}), tmp_path, quiet=True)


def test_wrong_pairings_are_refused(recipe: RecipeOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the data gives pairs, .* choose model.kind=encoder-decoder"):
        train(recipe(over={"model": {"kind": "decoder", "width": 16, "layers": 1}, "name": "a"}), tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"train.metric=bleu looks at predictions that task=language does not make"):
        train(recipe("language", {"train.metric": "bleu", "name": "b"}), tmp_path, quiet=True)
    over = {"model.positions": {"kind": "learned", "limit": 16}, "name": "c"}
    with pytest.raises(UserError, match=r"batch.max_length=24, but the model has 16 positions; lower it"):
        train(recipe(over=over), tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"train.max_steps": 0}, "max_steps=0 must be at least 1"),
        ({"train.clip": 0}, "clip=0.0 would stop every update"),
        ({"train.ema": 1.0}, "ema=1.0 must lie between 0 and 1"),
        ({"train.samples": 0, "train.metric": "bleu"}, "metric=bleu needs decoded examples, but train.samples=0"),
        ({"train.precision": "fp16"}, "must be one of auto, fp32, bf16"),
        ({"name": "../x"}, "cannot be a directory"),
        ({"name": "x\udcff"}, r"name='x\\udcff' is not UTF-8"),
        ({"train.threads": 100_000}, r"train\.threads=100000, but this machine has \d+ CPUs; use at most \d+"),
        ({"train.seed": -1}, r"seed=-1 must be at least 0 and below 2\^63"),
        ({"train.seed": 2**63}, r"`train\.seed` is 9223372036854775808, which is larger than any number"),
        ({"train.clip": math.nan}, r"`train\.clip` is not a number \(nan\)"),
        ({"train.save_minutes": math.nan}, r"`train\.save_minutes` is not a number \(nan\)"),
        ({"schema": 0}, "schema=0 is not a version of recipes"),
        ({"schema": 99}, "schema=99 is newer than this transduce"),
        ({"train.device": "cuda"}, "PyTorch sees no GPU here"),
    ],
)
def test_refusals(over: dict[str, Any], sentence: str, recipe: RecipeOf, tmp_path: Path) -> None:
    if over == {"train.device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=sentence):
        train(recipe(over=over), tmp_path, quiet=True)


def test_a_terminal_that_closes_twice_stops_once_and_nohup_stays() -> None:
    messages, numbers = list[str](), (signal.SIGHUP, signal.SIGINT)  # of which a shell may have some ignored
    usual = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    with stop_signals(messages.append) as interrupted:
        assert not interrupted()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert messages[0] == "the terminal is closed: finishing this step, then saving"
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(messages.append) as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted()
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def test_a_message_that_cannot_be_written_at_that_moment_stops_nothing() -> None:
    def say(text: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")

    with stop_signals(say) as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted()
