"""Points: the ring is learnt, drawn and measured, and what does not fit gets a sentence."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce as td
from transduce.cli.main import main
from transduce.data.readers.points import Points
from transduce.data.ring import Ring
from transduce.errors import UserError
from transduce.runs.run import Run
from transduce.tasks.drawing import DrawingConfig
from transduce.tasks.points import PointsConfig

SMALL: dict[str, Any] = {
    "data.train_size": 400, "data.valid_size": 100, "model.width": 16, "model.layers": 2, "task.steps": 10,
    "model.feedforward.hidden": 16, "model.process.steps": 20, "train.max_steps": 60, "train.validate_every": 30,
    "train.threads": 1, "train.device": "cpu", "train.precision": "fp32", "schedule.warmup_steps": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return td.train("ring", SMALL, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_the_ring_is_as_it_says() -> None:
    splits = Ring(train_size=4000, valid_size=500, modes=5, radius=3.0, deviation=0.1).load()
    points, labels = np.array(splits["train"]["point"]), np.array(splits["train"]["label"])
    for mode in range(5):
        angle = 2 * math.pi * mode / 5
        own = points[labels == mode]
        assert len(own) == pytest.approx(800, abs=120)
        assert own.mean(0) == pytest.approx([3 * math.cos(angle), 3 * math.sin(angle)], abs=0.02)
        assert own.std(0) == pytest.approx([0.1, 0.1], rel=0.15)
    assert len(splits["valid"]) == 500
    assert Ring().load()["train"]["point"] == Ring().load()["train"]["point"]
    assert not {*splits["valid"]["point"]} & {*splits["train"]["point"]}
    for wrong in ({"modes": 1}, {"radius": 0.0}, {"deviation": -1.0}, {"train_size": 0}, {"seed": -1}):
        with pytest.raises(UserError):
            Ring(**wrong)  # type: ignore[arg-type]


def test_it_learns_and_is_drawn_the_same_again(run: Path) -> None:
    first, *_, last = (line["loss"] for line in Run(run).metrics if "loss" in line)
    assert last < 0.8 * first
    model = td.load(run, device="cpu")
    points = model.draw(count=600)
    assert points[:5] == model.draw(count=5)
    assert points != model.draw(count=600, seed=1)
    assert [points[7], points[3]] == model.predict([7, "3"])
    assert {len(one) for one in points} == {2}
    assert model.draw(count=4, sampler="heun", steps=5) != points[:4]


def test_the_command_prints_a_point_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(run), "--count", "3", "--seed", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    drawn = td.load(run, device="cpu").draw(count=3, seed=2)
    assert [[float(x) for x in line.split("\t")] for line in lines] == [pytest.approx(one, rel=1e-4) for one in drawn]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--steps", "0"], "steps=0 draws nothing"), (["--steps", "21"], "more than the 20 of the training"),
        (["--given", "3"], "trained without labels"), (["--guidance", "2"], "this model was told none"),
        (["--out", "x.png"], "points are printed"), (["--count", "0"], "count=0 must be"),
        (["--seed", "-1"], "seed=-1"), (["--sampler", "x"], "is no way to draw"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_gets_one_sentence(
    run: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", str(run), *words]) == 2
    out, err = capsys.readouterr()
    assert sentence in " ".join(err.split())
    assert out == ""


def test_points_are_read_from_tables_too() -> None:
    reader = Points().fit(["1 2", [3.0, 4], "5, 6"], "point")
    assert reader.mean == (3.0, 4.0)
    assert reader.decode(reader.encode(["1 2"], "point"))[0] == pytest.approx((1.0, 2.0))
    for value in ("a b", "", "nan 1", 7):
        with pytest.raises(UserError, match=r"row 2 .*, which is no row of numbers"):
            Points().fit(["1 2", value], "point")
    with pytest.raises(UserError, match=r"row 2 .* has 1 numbers, but there are 2"):
        Points().fit(["1 2", "3"], "point")


def test_a_model_of_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"choose model\.kind=denoiser"):
        td.train("ring", {"model": {"kind": "encoder", "width": 16}, "train.max_steps": 200}, out=tmp_path, quiet=True)
    assert issubclass(PointsConfig, DrawingConfig)
    with pytest.raises(UserError, match="steps=0 draws nothing"):
        PointsConfig(steps=0)


def test_a_training_that_was_stopped_goes_on_bit_for_bit_with_its_average(run: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(event: Any) -> None:
        if event.step == 37:
            raise Enough

    with pytest.raises(Enough):
        td.train("ring", SMALL, out=tmp_path, quiet=True, watch=stop)
    td.train("ring", SMALL, out=tmp_path, quiet=True)
    for name in ("model", "ema", "optimizer"):
        one, other = (path / "last" / f"{name}.safetensors" for path in (run, tmp_path / "ring"))
        assert one.read_bytes() == other.read_bytes(), name
    assert (run / "last" / "ema.safetensors").read_bytes() != (run / "last" / "model.safetensors").read_bytes()
