"""A small model learns to add three-digit numbers from the reward of being right, after it was taught to about a half.

    python benchmarks/grpo_addition.py [SEED ...] [KEY=VALUE ...]

Taught by sft on sums with their answers, then rewarded by grpo for its own answers to other sums: 1 where the answer is
right, 0 where it is not. Answers are written from the last digit to the first. Measured: exact match on 1,000 sums that
stood in neither training, and CPU seconds of this process.
"""

import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import transduce as td

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{{ '\n' }}{% else %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
HALF = 0.45  # nats per token of an answer, at which about every second sum is right
SHARED = [
    ("data.valid_fraction", 0), ("task.chat", TEMPLATE), ("train.threads", 1), ("train.precision", "fp32"),
    ("batch.max_length", 32), ("generate.max_new_tokens", 6), ("train.samples", 1000),
]  # fmt: skip
SFT = [
    ("tokenizer", "char"), ("model.width", 64), ("model.layers", 2), ("model.residual.dropout", 0.0),
    ("model.positions", "learned"), ("batch.batch_tokens", 832), ("optimizer.learning_rate", 0.003),
    ("schedule.kind", "constant"), ("train.max_steps", 4000), ("train.validate_every", 5), ("train.samples", 0),
    ("train.patience", None),
]  # fmt: skip
GRPO = [
    ("objective.prompts", 32), ("objective.group", 8), ("objective.max_new_tokens", 6),
    ("optimizer.learning_rate", 0.0005), ("train.max_steps", 250), ("train.validate_every", 250),
    ("objective.max_kl", None),
]  # fmt: skip


def sums(draw: random.Random, count: int) -> list[dict[str, str]]:
    pairs = [(draw.randint(100, 999), draw.randint(100, 999)) for _ in range(count)]
    return [{"prompt": f"{a}+{b}", "completion": str(a + b)[::-1]} for a, b in pairs]


class HalfTaught(Exception):
    """The model adds about every second sum rightly."""


def until_half(event: td.Update | td.Validation) -> None:
    """Ends a training where about half of the answers are right."""
    if isinstance(event, td.Validation) and event.evaluation.loss < HALF:
        raise HalfTaught


def main(seed: int, changes: list[tuple[str, str]]) -> None:
    draw = random.Random(seed)
    rows = list({row["prompt"]: row for row in sums(draw, 25_000)}.values())
    parts = {"valid": rows[:1000], "taught": rows[1000:9000], "explored": rows[9000:]}
    with TemporaryDirectory() as place:
        folder = Path(place)
        for name, train in (("taught", parts["taught"]), ("explored", parts["explored"])):
            (folder / name).mkdir()
            for split, some in (("train", train), ("valid", parts["valid"])):
                lines = "\n".join(map(json.dumps, some)) + "\n"
                (folder / name / f"{split}.jsonl").write_text(lines, "utf-8")
        began = time.process_time()
        own = [("data.path", str(folder / "taught")), ("train.seed", seed)]
        with suppress(HalfTaught):
            td.train("sft", [*own, *SHARED, *SFT], out=folder, quiet=True, watch=until_half)
        model, taught = td.load(folder / "sft"), time.process_time() - began
        asked = [row["prompt"] for row in parts["valid"]]
        before = sum(a.text == row["completion"] for a, row in zip(model.predict(asked), parts["valid"], strict=True))
        began = time.process_time()
        own = [("data.path", str(folder / "explored")), ("start", str(folder / "sft")), ("train.seed", seed)]
        run = td.train("grpo", [*own, *SHARED, *GRPO, *changes], out=folder, quiet=True)
        explored = time.process_time() - began
        after = (run.result or {})["valid"]["reward"]
        kl = [row["kl"] for row in run.metrics if "kl" in row]
    print(
        f"seed {seed}: exact match {before / 1000:.3f} after sft ({taught:.0f} CPU s), {after:.3f} after grpo "
        f"({explored:.0f} CPU s), {kl[-1]:.1f} nats from sft",
        flush=True,
    )


if __name__ == "__main__":
    words = sys.argv[1:]
    changed = [tuple(word.split("=", 1)) for word in words if "=" in word]
    for number in [int(word) for word in words if "=" not in word] or [0, 1, 2]:
        main(number, changed)  # type: ignore[arg-type]
