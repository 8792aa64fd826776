"""A training that starts from another model: its weights, its tokeniser, its readers; and what moves in it."""

from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.exchange import start
from transduce.model.architecture import DecoderConfig
from transduce.runs import base
from transduce.runs.checkpoint import read_tensors
from transduce.runs.run import Run
from transduce.runs.start import begin
from transduce.runs.weights import weights

LM = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "data.unit": "line",
    "batch.max_length": 24, "batch.batch_tokens": 192, "schedule.warmup_steps": 1, "train.max_steps": 4,
    "train.validate_every": 2, "train.threads": 1, "train.device": "cpu", "model.feedforward.hidden": 24,
}  # fmt: skip
SHORT = {
    "batch.max_length": 24, "batch.batch_tokens": 192, "schedule.warmup_steps": 1, "train.max_steps": 3,
    "train.validate_every": 3, "train.threads": 1, "train.device": "cpu", "train.ema": None,
}  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The run of a language model, its text, and a labelled table of the same letters."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "text.txt").write_text("".join(f"{'ab' * (i % 5)}c{i % 10}\n" for i in range(60)))
    rows = [("even" if i % 2 else "odd", "ab" * (i % 5) + str(i % 2)) for i in range(60)]
    (folder / "table.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    run = td.train("text", {"name": "lm", "data.path": str(folder / "text.txt"), **LM}, out=folder, quiet=True)
    return run.path, folder / "text.txt", folder / "table.tsv"


def tensors(run: Run | Path, checkpoint: str = "last") -> dict[str, torch.Tensor]:
    path = run if isinstance(run, Path) else run.path
    directory = (path / checkpoint).resolve()
    return {**base.read_base(directory), **read_tensors(directory / "model.safetensors")}


@pytest.mark.parametrize("way", ["the run itself", "start="])
def test_a_run_goes_on_under_another_name_from_its_weights(
    way: str, made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    lm, text, _ = made
    spec, values = ("text", {"start": str(lm), "name": "lm-tuned"}) if way == "start=" else (str(lm), {})
    run = td.train(spec, {**values, "data.path": str(text), "data.unit": "line", **SHORT}, out=tmp_path, quiet=True)
    assert run.path.name == "lm-tuned"
    log = (run.path / "log.txt").read_text()
    assert f"starts from {lm}: its model, weights and tokeniser\n" in log
    assert (run.path / "tokenizer/tokenizer.json").read_bytes() == (lm / "tokenizer/tokenizer.json").read_bytes()
    assert run.recipe.model == Run(lm).recipe.model
    assert run.recipe.start == str(lm)


@pytest.mark.parametrize("tune", ["full", "head"])
def test_a_classifier_from_a_language_model(tune: str, made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    lm, _, table = made
    values = {"start": str(lm), "tune": tune, "data.path": str(table), **SHORT, "train.save_every": 1, "train.keep": 9}
    run = td.train("classify", values, out=tmp_path, quiet=True)
    log = (run.path / "log.txt").read_text()
    assert "but head.output.weight, head.output.bias keep their start values" in log
    assert ("of which 66 move" in log) == (tune == "head")
    before, last = tensors(lm, "best"), tensors(run)
    shared = [name for name in before if name in last]
    moved = [name for name in shared if not torch.equal(before[name], last[name])]
    assert len(shared) > 8
    assert (moved == []) == (tune == "head")
    assert td.load(run.path, device="cpu").classify("abab1").label in ("even", "odd")


@pytest.mark.parametrize(("head", "anew"), [("linear", False), ("classes", True), ("numbers", True)])
def test_a_head_of_another_kind_starts_anew_though_its_weights_are_called_and_shaped_alike(
    head: str, anew: bool, made: tuple[Path, Path, Path]
) -> None:
    lm = made[0]
    there = start.open_start(str(lm))
    size = there.readers.text.vocab_size
    other = {"linear": {}, "classes": {"classes": size}, "numbers": {"size": size}}[head]
    config = from_data(
        DecoderConfig, {**to_data(there.recipe.model), "tie_embeddings": False, "head": {"kind": head, **other}}
    )
    own = config.build(size, seed=9)
    there = there._replace(weights={**weights(own), **there.weights})
    there = there._replace(weights={name: torch.full_like(x, 0.5) for name, x in there.weights.items()})
    names = [name for name in weights(own) if name.startswith("head.")]
    assert all(there.weights[name].shape == weights(own)[name].shape for name in names)
    before = {name: weights(own)[name].clone() for name in names}
    told = begin(own, there, config)
    assert names
    assert all(torch.equal(weights(own)[name], before[name]) == anew for name in names)
    assert all(weights(own)[name].eq(0.5).all() for name in weights(own) if name not in names)
    assert ("keep their start values" in told[0]) == anew
    assert any("are not used" in line for line in told) == anew


def test_a_run_that_was_started_goes_on_though_its_start_is_gone(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import shutil

    lm, _, table = made
    copy = Path(shutil.copytree(lm, tmp_path / "copy", symlinks=True))
    values = {"start": str(copy), "tune": "head", "data.path": str(table), **SHORT, "schedule": "constant"}
    td.train("classify", values, out=tmp_path, quiet=True)
    shutil.rmtree(copy)
    again = td.train("classify", {**values, "train.max_steps": 6}, out=tmp_path, quiet=True)
    assert again.result is not None
    assert again.result["step"] == 6
    other = {**values, "train.max_steps": 9, "model.residual.dropout": 0.4}
    with pytest.raises(UserError, match=r"is a run of another config: model\.residual\.dropout"):
        td.train("classify", other, out=tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        (
            {"model.width": 24},
            r"has another embed\.weight \(\[\d+, 16\] there, \[\d+, 24\] here\)",
        ),
        ({"model.layers": 2}, r"has no stack\.blocks\.1\..*, which this model has; leave out what changes its parts"),
        (
            {"tokenizer.kind": "byte"},
            r"tokenizer\.kind is asked for, but start=.* brings its own tokeniser",
        ),
        ({"start": "/no/where"}, r"start=/no/where is not a directory; give a run"),
        ({"tune": "haed"}, r"`tune.kind` is .*haed.*did you mean `head`"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    over: dict[str, Any], sentence: str, made: tuple[Path, Path, Path], tmp_path: Path
) -> None:  # fmt: skip
    lm, _, table = made
    with pytest.raises(UserError, match=sentence):
        td.train("classify", {"start": str(lm), "data.path": str(table), **SHORT, **over}, out=tmp_path, quiet=True)
    assert not any(tmp_path.iterdir())


def test_a_classifier_takes_the_encoder_of_an_encoder_decoder(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat and the rat ran to the man\n" * 60)
    tiny = {
        "data.path": str(tmp_path / "t.txt"), "data.valid_fraction": 0.2, "model.layers": 1, "model.width": 16,
        "model.mixer.heads": 2, "model.feedforward.hidden": 32, "tokenizer.vocab_size": 280, "batch.max_length": 16,
        "batch.batch_tokens": 128, "schedule.kind": "constant", "schedule.warmup_steps": 1, "train.max_steps": 2,
        "train.samples": 0, "train.threads": 1,
    }  # fmt: skip
    first = td.train("pretrain-t5", tiny, out=tmp_path, quiet=True)
    rows = [f"{'ab'[i % 2]}\tthe {['cat', 'rat'][i % 2]} sat {i} times" for i in range(40)]
    (tmp_path / "c.tsv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    over = {
        "data.path": str(tmp_path / "c.tsv"), "start": str(first.path), "tune": "head", "train.max_steps": 2,
        "train.threads": 1, "schedule.warmup_steps": 1, "batch.batch_tokens": 256, "batch.max_length": 16,
    }  # fmt: skip
    run = td.train("classify", over, out=tmp_path, quiet=True)
    there, here = (td.load(one.path).model for one in (first, run))
    assert run.recipe.model.kind == "encoder"
    for name, tensor in here.stack.state_dict().items():
        assert torch.equal(tensor, there.encoder.stack.state_dict()[name]), name
    assert torch.equal(here.embed.weight, there.encoder.embed.weight)
    assert "its encoder, weights and tokeniser" in (run.path / "log.txt").read_text()
