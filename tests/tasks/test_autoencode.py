"""An autoencoder, and what is drawn in its latents: decoded to the bit, in a run that needs nothing outside itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce as td
from transduce.cli.main import main
from transduce.data.readers.latents import Latents
from transduce.errors import UserError
from transduce.generate.diffuse import DiffuseConfig, diffuse
from transduce.tasks.autoencode import AutoencodeConfig
from transduce.tasks.draw import DrawConfig
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.reconstruction import PSNR, Errors
from transduce.tasks.picturing import as_bytes

SHORT: dict[str, Any] = {
    "model.width": 16, "model.mixer.heads": 2, "model.feedforward.hidden": 24, "batch.batch_tokens": 12,
    "optimizer.learning_rate": 0.01, "schedule": {"kind": "constant"}, "train.threads": 1, "train.device": "cpu",
    "train.ema": 0.9, "train.precision": "fp32",
}  # fmt: skip
CODES: dict[str, Any] = {
    **SHORT, "model.layers": 1, "model.decoder_layers": 1, "model.latent_channels": 3, "model.embedding.patch": 2,
    "train.max_steps": 60, "train.validate_every": 60,
}  # fmt: skip
DRAWS: dict[str, Any] = {
    **SHORT, "model.layers": 1, "model.frequencies": 8, "task.steps": 3, "train.max_steps": 8,
    "train.validate_every": 4, "train.save_every": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def codes(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("a")
    return td.train("autoencode", {"data.path": str(photos), **CODES}, out=out, quiet=True).path


@pytest.fixture(scope="module")
def run(codes: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in latents, whose autoencoder is no longer where it was."""
    gone = tmp_path_factory.mktemp("b") / "codes"
    shutil.copytree(codes, gone, symlinks=True)
    keys = {"data.path": str(photos), "task.latents": str(gone), **DRAWS}
    out = td.train("draw", keys, out=tmp_path_factory.mktemp("c"), quiet=True).path
    shutil.rmtree(gone)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_it_is_better_than_a_colour(codes: Path, photos: Path) -> None:
    model = td.load(codes, device="cpu")
    result = model.evaluate("valid")
    assert result.values["psnr"].baseline is not None
    assert result.values["psnr"].value > 15
    assert result.means["kl"] > 0
    low, high = result.values["psnr"].low, result.values["psnr"].high
    assert low is not None
    assert high is not None
    assert low < result.values["psnr"].value < high
    path = str(photos / "valid" / "red" / "0.png")
    one, other = model.predict([path, str(photos / "valid" / "grey" / "1.png")])
    assert np.array(one).shape == (8, 10, 3)
    assert one == model.predict([path])[0]
    assert one != other


def test_the_ratio_is_that_of_its_formula() -> None:
    rows = [Errors(0.01, 0.1), Errors(0.001, 0.1), Errors(0.0, 0.1)]
    outcome = Outcome(0.0, 3, np.zeros((0, 2)), [Sample("", "", "", None, row) for row in rows])
    value = PSNR().of(outcome, 100)
    assert value.value == pytest.approx((20 + 30 + 100) / 3)
    assert value.baseline is not None
    assert value.baseline[1] == pytest.approx(10)


def test_a_picture_is_what_its_latent_decodes_to_in_any_company(run: Path) -> None:
    model = td.load(run, device="cpu")
    task, own = model.task, model.readers["image"]
    assert isinstance(task, DrawConfig)
    assert isinstance(own, Latents)
    many = model.draw(given=["green", "red"], count=18, guidance=1.0)
    assert all(np.array_equal(a, b) for a, b in zip(model.draw("red", 3, guidance=1.0), many[18:21], strict=True))
    manner = DiffuseConfig(steps=3, guidance=1.0)
    drawn = diffuse(model.model, (3, 4, 5), task.class_of(model.readers, "red"), range(18), manner, 0, 16).numpy()
    for i, latent in enumerate(drawn):
        assert np.array_equal(as_bytes(own.decode(latent[None]))[0], many[18 + i])
    assert many[0].shape == (8, 10, 3)
    assert not np.array_equal(many[0], many[1])


def test_latents_have_deviation_one_and_the_copy_is_the_autoencoder(run: Path, codes: Path, photos: Path) -> None:
    own = td.load(run, device="cpu").readers["image"]
    assert isinstance(own, Latents)
    values = [str(p) for p in sorted((photos / "train").glob("*/*.png"))]
    assert own.encode(values, "image").std() == pytest.approx(1, rel=1e-5)
    assert files(run / "autoencoder" / "best") == files(codes / "best")
    assert str(run) not in (run / "readers" / "image.json").read_text("utf-8")
    moved = run.parent / "moved"
    shutil.copytree(run, moved, symlinks=True)
    again = td.load(moved, device="cpu").draw("red", 2)
    assert all(np.array_equal(a, b) for a, b in zip(td.load(run, device="cpu").draw("red", 2), again, strict=True))


