import json
from pathlib import Path

import numpy as np
import pytest

from transduce.data.episodes import Episodes
from transduce.data.loader import BatchConfig
from transduce.data.readers.actions import Actions, of_bins, to_bins
from transduce.data.readers.reader import Readers
from transduce.data.readers.returns import Returns
from transduce.data.readers.vectors import Vectors
from transduce.data.rows import Rows
from transduce.data.tracks import ACTIONS, REWARDS, STATES
from transduce.errors import UserError
from transduce.tasks.act import ActConfig
from transduce.worlds.graph import GraphConfig

DRAW = np.random.default_rng(0)
LENGTHS = [3, 17, 1, 8, 25]
EPISODES = [
    (DRAW.normal(size=(n, 2)), DRAW.integers(3, size=n), DRAW.normal(size=n).round(3)) for n in LENGTHS
]  # fmt: skip


def lines(path: Path, names: tuple[str, str, str] = ("states", "actions", "rewards")) -> Path:
    rows = [json.dumps(dict(zip(names, (x.tolist() for x in one), strict=True))) for one in EPISODES]
    path.write_text("\n".join(rows) + "\n")
    return path


def arrays(**more: object) -> dict[str, object]:
    flat = {name: np.concatenate([one[i] for one in EPISODES]) for i, name in enumerate((STATES, ACTIONS, REWARDS))}
    return {**flat, **more}


def ends() -> np.ndarray:
    out = np.zeros(sum(LENGTHS), dtype=bool)
    out[np.cumsum(LENGTHS) - 1] = True
    return out


def test_all_forms_hold_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays(lengths=np.array(LENGTHS)))  # type: ignore[arg-type]
    marks = ends()
    last = marks & (np.arange(len(marks)) > 5)
    np.savez(tmp_path / "b.npz", **arrays(terminals=marks & ~last, timeouts=last))  # type: ignore[arg-type]
    files = [tmp_path / "a.npz", tmp_path / "b.npz", lines(tmp_path / "c.jsonl"),
             lines(tmp_path / "d.jsonl", ("observations", "actions", "rewards"))]  # fmt: skip
    for file in files:
        rows = Episodes(path=str(file), valid_fraction=0).load()["train"]
        for i, name in enumerate((STATES, ACTIONS, REWARDS)):
            assert [len(cell) for cell in rows[name]] == LENGTHS
            for cell, one in zip(rows[name], EPISODES, strict=True):
                assert np.allclose(cell.numbers, one[i])


def test_some_are_held_out_wherever_they_stand(tmp_path: Path) -> None:
    splits = Episodes(path=str(lines(tmp_path / "a.jsonl")), valid_fraction=0.3).load()
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 3, "valid": 2}
    marks = {cell.mark for rows in splits.values() for cell in rows[STATES]}
    assert len(marks) == 5


WRONG = {
    "states": ("[[1, 2], [3]]", "no series of numbers"), "actions": ("[0]", "2 states and 1 actions"),
    "rewards": ("[1, NaN]", "`rewards` has nan at step 2"),
}  # fmt: skip


@pytest.mark.parametrize("column", WRONG)
def test_what_is_wrong_is_told_with_its_row(column: str, tmp_path: Path) -> None:
    good = {"states": "[[1, 2], [3, 4]]", "actions": "[0, 1]", "rewards": "[0, 1]"}
    wrong, sentence = WRONG[column]
    rows = [good, good, {**good, column: wrong}]
    (tmp_path / "a.jsonl").write_text("".join(
        "{" + ", ".join(f'"{name}": {x}' for name, x in row.items()) + "}\n" for row in rows
    ))  # fmt: skip
    columns, task = Episodes(path=str(tmp_path / "a.jsonl"), valid_fraction=0).load()["train"], ActConfig()
    with pytest.raises(UserError, match=sentence) as error:
        task.examples(columns, Readers(None, task.readers(columns)))
    assert "\n" not in str(error.value)
    assert "3" in str(error.value)


