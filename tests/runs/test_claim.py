"""A run is written in its own directory, by one process, as long as that directory is there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from transduce.errors import UserError
from transduce.runs.claim import claim
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.training import loop
from transduce.training.train import train

RecipeOf = Callable[..., Recipe]
OVER: dict[str, Any] = {"train.max_steps": 4, "train.samples": 2}
FILES = [
    ".lock", "README.txt", "config.yaml", "data.json", "env.json", "hashes.json", "metrics.jsonl", "timings.jsonl",
    "log.txt", "result.json", "plots/loss.png", "samples/step-00000004.txt", "samples/step-00000008.txt",
    "tokenizer/tokenizer.json", "checkpoints/step-00000004/model.safetensors", "notes.txt",
    ".config.yaml.partial", ".result.json.partial", "plots/.loss.png.partial", ".hashes.json.partial",
]  # fmt: skip
FOLDERS = [
    "plots", "samples", "checkpoints", "tokenizer", "failures", "tensorboard", ".tokenizer", "best", "last",
    ".best.link", "checkpoints/step-00000004", "checkpoints/step-00000008", "checkpoints/.step-00000008.partial",
    "checkpoints/averaged",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(recipe: RecipeOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train(recipe(over=OVER), tmp_path_factory.mktemp("runs"), quiet=True).path


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs" / "tiny", symlinks=True)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_a_link_out_of_the_run_is_refused_and_nothing_is_written_there(
    name: str, copy: Path, recipe: RecipeOf, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "folder" / "step-00000001").mkdir(parents=True)
    (outside / "folder" / "step-00000001" / "thesis.txt").write_text("years of work")
    (outside / "file").write_text("years of work")
    before = contents(outside)
    for target in (outside / ("folder" if name in FOLDERS else "file"), outside / "nothing"):
        place = copy / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(target)
        with (
            pytest.raises(UserError, match=r"is a link to .*, and a run is written in its own directory only"),
            claim(recipe(over={**OVER, "train.max_steps": 8}).resolve(), copy.parent),
        ):
            pass
        assert contents(outside) == before


@pytest.mark.parametrize("target", ["checkpoints/..", "..", "checkpoints/../../x", "/checkpoints/step-00000004"])
def test_best_and_last_lead_to_a_checkpoint_of_the_run(target: str, copy: Path, recipe: RecipeOf) -> None:
    (copy / "best").unlink()
    (copy / "best").symlink_to(target)
    with pytest.raises(UserError, match=r"best is a link to"), claim(recipe(over=OVER).resolve(), copy.parent):
        pass


def test_a_pipe_in_a_run_is_refused_and_not_waited_for(copy: Path, recipe: RecipeOf) -> None:
    (copy / "metrics.jsonl").unlink()
    os.mkfifo(copy / "metrics.jsonl")
    with pytest.raises(UserError, match="neither a file nor a dir"), claim(recipe(over=OVER).resolve(), copy.parent):
        pass


def test_the_directory_itself_may_be_a_link(copy: Path, recipe: RecipeOf, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "tiny").symlink_to(copy)
    run = train(recipe(over={**OVER, "train.max_steps": 6}), tmp_path / "elsewhere", quiet=True)
    assert run.result is not None
    assert run.result["step"] == 6


def empty(run: Path) -> None:
    for path in run.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def replaced(run: Path) -> None:
    run.rename(run.with_name("other"))
    shutil.copytree(run.with_name("other"), run, symlinks=True)


REMOVED: dict[str, Callable[[Path], object]] = {
    "all of it": shutil.rmtree,
    "what is in it": empty,
    "renamed": lambda run: run.rename(run.with_name("other")),
    "another in its place": replaced,
    "config.yaml": lambda run: (run / "config.yaml").unlink(),
    "metrics.jsonl": lambda run: (run / "metrics.jsonl").unlink(),
    "checkpoints": lambda run: shutil.rmtree(run / "checkpoints"),
}


@pytest.mark.parametrize("step", [1, 3, 9])
@pytest.mark.parametrize("how", REMOVED)
def test_a_run_that_is_removed_while_it_is_trained_is_told_and_does_not_come_back(
    how: str, step: int, recipe: RecipeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls, read, left = tmp_path / "tiny", list[int](), loop.read, list[object]()

    def removing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == step:
            REMOVED[how](run)
            left.append(contents(run) if run.exists() else None)
        return read(*args)

    monkeypatch.setattr(loop, "read", removing)
    with pytest.raises(UserError, match=r"tiny.* was removed or renamed while the run was trained") as caught:
        train(recipe(over={"train.samples": 0, "train.validate_every": 100}), tmp_path, quiet=True)
    assert caught.value.exit_code != 0
    assert len(calls) <= step + 2  # it is noticed with the next line of metrics
    assert (contents(run) if run.exists() else None) == left[0] or how in (
        "config.yaml",
        "metrics.jsonl",
        "checkpoints",
    )
    assert not (run / "result.json").exists()


def test_a_run_that_was_made_anew_by_others_is_not_removed(recipe: RecipeOf, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.rename(tmp_path / "old")
        (path / "checkpoints").mkdir(parents=True)
        (path / "work.txt").write_text("of another process")
        raise UserError("stop here")

    with pytest.raises(UserError, match="stop here"), claim(recipe(over=OVER).resolve(), tmp_path) as run:
        fail(run.path)
    assert (tmp_path / "tiny" / "work.txt").exists()


def test_a_damaged_config_or_tokeniser_is_told(copy: Path, recipe: RecipeOf) -> None:
    import transduce as td

    for name in ("config.yaml", "tokenizer/tokenizer.json"):
        file = copy / name
        content = file.read_bytes()
        for damage in (content[:-1] + b" \n", content.replace(b"e", b"f", 1), content + b"#"):
            file.write_bytes(damage)
            for use in (lambda: td.load(copy), lambda: train(recipe(over=OVER), copy.parent, quiet=True)):
                with pytest.raises(UserError, match=rf"cannot be used: {name} is not what was written \(its sha256"):
                    use()
        file.write_bytes(content)
    (copy / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer.json is missing; restore it from a copy, or remove hashes.json"):
        td.load(copy)


def test_a_run_without_hashes_opens_and_gets_them_when_it_goes_on(copy: Path, recipe: RecipeOf) -> None:
    import transduce as td

    (copy / "hashes.json").unlink()
    (copy / "config.yaml").write_text((copy / "config.yaml").read_text() + "\n")
    td.load(copy)
    train(recipe(over={**OVER, "train.max_steps": 5}), copy.parent, quiet=True)
    assert (copy / "hashes.json").exists()
    assert Run(copy).recipe.train.max_steps == 5


@pytest.mark.parametrize("content", ["", "[]", "5", "{", '{"config.yaml": null}', '{"config.yaml/../../x": "0"}'])
def test_hashes_that_are_damaged_are_told(content: str, copy: Path) -> None:
    (copy / "hashes.json").write_text(content)
    with pytest.raises(UserError, match=r"remove hashes\.json to use the run as it is"):
        _ = Run(copy).recipe


def test_the_page_names_everything_in_a_run(finished: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "run-directory.md").read_text("utf-8")
    for path in finished.iterdir():
        assert f"`{path.name}" in page, path.name
    for path in (finished / "best").iterdir():
        assert f"`{path.name}`" in page
    assert "docs/run-directory.md" in (finished / "README.txt").read_text()
    assert (finished / "README.txt").read_text().count("\n") == 1
