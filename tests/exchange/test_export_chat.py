"""Models that were taught conversations, opened by transformers with the template by which they were taught."""

import json
from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce.cli.main import main
from transduce.tasks.chat import ChatConfig
from transduce.text.chat import Chat

transformers: Any = pytest.importorskip("transformers")

BRIEF = (
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{{ '\n' }}{% else %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
SAID = [
    {"role": "user", "content": "how are you"}, {"role": "assistant", "content": "fine"},
    {"role": "user", "content": "and you  two"},
]  # fmt: skip


@pytest.mark.parametrize("template", [None, "chatml", BRIEF])
def test_conversations_are_written_as_they_were_in_training(template: str | None, tmp_path: Path):
    rows = [{"prompt": f"how are {name}", "completion": "fine and you two"} for name in ("you", "they", "we")]
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, rows * 20)) + "\n", "utf-8")
    run = td.train(
        "sft",
        {
            "data.path": str(tmp_path / "said.jsonl"), "task.chat": template, "tokenizer.vocab_size": 300,
            "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 32,
            "train.max_steps": 1, "train.samples": 0, "train.threads": 1, "schedule.warmup_steps": 0,
        },
        out=tmp_path, quiet=True,
    )  # fmt: skip
    assert main(["export", str(run.path), str(tmp_path / "out")]) == 0
    ours, theirs = td.load(run.path), transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert isinstance(ours.task, ChatConfig)
    chat = ours.task.template(ours.readers)
    ids = theirs.apply_chat_template(SAID, add_generation_prompt=True, return_dict=False)
    assert ids == chat.ids(SAID)
    assert ours.tokenizer.eos in ids
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text("utf-8"))
    assert settings["eos_token_id"] == chat.end

    again = td.load(tmp_path / "out").tokenizer
    assert again.marks.chat is not None
    assert Chat(again, again.marks.chat).ids(SAID) == ids
