import gc
import importlib.util
import json
from pathlib import Path

import pytest

from transduce.errors import UserError
from transduce.runs.report import Report, draw, read_metrics, smooth


def test_rewinding_leaves_what_was_there_at_the_step(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    with Report(tmp_path) as report:
        for step in range(1, 5):
            report.metrics(step, {"loss": step / 3, "norm": float("inf")})
            report.timings(step, 0.1, 100.0)
            (tmp_path / "samples" / f"step-{step:08d}.txt").write_text("x")
            if step == 2:
                length = report.flush(force=True)
        report.rewind(2, length)
        report.metrics(3, {"loss": 7})
        report.timings(3, 0.2, 50.0)
        longer = report.flush()
    assert longer == (tmp_path / "metrics.jsonl").stat().st_size
    assert [(x["step"], x["loss"]) for x in read_metrics(tmp_path)] == [(1, 1 / 3), (2, 2 / 3), (3, 7)]
    assert read_metrics(tmp_path)[0]["norm"] is None
    steps = [json.loads(x)["step"] for x in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    assert [p.name for p in sorted((tmp_path / "samples").iterdir())] == ["step-00000001.txt", "step-00000002.txt"]


def test_a_half_written_line_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"ste')
    assert read_metrics(tmp_path) == [{"step": 1}]
    assert read_metrics(tmp_path / "nowhere") == []


def test_rewinding_passes_over_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-foo.txt").write_text("a note")
    (tmp_path / "timings.jsonl").write_text('[]\n5\n{}\n{"step": "x"}\n{"step": 1}\n{"step": 3}\n' + "[" * 10**5)
    with Report(tmp_path) as report:
        report.rewind(2, 0)
    assert (tmp_path / "timings.jsonl").read_text() == '{"step": 1}\n'
    assert (tmp_path / "samples" / "step-foo.txt").exists()


def test_the_plot_is_drawn_whatever_there_is(tmp_path: Path) -> None:
    lines = [{"step": s, "loss": 3 / s, "nll": 2 / s} for s in range(1, 30)] + [{"step": 20, "val_loss": 0.5}]
    for name, metrics in (
        ("all", lines),
        ("no validation", lines[:-1]),
        ("nothing", []),
        ("none", [{"step": 1, "loss": None}]),
    ):
        draw(metrics, tmp_path / f"{name}.png", name)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


def test_smoothing_starts_at_the_first_value_and_keeps_constants() -> None:
    assert smooth([4.0, 4.0, 4.0], 0.9) == pytest.approx([4.0, 4.0, 4.0])
    assert smooth([1.0, 0.0], 0.9)[1] == pytest.approx(0.9 / 1.9)


def test_tensorboard_by_one_flag_or_a_sentence(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(UserError, match=r"needs TensorBoard; run `pip install 'transduce\[track\]'`"):
            Report(tmp_path, tensorboard=True)
        return
    with Report(tmp_path, tensorboard=True) as report:
        report.metrics(1, {"loss": 1.0})
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_plot_leaves_nothing_in_memory(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    gc.collect()
    before = sum(type(x) is Figure for x in gc.get_objects())
    for n in range(3):
        draw([{"step": s, "loss": 1 / s} for s in range(1, 9 + n)], tmp_path / "loss.png", "x")
        assert sum(type(x) is Figure for x in gc.get_objects()) == before


def test_the_best_value_is_told_where_no_curve_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    figures = list[tuple[list[str], int]]()
    save = Figure.savefig

    def watched(figure: Figure, *args: object, **options: object) -> None:
        axes = figure.axes[0]
        figures.append(([text.get_text() for text in axes.get_legend().get_texts()], len(axes.texts)))
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", watched)
    metrics = [{"step": s, "loss": 9 / s} for s in range(1, 90)] + [
        {"step": s, "val_loss": 8 / s + (s > 50)} for s in range(10, 90, 10)
    ]
    draw(metrics, tmp_path / "loss.png", "x")
    assert figures == [(["training (smoothed)", "validation", "best: 0.16 at 50"], 0)]


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("work")
    for name in ("metrics.jsonl", "timings.jsonl", "log.txt"):
        (tmp_path / name).symlink_to(outside)
        with pytest.raises(OSError, match="symbolic links"):
            Report(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "plots").mkdir()
    for name in ("loss.png", ".loss.png", ".loss.png.partial"):
        (tmp_path / "plots" / name).symlink_to(outside)
    draw([], tmp_path / "plots" / "loss.png", "x")
    assert outside.read_text() == "work"
    assert not (tmp_path / "plots" / "loss.png").is_symlink()
