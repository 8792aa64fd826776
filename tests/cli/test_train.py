"""The command itself, and the sentence for each mistake. What training does is tested in tests/train."""

import errno
import gzip
import os
import re
import shutil
from pathlib import Path

import pytest

from transduce.runs.run import Run

from .conftest import DATES, SMALL


def test_the_default_run_ends_with_accuracy_a_table_and_what_to_do_next(cli, tmp_path: Path) -> None:
    found = cli("train", *DATES)
    assert found.code == 0, found.err
    assert re.search(r"exact match \d+\.\d+%", found.out)
    assert len(re.findall(r"│ \d{4}-\d{2}-\d{2} │", found.out)) >= 8
    assert 'next: transduce translate runs/dates "3 de mayo de 2021"' in found.out
    assert "transduce evaluate runs/dates --split test" in found.out
    assert (tmp_path / "runs/dates/config.yaml").is_file()

    again = cli("train", *DATES)
    assert again.code == 2
    assert again.err.startswith(
        "transduce: no steps left in runs/dates: all 4 steps are done; to go on, raise train.max_"
    )

    other = cli("train", *DATES, "--model.width", "32")
    assert other.code == 2
    assert "runs/dates is a run of another config: model.width (there 16, now 32)" in other.err

    longer = cli("train", *DATES, "train.max_steps=5", "schedule.steps=4")
    assert longer.code == 0, longer.err
    result = Run(tmp_path / "runs/dates").result
    assert result is not None
    assert result["step"] == 5


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize("objective", ["next-token", "masked-lm"])
@pytest.mark.parametrize("head", ["none", "discriminator", "projection", "numbers"])
def test_a_head_that_predicts_no_tokens_is_refused_in_one_sentence(
    cli, tmp_path: Path, command: str, objective: str, head: str
) -> None:
    (tmp_path / "text.txt").write_text("".join(f"the cat sat on mat {i}\n" for i in range(50)), "utf-8")
    model = ["model=bert-base"] if objective == "masked-lm" else []
    words = [
        "data.path=text.txt", "data.unit=line", "data.valid_fraction=0.2", *model, *SMALL, f"objective={objective}",
        f"model.head={head}",
    ]  # fmt: skip
    found = cli(command, "text", *words)
    assert found.code == 2
    assert "\n" not in found.err.strip()
    said = found.err.strip().removeprefix("transduce: ")
    assert said.startswith(f"objective={objective} predicts tokens, but ")
    assert "; set model.head=" in said


def test_quiet_prints_nothing(cli) -> None:
    found = cli("train", *DATES, "--quiet", "name=quiet", "--out", "elsewhere/deep")
    assert (found.code, found.out) == (0, "")
    assert Path("elsewhere/deep/quiet/best").is_dir()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.widht=3"], "unknown key `model.widht`; did you mean `model.width`?"),
        (["model.heads=3"], "`model.heads` is 3, but it holds predictions by name, such as heads.pair.kind=classes; "),
        (["n_layer=3"], "unknown key `n_layer`; did you mean `model.layers`?"),
        (["--lr", "0.1"], "unknown key `lr`; did you mean `optimizer.learning_rate`?"),
        (["epochs=3"], "unknown key `epochs`; did you mean `train.max_epochs`?"),
        (["--resume"], "there is no `resume`, and it is not needed: the same command goes on where it was stopped"),
        (["--device", "tpu"], "`train.device` is 'tpu', but must be one of auto, cpu, cuda"),
        (["train.max_epochs=2"], "train.max_steps and train.max_epochs are two ways of saying how long to train"),
        (["model.layers=20000"], "layers=20000 must be at most 4096"),
        (["model.layers=[attention] * 20000"], "layers=20000 must be at most 4096"),
        (["batch.workers=1e6"], "`batch`: workers=1000000 must be from 0 to 256"),
        (["train.accumulate=1e9"], "`train`: accumulate=1000000000 must be at most 65536"),
        (["tokenizer.vocab_size=1e9", "tokenizer.kind=bpe"], "vocab_size=1000000000 must be at most 4194304"),
        (["model.width=1e18"], "the model needs "),
        (["model.positions.limit=1e11"], "the weights take "),
        (["model.mixer={kind: [a]}"], "`model.mixer.kind` is ['a'], but must be one of"),
        (["model.mixer={kind: {a: b}}"], "`model.mixer.kind` is {'a': 'b'}, but must be one of"),
        (["train.seed=" + "9" * 5000], "`train.seed` is '999"),
        (["train.seed=1e30"], "`train.seed` is '1e30'"),
        (["seed=3"], "unknown key `seed`; did you mean `train.seed`?"),
        (["--train.max-steps"], "`train.max_steps` needs a value: a whole number, not true"),
        (["model.width=wide"], "`model.width` is 'wide' (str), but must be a whole number"),
        (["--train.compile", "--train.clip", "none"], "`train.clip` is 'none' (str), but must be a number"),
        (["train.device=tpu"], "`train.device` is 'tpu', but must be one of auto, cpu, cuda; did you mean `cpu`?"),
        (
            ["optimizer.kind=adam"],
            "`optimizer.kind` is 'adam', but must be one of adadelta, adamw, muon, sgd; did you mean `adamw`?",
        ),
        (["model.mixer.heads=3"], "heads=3 does not divide width=16; try heads=2"),
        (["train.max_steps=0"], "`train`: max_steps=0 must be at least 1"),
        (
            ["train.max_steps=4", "schedule.warmup_steps=9"],
            "a schedule of steps=4 has no room for warmup_steps=9; use schedule.",
        ),
        (["512"], "`512` is not understood; write key=value or --key value, such as model.width=512"),
        (["tokenizer=5"], "`tokenizer` is 5; give a kind, or a mapping with `kind`"),
        (["name=a/b"], "name='a/b' cannot be a directory"),
    ],
)
def test_a_wrong_word(cli, words: list[str], told: str) -> None:
    found = cli("train", *DATES, *words)
    assert found.code == 2
    assert found.err.startswith(f"transduce: {told}")
    assert found.err.count("\n") == 1
    assert not Path("runs").exists()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "val", "test_2016_flickr"):
        for language in ("de", "en"):
            text = "".join(f"{language} {n}\n" for n in range(30)).encode()
            (folder / f"{split}.{language}.gz").write_bytes(gzip.compress(text))
    return folder