@pytest.mark.parametrize(("more", "sentence"), [
    ({}, "does not say where episodes end"), ({"lengths": np.array([3, 4])}, "add up to 7, but it has 54 steps"),
    ({"rewards": np.zeros(9), "lengths": np.array(LENGTHS)}, "9 rewards; give every step one of each"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(more: dict[str, object], sentence: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays(**more))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=sentence):
        Episodes(path=str(tmp_path / "a.npz")).load()


def test_neither_files_nor_a_world() -> None:
    with pytest.raises(UserError, match=r"data\.path=\.\.\., or a world"):
        Episodes().load()
    splits = Episodes(world=GraphConfig(episodes=40)).load()
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 40, "valid": 2}


def test_other_widths_are_refused() -> None:
    with pytest.raises(UserError, match="row 2 of the column `states` has 3 numbers a step, but those before have 2"):
        Vectors().fit([[[1, 2]], [[1, 2, 3]]], "states")
    with pytest.raises(UserError, match="has 1 numbers a step, but the training data has 2"):
        Vectors().fit([[[1, 2]]], "states").encode([[1]], "states")


def rows_of(context: int, budget: int = 90) -> tuple[Rows, ActConfig]:
    task = ActConfig(context=context)
    columns = dict(zip((STATES, ACTIONS, REWARDS), map(list, zip(*EPISODES, strict=True)), strict=True))
    from transduce.data.columns import Columns

    table = Columns(columns)
    examples = task.examples(table, Readers(None, task.readers(table)))
    return examples.rows(BatchConfig(batch_tokens=budget, max_length=30), drop=False), task


@pytest.mark.parametrize("context", [1, 4, 10])
def test_every_step_is_a_target_once_an_epoch_with_its_own_time(context: int) -> None:
    rows, _ = rows_of(context)
    for groups in (rows.fixed(), rows.plan(np.random.default_rng(1)), rows.plan(np.random.default_rng(2))):
        seen = list[tuple[int, int]]()
        for group in groups:
            batch = rows.build(group)
            assert batch.layout.positions.shape[1] == 3 * batch.inputs.times.shape[1] <= 3 * context
            real = batch.layout.positions[:, ::3] >= 0
            for row, episode in enumerate(batch.examples):
                times = batch.inputs.times[row][real[row]].tolist()
                seen += [(episode, time) for time in times]
                earned = np.array(EPISODES[episode][2])[::-1].cumsum()[::-1]
                scale = np.concatenate([np.array(one[2])[::-1].cumsum()[::-1] for one in EPISODES]).std()
                own = batch.inputs.returns[row][real[row]][:, 0].numpy()
                assert np.allclose(own, earned[times] / scale, atol=1e-5)
                assert batch.targets[row][real[row]].tolist() == EPISODES[episode][1][times].tolist()
        assert sorted(seen) == [(i, t) for i, n in enumerate(LENGTHS) for t in range(n)]


def test_a_row_too_short_for_the_context_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.context=11 steps take 33 slots, but batch\.max_length=30"):
        rows_of(11)


@pytest.mark.parametrize("bins", [2, 3, 256])
def test_bins_err_by_half_a_bin_at_most_and_not_at_their_ends(bins: int) -> None:
    values = DRAW.normal(size=(400, 2)) * [3, 0.1]
    reader = Actions(bins=bins).fit([values], "actions")
    back = reader.numbers(of_bins(to_bins(reader.encode([values], "actions").flat, bins), bins))
    half = (values.max(0) - values.min(0)) / (bins - 1) / 2
    assert (np.abs(back - values) <= half * (1 + 1e-5)).all()
    ends = np.stack([values.min(0), values.max(0)])
    exact = reader.numbers(of_bins(to_bins(reader.encode([ends], "actions").flat, bins), bins))
    assert np.array_equal(exact, ends.astype(np.float32))
    assert len(np.unique(to_bins(reader.encode([values], "actions").flat, bins))) <= bins


def test_ends_are_quantiles_where_asked_and_else_the_extremes() -> None:
    values = np.concatenate([np.linspace(-1, 1, 1001), [50.0, -70.0]])
    reader = Actions(bins=11, quantile=0.01).fit([values], "actions")
    assert (reader.low[0], reader.high[0]) == pytest.approx(tuple(np.quantile(values, (0.01, 0.99))))
    assert np.abs(reader.encode([values], "actions").flat).max() == 1
    plain = Actions(bins=11).fit([values], "actions")
    assert (plain.low, plain.high) == ((-70.0,), (50.0,))
    with pytest.raises(UserError, match="row 1 of the column `actions` has 90 at step 1, outside of its range -70 to"):
        plain.encode([[90.0]], "actions")


def test_whole_numbers_are_classes_and_others_are_refused_later() -> None:
    reader = Actions().fit([[0, 2], [1]], "actions")
    assert (reader.classes, reader.size) == (3, 3)
    assert reader.encode([[2, 0]], "actions").flat.tolist() == [2, 0]
    for odd in ([3], [0.5], [-1]):
        with pytest.raises(UserError, match="those of the training data are 0 to 2"):
            reader.encode([odd], "actions")
    assert Actions().fit([[0.5, 1]], "actions").classes == 0


def test_returns_to_go() -> None:
    reader = Returns().fit([[1, 2, 3], [4]], "rewards")
    assert (reader.least, reader.most, reader.steps) == (4.0, 6.0, 3)
    assert np.allclose(reader.encode([[1, 2, 3]], "rewards").flat[:, 0] * reader.scale, [6, 5, 3])