def test_it_goes_on_bit_for_bit_without_the_autoencoder(codes: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(codes, tmp_path / "codes", symlinks=True)
    keys = {"data.path": str(photos), "task.latents": str(tmp_path / "codes"), **DRAWS, "task.augment": ["flip"]}
    whole = td.train("draw", keys, out=tmp_path / "whole", quiet=True).path
    part = td.train("draw", {**keys, "train.max_steps": 4}, out=tmp_path / "part", quiet=True).path
    shutil.rmtree(tmp_path / "codes")
    td.train("draw", keys, out=tmp_path / "part", quiet=True)
    for name in ("model.safetensors", "ema.safetensors", "optimizer.safetensors"):
        assert (part / "last" / name).read_bytes() == (whole / "last" / name).read_bytes()


def test_by_captions(codes: Path, photos: Path, tmp_path: Path) -> None:
    rows = [f"{p},a {p.parent.name} one" for p in sorted((photos / "train").glob("*/*.png"))]
    for split in ("train", "valid"):
        (tmp_path / f"{split}.csv").write_text("\n".join(["image,caption", *rows[:: 1 + (split == "valid")]]) + "\n")
    keys = {"data.path": str(tmp_path), "task.latents": str(codes), **DRAWS, "train.max_steps": 4}
    path = td.train("illustrate", {**keys, "batch.max_length": 12}, out=tmp_path / "runs", quiet=True).path
    words = ["draw", str(path), "--given", "a red one", "--count", "2", "--out", str(tmp_path / "grid.png")]
    assert main(words) == 0
    assert (tmp_path / "grid.png").is_file()
    # The same table without its captions.
    td.train("autoencode", {"data.path": str(tmp_path), **CODES, "train.max_steps": 2}, out=tmp_path / "o", quiet=True)


def test_what_does_not_fit_gets_one_sentence(
    codes: Path, run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(**keys: Any) -> str:
        with pytest.raises(UserError) as caught:
            td.train("draw", {"data.path": str(photos), **DRAWS, **keys}, out=tmp_path, quiet=True)
        return str(caught.value)

    assert "is no run with a checkpoint; train one" in refusal(**{"task.latents": str(tmp_path / "nowhere")})
    assert "was trained for task=draw, which makes no latents" in refusal(**{"task.latents": str(run)})
    at = {"task.latents": str(codes)}
    assert "reads pictures with height=8, but this recipe asks for 16" in refusal(**at, **{"task.pixels": 16})
    assert "channels=3, but this recipe asks for 1" in refusal(**at, **{"task.channels": 1})
    assert "background=255, but this recipe asks for 7" in refusal(**at, **{"task.background": 7})
    assert "trained in pixels" in refusal(**at, start=str(plain(photos, tmp_path / "plain")))
    with pytest.raises(UserError, match=r"leave out task\.mean"):
        AutoencodeConfig(mean=(0.5,))
    assert main(["export", str(run), str(tmp_path / "folder")]) == 2
    assert "export a run that draws in pixels" in " ".join(capsys.readouterr().err.split())


def plain(photos: Path, out: Path) -> Path:
    keys = {"data.path": str(photos), **DRAWS, "train.max_steps": 1, "schedule": {"kind": "constant"}}
    return td.train("draw", keys, out=out, quiet=True).path


@pytest.mark.parametrize("name", ["best/model.safetensors", "best/DONE", "readers/image.json"])
def test_a_changed_copy_is_refused(run: Path, name: str, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", symlinks=True)
    file = tmp_path / "run" / "autoencoder" / name
    file.write_bytes(file.read_bytes()[:-1] + b" ")
    with pytest.raises(UserError, match="autoencoder"):
        td.load(tmp_path / "run", device="cpu").draw("red")


def test_another_autoencoder_is_refused(run: Path, codes: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", symlinks=True)
    done = tmp_path / "run" / "autoencoder" / "best" / "DONE"
    hashes = json.loads(done.read_text())
    done.write_text(json.dumps(hashes) + "\n\n")
    with pytest.raises(UserError, match="is another autoencoder than the one whose latents were learnt"):
        td.load(tmp_path / "run", device="cpu").draw("red")
