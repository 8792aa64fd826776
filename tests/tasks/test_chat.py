"""Conversations as a task: what is a target, what is refused, and answers alike from the command and from Python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce
from transduce.cli.main import main
from transduce.data.chats import Chats
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.tasks.chat import ChatConfig, before_answer
from transduce.text.char import Char

MESSAGES = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": MESSAGES},
    "conversations": {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
    "prompt": {"prompt": "2+2?", "completion": "4"},
    "prompt of messages": {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},
    "alpaca": {"instruction": "2+2?", "input": "", "output": "4"},
    "alpaca with an input": {"instruction": "Add", "input": "2+2", "output": "4"},
}
SMALL = (
    "tokenizer.kind=char", "model.width=16", "model.layers=1", "model.mixer.heads=2", "train.max_steps=4",
    "train.validate_every=2", "train.samples=2", "train.threads=1", "train.precision=fp32", "schedule.warmup_steps=1",
    "generate.max_new_tokens=6", "batch.batch_tokens=512",
)  # fmt: skip


def rows(count: int = 24) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}+1?", "completion": f"{i + 1}"} for i in range(count)]


def written(folder: Path, values: list[dict[str, Any]], name: str = "train.jsonl") -> Path:
    path = folder / name
    text = json.dumps(values) if name.endswith(".json") else "\n".join(map(json.dumps, values)) + "\n"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_conversation(form: str, ending: str, tmp_path: Path) -> None:
    path = written(tmp_path, [FORMS[form]], f"train.{ending}")
    columns = Chats(path=str(path), valid_fraction=0.0).load(("messages",))["train"]
    expected = [{"role": "user", "content": "Add\n2+2"}, MESSAGES[1]] if "input" in form else MESSAGES
    assert json.loads(columns["messages"][0]) == expected
    system = Chats(path=str(path), valid_fraction=0.0, system="Be brief.").load(("messages",))["train"]
    assert json.loads(system["messages"][0]) == [{"role": "system", "content": "Be brief."}, *expected]


def test_tables_and_named_columns(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("question\tanswer\tmore\n2+2?\t4\tx\n", "utf-8")
    data = Chats(path=str(tmp_path), valid_fraction=0.0, columns={"prompt": "question", "completion": "answer"})
    assert json.loads(data.load(("messages",))["train"]["messages"][0]) == MESSAGES
    assert data.remarks() == ["the columns more of train.tsv are not used"]


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([FORMS["messages"]] * 2), tmp_path / "train.parquet")
    columns = Chats(path=str(tmp_path), valid_fraction=0.0).load(("messages",))["train"]
    assert [json.loads(one) for one in columns["messages"]] == [MESSAGES] * 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a"}, "row 2: there is no conversation; give columns named messages"),
        ({"messages": MESSAGES[:1]}, "row 2: the assistant says nothing, so there is nothing to learn from"),
        ({"messages": []}, "row 2: '\\[\\]' is no list of messages"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "row 2: a message has the role 'narrator'"),
        ({"messages": [{"role": "user", "content": None}]}, "row 2: a message of the user holds NoneType"),
        ({"prompt": "a"}, "row 2: there is a prompt, but no answer"),
    ],
)
def test_rows_that_are_refused(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = written(tmp_path, [FORMS["messages"], row])
    with pytest.raises(UserError, match=says) as error:
        Chats(path=str(path)).load(("messages",))
    assert "\n" not in str(error.value)


def texts() -> tuple[ChatConfig, Columns, Readers]:
    columns = Columns({"messages": [json.dumps(MESSAGES), json.dumps([*MESSAGES, *MESSAGES])]})
    task = ChatConfig()
    return task, columns, Readers(Char().train(list(task.texts(columns))))


@pytest.mark.parametrize("packing", [False, True])
def test_targets_are_what_the_assistant_writes(packing: bool) -> None:
    task, columns, readers = texts()
    examples = task.examples(columns, readers)
    made = examples.rows(BatchConfig(batch_tokens=512, max_length=128, packing=packing), drop=False)
    batch = made.build(made.plan(np.random.default_rng(0))[0])
    ids = [int(i) for i in batch.targets.flatten() if i >= 0]
    answer = [*readers.text.encode("4"), readers.text.eos]
    assert ids == answer * 3
    where = (batch.targets >= 0).nonzero()
    after = [int(batch.inputs[row, slot]) for row, slot in where.tolist()]
    assert after[::2] == readers.text.encode("\n") * 3, "the first token of an answer is asked of what stands before it"


def test_an_answer_that_is_cut_off_is_refused() -> None:
    task, columns, readers = texts()
    examples = task.examples(columns, readers)
    with pytest.raises(UserError, match=r"conversation 1 has its first answer beyond batch.max_length=16"):
        examples.rows(BatchConfig(batch_tokens=512, max_length=16), drop=False)
    assert not examples.rows(BatchConfig(batch_tokens=512, max_length=16), drop=True).fixed()


def test_doctor_tells_what_is_learnt_from_what_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, rows(4))
    found = transduce.doctor(
        "sft", {"data.path": str(path), "data.valid_fraction": 0.25, **dict(w.split("=") for w in SMALL)}
    )
    for row in found.preview:
        text = "".join(token.text for token in row.target)
        learnt = "".join(token.text for token in row.target if token.trained)
        number = text.removeprefix("<s>user\n").partition("+")[0]
        assert text == f"<s>user\n{number}+1?</s>\n<s>assistant\n{int(number) + 1}</s>"
        assert learnt == f"{int(number) + 1}</s>"
    assert found.preview


def test_a_conversation_without_an_answer_is_named() -> None:
    task, columns, readers = texts()
    odd = Columns({"messages": [columns["messages"][0], json.dumps(MESSAGES[:1])]})
    with pytest.raises(UserError, match="conversation 2: the assistant says nothing"):
        task.examples(odd, readers)


def test_before_an_answer() -> None:
    assert before_answer(MESSAGES) == MESSAGES[:1]
    assert before_answer(MESSAGES[:1]) == MESSAGES[:1]
    with pytest.raises(UserError, match="begin it with the user"):
        before_answer(MESSAGES[1:])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sft")
    path = written(folder, rows())
    words = ["train", "sft", f"data.path={path}", *SMALL, "--out", str(folder / "runs"), "--quiet"]
    assert main(words) == 0
    return folder / "runs" / "sft"


def test_the_command_answers_what_python_answers(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    model = transduce.load(run)
    first = model.chat("3+1?")
    said = (("user", "3+1?"), ("assistant", first), ("user", "5+1?"))
    history = [{"role": role, "content": content} for role, content in said]
    second = model.chat(history)
    assert "".join(model.chat_stream(history)) == second
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"3+1?\n\n5+1?\n/clear\n3+1?\n/quit\n7+1?\n")))
    capsys.readouterr()
    assert main(["chat", str(run)]) == 0
    assert capsys.readouterr().out == f"{first}\n{second}\n{first}\n"
    assert main(["chat", str(run), "3+1?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"prompt": "3+1?", "text": first}
    assert model.predict(["3+1?"])[0].text == first


def test_a_run_of_something_else_does_not_chat(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(f"a few words of text {i}" for i in range(40)), "utf-8")
    words = ["text", f"data.path={path}", "data.unit=line", *SMALL, "--out", str(tmp_path), "--quiet"]
    assert main(["train", *words, "batch.max_length=64"]) == 0
    assert main(["chat", str(tmp_path / "text"), "a"]) == 2
    assert "trained for task=language, not on conversations; use generate, or teach it" in capsys.readouterr().err


def test_it_starts_from_a_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(f"user\n{i}+1? assistant\n{i + 1}" for i in range(40))
    (tmp_path / "text.txt").write_text(text, "utf-8")
    words = ["data.unit=line", *SMALL, "--out", str(tmp_path), "--quiet", "batch.max_length=64"]
    assert main(["train", "text", f"data.path={tmp_path / 'text.txt'}", *words]) == 0
    path = written(tmp_path, rows())
    small = [word for word in SMALL if not word.startswith(("tokenizer", "model"))]
    words = [f"start={tmp_path / 'text'}", f"data.path={path}", *small, "--out", str(tmp_path)]
    assert main(["train", "sft", *words]) == 0
    assert f"starts from {tmp_path / 'text'}" in capsys.readouterr().out
    assert isinstance(transduce.load(tmp_path / "sft").chat("3+1?"), str)
