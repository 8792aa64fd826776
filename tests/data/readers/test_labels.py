from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transduce.config import from_data, kinds, to_data
from transduce.data.readers.labels import Labels
from transduce.data.readers.numbers import Numbers
from transduce.data.readers.reader import Reader, Readers, load
from transduce.errors import UserError

COLUMNS: dict[str, list[Any]] = {
    "labels": ["b", "a", "b"], "numbers": [3, "4.5", 6.0], "tags": [["O", "B-x"], "O O I-x"],
    "label-sets": ["a, b", "", "b"], "answers": [[{"text": "red", "answer_start": 3}], []], "pictures": [],
    "log-mel": [],
    "vectors": [[[1, 2], [3, 5]], "[[0, 7]]"], "actions": [[0, 2], "[1]"], "returns": [[1, 0, 2], "[3]"],
    "points": ["1 2", [3, 4.5]], "bins": [[[1, 0.5], [2, 0.5]], "[[0, 7]]"],
}  # fmt: skip


KINDS = [kind for kind in kinds(Reader.folder) if kind != "latents"]  # of a run: tests/tasks/test_autoencode.py


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_is_kept_reads_what_it_read(kind: str, photos: Path, tones: Path, tmp_path: Path) -> None:
    files = photos / "train" / "red" if kind == "pictures" else tones / "train" / "low"
    values = COLUMNS[kind] or sorted(map(str, files.iterdir()))
    blank = kinds(Reader.folder)[kind]()
    assert isinstance(blank, Reader)
    reader = blank.fit(values, "x")
    Readers(None, {"x": reader}).save(tmp_path)
    again = load(tmp_path)["x"]
    assert again == reader
    assert again.size == reader.size
    ours, theirs = again.encode(values, "x"), reader.encode(values, "x")
    assert len(ours) == len(values)
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert from_data(type(reader), {k: v for k, v in to_data(reader).items() if k != "kind"}) == reader


def test_labels_are_sorted_numbers_by_their_value() -> None:
    assert Labels().fit([10, 9, "2", 2.0, True], "x").names == ("2", "9", "10", "true")
    assert Labels(end=":").fit(["DESC:a", "NUM:b", "DESC:c"], "x").names == ("DESC", "NUM")
    assert Labels(names=("a", "b")).encode(["b", " a "], "x").tolist() == [1, 0]


@pytest.mark.parametrize(("values", "sentence"), [
    (["a", "a"], "no two different labels \\(the only one is 'a'\\)"), ([], "no two different labels"),
])  # fmt: skip
def test_one_class_only_is_refused(values: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Labels().fit(values, "label")


def test_a_label_that_was_not_there_in_training_is_named_with_the_nearest() -> None:
    reader = Labels(names=("ham", "spam"))
    with pytest.raises(
        UserError, match=r"the label 'spamm' in the column `label` was not there .* did you mean 'spam'"
    ):
        reader.encode(["ham", "spamm"], "label")


def test_numbers_come_back() -> None:
    reader = Numbers().fit([1, 2, 3, 10], "x")
    read = reader.encode([1, 2, 3, 10], "x")
    assert read.mean() == pytest.approx(0, abs=1e-6)
    assert read.std() == pytest.approx(1, abs=1e-6)
    assert np.allclose(reader.decode(read), [1, 2, 3, 10])
    with pytest.raises(UserError, match="row 2 of the column `x` is 'abc', which is not a number"):
        reader.encode([1, "abc"], "x")
