"""Runs of ours, opened by transformers with its own classes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce import api
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.exchange import certificate, checkpoint
from transduce.exchange.files import Files
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.linear import LinearConfig
from transduce.model.positions.absolute import LearnedConfig

transformers: Any = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {
    "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 32, "train.threads": 1,
    "batch.batch_tokens": 512, "train.max_steps": 4, "train.validate_every": 2, "train.samples": 4,
    "schedule.warmup_steps": 2, "train.precision": "fp32",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe for text of one's own."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("The quick brown fox jumps.\n\nÜber den faulen Hund.\n\n" * 40, "utf-8")
    more = {"data.path": str(folder / "text.txt"), "tokenizer.vocab_size": 300, "batch.max_length": 32}
    return td.train("text", {**SMALL, **more, "generate.temperature": 0.0}, out=folder, quiet=True).path


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default recipe, an encoder-decoder."""
    more = {"data.train_size": 200, "data.valid_size": 8, "data.test_size": 8}
    return td.train("dates", {**SMALL, **more}, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_a_decoder_is_opened_and_writes_the_same_text(text: Path, tmp_path: Path):
    assert main(["export", str(text), str(tmp_path / "out")]) == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = td.load(text, device="cpu")
    assert tokenizer.eos_token_id == ours.tokenizer.eos == theirs.generation_config.eos_token_id
    assert tokenizer("The </s> fox")["input_ids"] == [1, *ours.tokenizer.encode("The </s> fox")]
    for prompt in ("The quick", "Über"):
        given = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        ids = theirs.generate(**given, max_new_tokens=24)[0, given["input_ids"].shape[1] :]
        assert tokenizer.decode(ids, skip_special_tokens=True) == ours.generate(prompt, max_new_tokens=24)
    said = certificate.read_certificate(tmp_path / "out")
    assert (said["greedy_tokens_alike"], said["lines_with_the_same_ids"]) == ("64 of 64", "1000 of 1000")
    assert set(said["files"]) == {p.name for p in (tmp_path / "out").iterdir()} - {"certificate.json"}


def test_the_default_recipe_is_opened_and_translates_alike(dates: Path, tmp_path: Path):
    api.export(dates, tmp_path / "out")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = td.load(dates, device="cpu")
    for source in ("3 de mayo de 2021", "5 May 1999"):
        given = tokenizer(source, return_tensors="pt", return_token_type_ids=False)
        ids = theirs.generate(**given, num_beams=1, max_new_tokens=16)
        assert tokenizer.decode(ids[0], skip_special_tokens=True) == ours.translate(source)
    again = td.load(tmp_path / "out", device="cpu")
    assert again.translate("5 May 1999", max_new_tokens=16) == ours.translate("5 May 1999")
    pairs = [("5 May 1999", "1999-05-05")]
    assert again.score(pairs)[0].total == pytest.approx(ours.score(pairs)[0].total, abs=1e-4)


def test_an_imported_export_is_the_same_file_again(text: Path, tmp_path: Path):
    api.export(text, tmp_path / "out")
    run = api.import_model(tmp_path / "out", tmp_path / "run")
    api.export(run.path, tmp_path / "again")
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    before, after = (json.loads((tmp_path / x / "config.json").read_text()) for x in ("out", "again"))
    assert before == after


def test_a_folder_in_the_way_stays(text: Path, tmp_path: Path):
    (tmp_path / "kept").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        api.export(text, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


GPT = DecoderConfig(
    width=16, layers=1, mixer=AttentionConfig(heads=2), positions=LearnedConfig(limit=32), init=NormalInit(),
    scale_embedding=False,
)  # fmt: skip
ODD: list[tuple[ModelConfig, str]] = [
    (dataclasses.replace(GPT, scale_embedding=True), r"expresses model\.scale_embedding=True"),
    (dataclasses.replace(GPT, mixer=LinearConfig(heads=2)), r"expresses model\.mixer=linear"),
    (dataclasses.replace(GPT, mixer=AttentionConfig(heads=2, window=4, sinks=2)), r"expresses model\.mixer"),
]


@pytest.mark.parametrize(("config", "message"), ODD)
def test_the_part_without_equivalent_is_named(config: ModelConfig, message: str, tmp_path: Path):
    with pytest.raises(UserError, match=f"no class of transformers known here {message}.*the nearest"):
        checkpoint.write(config.build(50), config, 50, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_transformers_computes_otherwise_is_refused(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):  # fmt: skip
    write = checkpoint.write

    def wrong(model: Any, *given: Any) -> Any:
        with torch.no_grad():
            dict(model.named_parameters())["stack.blocks.0.feed.up.weight"] += 0.1
        family = write(model, *given)
        with torch.no_grad():
            dict(model.named_parameters())["stack.blocks.0.feed.up.weight"] -= 0.1
        return family

    monkeypatch.setattr(checkpoint, "write", wrong)
    assert main(["export", str(text), str(tmp_path / "out")]) == 2
    assert "computes other logits" in (told := capsys.readouterr().err)
    assert "they part at" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_comes_out_as_it_went_in(dtype: str, text: Path, tmp_path: Path) -> None:
    api.export(text, tmp_path / "a")
    half = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a", dtype=getattr(torch, dtype))
    half.save_pretrained(tmp_path / "b")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "b" / name).write_bytes((tmp_path / "a" / name).read_bytes())
    api.import_model(tmp_path / "b", tmp_path / "run")
    api.export(tmp_path / "run", tmp_path / "c")
    before, after = (Files(tmp_path / name) for name in "bc")
    assert before.where.keys() == after.where.keys()
    for name in before.where:
        (x,), (y,) = before.read(name), after.read(name)
        assert x.dtype == y.dtype == getattr(torch, dtype)
        assert torch.equal(x, y)


def test_positions_that_are_counted_from_another_padding_are_refused(text: Path, tmp_path: Path) -> None:
    parts = {"model": "roberta-base", **{key: x for key, x in SMALL.items() if "model." in key}}
    rest = {**{key: x for key, x in SMALL.items() if "model." not in key}, "train.samples": 0}
    more = {"data.path": str(text.parent / "text.txt"), "tokenizer.vocab_size": 300, "batch.max_length": 32}
    over = {**parts, **rest, **more, "objective": "masked-lm", "name": "roberta"}
    td.train("text", over, out=tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"train with model\.positions\.offset=1 to export it"):
        api.export(tmp_path / "roberta", tmp_path / "out")
    td.train("text", {**over, "model.positions.offset": 1, "name": "one"}, out=tmp_path, quiet=True)
    api.export(tmp_path / "one", tmp_path / "out")


def test_where_no_folder_can_be_made_is_named(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for place, told in (("file/out", "cannot be made"), ("link", "is a link to nothing"), ("file", "exists already")):
        assert main(["export", str(text), str(tmp_path / place)]) == 2
        assert f"{tmp_path / place} {told}" in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
