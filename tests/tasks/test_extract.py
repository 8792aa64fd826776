"""Answers in texts: where they stand, windows, the official rules, and what is wrong in one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.readers.answers import Answers, Given
from transduce.errors import Notice, UserError
from transduce.tasks.extract import AnswerConfig, Extracted, likeliest, nearest_sentence, tokens_of
from transduce.text.char import Char

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 24, "model.layers": 2, "model.feedforward.hidden": 32,
    "model.mixer.heads": 2, "batch.max_length": 40, "batch.batch_tokens": 640, "optimizer.learning_rate": 0.02,
    "schedule.warmup_steps": 5, "train.max_steps": 120, "train.validate_every": 60, "train.threads": 1,
    "train.device": "cpu", "model.residual.dropout": 0.0, "model.positions": {"kind": "learned", "limit": 40},
    "task.stride": 8,
}  # fmt: skip


def squad(rows: list[tuple[str, str, list[dict[str, Any]]]]) -> str:
    articles = [
        {"title": "t", "paragraphs": [{"context": c, "qas": [{"id": str(i), "question": q, "answers": a}]}]}
        for i, (c, q, a) in enumerate(rows)
    ]
    return json.dumps({"version": "1.1", "data": articles})


def row(i: int) -> tuple[str, str, list[dict[str, Any]]]:
    """The digits in a text of letters; every fifth text has none."""
    digits, start = str(11 + i % 8), 2 + i % 9
    context = "ab" * 3 + "ba" * 4
    if i % 5 == 0:
        return context, "no?", []
    context = f"{context[:start]} {digits} {context[start:]}"
    return context, "no?", [{"text": digits, "answer_start": start + 1}]


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    (folder / "train.json").write_text(squad([row(i) for i in range(80)]))
    (folder / "valid.json").write_text(squad([row(i) for i in range(80, 100)]))
    return folder


@pytest.fixture(scope="session")
def run(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return td.train("answer", {"data.path": str(asked), **SMALL}, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_it_finds_answers_and_says_where_there_is_none(run: Path) -> None:
    model = td.load(run, device="cpu")
    one = model.answer("no?", "abab 13 baba")
    assert isinstance(one, Extracted)
    assert (one.text, one.start, one.stop) == ("13", 5, 7)
    assert 0 < one.probability <= 1
    several = model.answer(["no?", "no?"], ["ababababab", "abababa 15 bab"])
    assert [answer.text for answer in several] == ["", "15"]
    measured = model.evaluate("valid").values
    assert measured["answer-f1"].value > 0.9
    assert measured["answer-exact"].low is not None
    assert measured["answer-exact"].baseline == ("the sentence with most words of the question", 0.0)
    assert json.loads((run / "readers/answers.json").read_text())["nothing"] is True
    with pytest.raises(UserError, match="2 questions and 3 contexts"):
        model.answer(["a", "b"], ["x", "y", "z"])
    with pytest.raises(UserError, match="task=answer needs both"):
        model.predict(["x"])


def test_a_long_context_is_read_in_windows(run: Path) -> None:
    model = td.load(run, device="cpu")
    context = "ab" * 60 + " 16 " + "ba" * 60
    one = model.answer("no?", context)
    assert (one.text, context[one.start : one.stop]) == ("16", "16")


def test_windows_point_at_the_answer_or_at_their_first_token() -> None:
    tokenizer = Char().train(["abcdefghij0123456789?"])
    from transduce.data.readers.reader import Readers

    task, context = AnswerConfig(stride=4), "abcdefghij0123456789"
    columns = Columns({"context": [context, context], "question": ["a?", "b?"], "answers": ["01", "ghij"]})
    readers = Readers(tokenizer, task.readers(columns))
    examples = task.examples(columns, readers)
    rows = examples.rows(BatchConfig(batch_tokens=16, max_length=16), drop=False)
    seen = {0: 0, 1: 0}
    for group in rows.fixed():
        batch = rows.build(group)
        assert batch.inputs.shape[1] <= 16
        for ids, (first, last), example in zip(batch.inputs, batch.targets.tolist(), batch.examples, strict=True):
            if (first, last) != (0, 0):
                assert tokenizer.decode(ids[first : last + 1].tolist()) == columns["answers"][example]
                seen[example] += 1
            text = tokenizer.decode(ids.tolist())
            assert (first, last) != (0, 0) or columns["answers"][example] not in text
    assert min(seen.values()) >= 1


def test_the_best_span_is_the_best_of_all() -> None:
    draw = np.random.default_rng(0)
    for length in (1, 2, 7, 20):
        begins, ends = draw.normal(size=length), draw.normal(size=length)
        for longest in (1, 3, 30):
            spans = [(i, j) for i in range(length) for j in range(i, min(i + longest, length))]
            i, j = max(spans, key=lambda span: begins[span[0]] + ends[span[1]])
            assert likeliest(begins, ends, longest) == (pytest.approx(begins[i] + ends[j]), i, j)
    assert likeliest(np.zeros(0), np.zeros(0), 3)[0] == -np.inf


def test_tokens_of_characters() -> None:
    places = [(0, 3), (3, 3), (4, 6), (6, 9)]
    assert tokens_of(places, 0, 3) == (0, 0)
    assert tokens_of(places, 2, 7) == (0, 3)
    assert tokens_of(places, 3, 4) == (-1, -1)


def test_the_loss_is_that_of_bert_for_question_answering() -> None:
    """Of rows without padding, where transformers takes the mean of both ends."""
    import transformers

    from transduce.model.batch import Batch
    from transduce.model.heads.token_classes import TokenClassesHeadConfig
    from transduce.model.layout import dense
    from transduce.model.norms.norm import LayerNorm
    from transduce.objectives.tagging import span_loss

    config = transformers.BertConfig(
        vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=16
    )
    torch.manual_seed(0)
    theirs = transformers.BertForQuestionAnswering(config).eval()
    ids, ends = torch.randint(3, 31, (2, 9)), torch.tensor([[1, 3], [0, 8]])
    given = theirs(ids, start_positions=ends[:, 0], end_positions=ends[:, 1], output_hidden_states=True)
    head = TokenClassesHeadConfig(classes=2).build(31, 12, LayerNorm(), None)
    assert head is not None
    head.output.load_state_dict(theirs.qa_outputs.state_dict())  # type: ignore[union-attr]

    class Learner:
        training = False

        def __init__(self) -> None:
            self.head = head

        def features(self, batch: Batch) -> torch.Tensor:
            return given.hidden_states[-1]

    loss = span_loss(Learner(), Batch(ids, dense(2, 9), ends))  # type: ignore[arg-type]
    torch.testing.assert_close(loss.total / loss.count / 2, given.loss)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("x", (Given("x"),)),
        ("", ()),
        ('{"text": ["x", "y"], "answer_start": [0, 3]}', (Given("x", 0), Given("y", 3))),
        ('[{"text": "x", "answer_start": 2}]', (Given("x", 2),)),
        ({"text": [], "answer_start": []}, ()),
        (("x", '{"text": "y", "start": 1}'), (Given("x"), Given("y", 1))),
        ("[1] is a reference", (Given("[1] is a reference"),)),
        (1973, (Given("1973"),)),
    ],
)
def test_answers_are_read_as_they_come(cell: Any, expected: tuple[Given, ...]) -> None:
    assert Answers().encode([cell], "answers") == [expected]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("ab 12", "q", "13")], "row 1: the answer '13' does not stand in its context"),
        ([("ab 12", "q", '{"text": "12", "answer_start": 1}')], "row 1: the answer '12' does not stand at character 1"),
        ([("ab 12", "q", '{"answer_start": 1}')], "row 1 of the column `answers` is .* which is no answer; write"),
        ([("ab 12", "q", "")], "every answers of train is blank"),
    ],
)
def test_what_is_no_answer_is_one_sentence(rows: Any, told: str, tmp_path: Path) -> None:
    lines = [json.dumps(dict(zip(("context", "question", "answers"), row, strict=True))) for row in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=told):
        td.train(
            "answer", {"data.path": str(tmp_path / "a.jsonl"), "data.valid_fraction": 0, **SMALL}, out=tmp_path,
            quiet=True,
        )  # fmt: skip


def test_an_answer_that_stands_several_times_is_told(tmp_path: Path) -> None:
    from transduce.data.readers.reader import Readers

    columns = Columns({"context": ["aba"], "question": ["q"], "answers": ["a"]})
    task = AnswerConfig()
    with pytest.warns(Notice, match="1 answers stand several times in their contexts.*the first place is taken"):
        examples = task.examples(columns, Readers(Char().train(["abq"]), task.readers(columns)))
    assert examples.spans.tolist() == [[0, 0]]


def test_what_needs_no_model_answers_with_a_sentence() -> None:
    assert nearest_sentence("A cat sat. The dog ran. Fin.", "Where did the dog go?") == "The dog ran."
    assert nearest_sentence("", "x") == ""


def test_the_command_reads_questions_and_files(run: Path, asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answer", str(run), "no?", "no?", "--context", "abab 13 baba"]) == 0
    assert capsys.readouterr().out == "13\n13\n"
    assert main(["answer", str(run), "--file", str(asked / "valid.json"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 20
    assert rows[0]["text"] is None
    assert rows[1].keys() == {"question", "text", "probability", "start", "stop"}
    assert main(["answer", str(run), "no?"]) == 2
    assert main(["answer", str(run), "no?", "--file", "x.json"]) == 2
    assert "one of --context" in capsys.readouterr().err
