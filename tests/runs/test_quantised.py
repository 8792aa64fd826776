"""Codes beside a checkpoint: written by a command, checked when they are opened, used by --precision."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.precision.codes import round_int4
from transduce.runs.quantised import paired, unpaired

pytestmark = pytest.mark.filterwarnings("ignore:precision:transduce.errors.Notice")  # slower, which depends on where
SMALL = (
    "model.width=64", "model.layers=1", "model.mixer.heads=2", "model.feedforward.hidden=128", "batch.batch_tokens=512",
    "train.max_steps=4", "train.validate_every=2", "train.samples=0", "schedule.warmup_steps=2", "train.threads=1",
    "train.precision=fp32", "batch.max_length=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    (out / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 200, "utf-8")
    words = [*SMALL]
    assert main(["train", "shakespeare", f"data.path={out / 'text.txt'}", "name=s", *words, "--out", str(out)]) == 0
    return out / "s"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "s", symlinks=True))


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_codes_are_written_and_read(run: Path, precision: str) -> None:
    record = td.quantise(run, precision, lines=8)
    where = run / "best" / precision
    said = json.loads((where / "certificate.json").read_text())
    assert said["loss"] == record["loss"]
    assert abs(said["difference"]) < 0.05
    assert said["loss"]["targets"] > 0
    assert (said["calibration"] is None) == (precision == "int8")
    assert (where / "model.safetensors").stat().st_size < 0.4 * (run / "best" / "model.safetensors").stat().st_size
    model = td.load(run, precision=precision)
    assert str(where.resolve()) in model.reading.line
    assert model.reading.precision == precision
    assert model.evaluate("valid").loss == pytest.approx(said["loss"][precision], abs=1e-6)
    assert td.load(run).evaluate("valid").loss == pytest.approx(said["loss"]["fp32"], abs=1e-6)
    assert td.load(run).reading.line == ""


def test_a_run_trains_on_and_opens_with_codes_beside_its_checkpoint(run: Path, made: Path) -> None:
    td.quantise(run, "int8")
    words = [word for word in SMALL if "max_steps" not in word]
    text = made.parent / "text.txt"
    more = ["train.max_steps=6", "schedule.steps=4", "schedule.warmup_steps=2", "--out", str(run.parent)]
    assert main(["train", "shakespeare", f"data.path={text}", "name=s", *words, *more]) == 0
    assert td.load(run, checkpoint="last").generate("the", max_new_tokens=3, temperature=0.0)


def test_damaged_codes_are_refused(run: Path) -> None:
    td.quantise(run, "int8")
    file = run / "best" / "int8" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors is not what was written.*make it anew with `transduce q"):
        td.load(run, precision="int8")
    assert td.load(run).reading.precision == "fp32"


def test_codes_of_other_weights_are_refused(run: Path) -> None:
    td.quantise(run, "int8")
    best, other = (
        (run / "best").resolve(),
        next(p for p in (run / "checkpoints").iterdir() if p != (run / "best").resolve()),
    )
    shutil.copytree(best / "int8", other / "int8")
    with pytest.raises(UserError, match="is of other weights than those of"):
        td.load(run, checkpoint=other.name, precision="int8")


def test_a_recipe_says_in_which_precision_its_model_is_read(run: Path) -> None:
    assert td.load(run, overrides={"generate.precision": "int8"}).reading.precision == "int8"
    assert td.load(run, overrides={"generate.precision": "int8"}, precision="fp32").reading.precision == "fp32"


def test_what_is_asked_wrongly_is_answered_in_a_sentence(run: Path, tmp_path: Path) -> None:
    for call, said in [
        (lambda: td.load(run, precision="int2"), "precision=int2 is not a precision; use auto, fp32, bf16, int8, int4"),
        (lambda: td.quantise(run, "fp32"), "precision=fp32 has no codes to write; use int4 or int8"),
        (lambda: td.quantise(run, "int4", lines=-1), "lines=-1 must not be negative"),
        (lambda: td.quantise(tmp_path), "is not a run"),
        (lambda: td.load(run).generate("the", precision="int8"), "is chosen when a model is opened"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=said):
            call()


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4", "auto"])
def test_commands_tell_the_precision_in_one_line_on_stderr(
    run: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(run), "the", "--max-new-tokens", "4", "--precision", precision]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("the")
    assert " ".join(err.split()).startswith(f"transduce: precision {precision}")
    assert main(["generate", str(run), "the", "--max-new-tokens", "4"]) == 0
    assert capsys.readouterr().err == ""


def test_four_bits_lie_two_to_a_byte() -> None:
    codes = round_int4(torch.randn(5, 64)).codes
    assert paired(codes).shape == (5, 32)
    assert torch.equal(unpaired(paired(codes)), codes)