def break_files(folder: Path, how: str) -> None:
    plain = folder / "train.en"
    (folder / "train.en.gz").unlink()
    lines = [f"en {n}\n".encode() for n in range(30)]
    content = {"missing": None, "empty": b"", "short": b"".join(lines[:29]), "latin": b"".join(lines[:3]) + b"\xe9\n"}
    content["long"] = b"".join(lines[:29]) + b"x" * 10_001 + b"\n"
    if content[how] is not None:
        plain.write_bytes(content[how])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("missing", r"train\.en does not exist; the nearest name there is `train\.de\.gz`"),
        ("empty", r"train\.en is empty; give a file with text in it"),
        ("short", r"train\.de\.gz has 30 lines but .*train\.en has 29; line n of one must translate"),
        ("latin", r"train\.en is not UTF-8: line 4 has the byte 0xe9 at offset \d+; convert it"),
        ("long", r"train\.en, line 30, has more than 10,000 characters; split the line"),
    ],
)
def test_what_is_wrong_with_parallel_files(cli, files: Path, how: str, told: str) -> None:
    break_files(files, how)
    found = cli("train", "multi30k", f"data.path={files}", "tokenizer.kind=char", *SMALL)
    assert found.code == 2
    assert re.search(told, found.err), found.err
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*DATES[:4], "model.kind=decoder"], "choose model.kind=encoder-decoder"),
        (["pairs", "data.path=nothing.tsv", *SMALL], "nothing.tsv does not exist"),
    ],
)
def test_what_fails_before_it_begins_leaves_no_directory(cli, tmp_path: Path, words: list[str], told: str) -> None:
    found = cli("train", *words, "--out", "deep/runs")
    assert found.code == 2
    assert told in found.err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    assert cli("train", *words, "--out", "runs").code == 2
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_parallel_gz_files_train(cli, files: Path) -> None:
    words = ["tokenizer.kind=char", "train.metric=loss", "generate.max_new_tokens=3", "generate.beam_size=2", *SMALL]
    found = cli("train", "multi30k", f"data.path={files}", *words)
    assert found.code == 0, found.err
    assert "exact match" in found.out
    assert 'next: transduce translate runs/multi30k "..."' in found.out


def test_a_field_missing_in_a_row_of_jsonl(cli, tmp_path: Path) -> None:
    rows = ['{"a": "x", "b": "y"}'] * 4 + ['{"a": "x"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    fields = ["data.source_field=a", "data.target_field=b", "tokenizer.kind=char"]
    found = cli("train", "pairs", "data.path=rows.jsonl", *fields, *SMALL)
    assert found.code == 2
    assert re.search(r"rows\.jsonl, line 5.*`b`", found.err), found.err


def test_a_place_that_cannot_be_written(cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = cli("train", *DATES, "--out", "file/runs")
    assert found.code == 2
    assert found.err.startswith("transduce: file/runs")
    assert "Traceback" not in found.err


def test_a_full_disk(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr("transduce.runs.checkpoint.save_tensors", full)
    found = cli("train", *DATES)
    assert found.code == 2
    assert found.err.startswith("transduce: the disk is full, so runs/dates cannot be written")
    assert found.err.count("\n") == 1


def test_a_key_that_stands_twice_ends_the_command(cli, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("base: dates\ntrain: {max_steps: 3}\ntrain:\n  keep: 1\n", "utf-8")
    found = cli("train", "my.yaml")
    assert found.code == 2
    assert found.err == "transduce: my.yaml, line 3: the key `train` stands here twice, first in line 2; remove one\n"


def test_the_words_decide_which_run_is_meant(cli) -> None:
    found = cli("plan", "dates", "name=1.10", "data.train_size=20", "data.locales=no")
    assert "1.10" in found.out.split("\n")[0], found.err


def test_the_config_of_another_run_is_a_recipe_and_its_weights_are_not_taken(cli, dates: Path, tmp_path: Path) -> None:
    config = dates / "config.yaml"
    found = cli("train", config, "name=other")
    assert found.code == 0, found.err
    line = f"{config} gives the recipe only: runs/other starts from new weights, and those of {dates} are not used"
    assert found.out.splitlines().count(line) == 1
    assert (tmp_path / "runs/other/log.txt").read_text("utf-8").count(line) == 1
    assert "gives the recipe only" not in cli("train", config, "name=other", "train.max_steps=5").out  # it goes on
    run = shutil.copytree(dates, tmp_path / "dates", symlinks=True)
    again = cli("train", run / "config.yaml", "train.max_steps=5", "--out", tmp_path)
    assert again.code == 0, again.err
    assert "gives the recipe only" not in again.out


@pytest.mark.parametrize("held", ["", "a"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_held_out_stream_too_short_to_predict_is_refused_before_the_first_step(
    split: str, held: str, cli, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        (folder / f"{name}.txt").write_text(held if name == split else "the cat sat on the mat " * 20)
    found = cli("train", "text", f"data.path={folder}", "data.unit=file", "tokenizer.kind=char", *SMALL)
    assert found.code == 2
    assert split in found.err
    assert "predicting takes two" in found.err or "is empty" in found.err
    assert not (tmp_path / "runs").exists()
