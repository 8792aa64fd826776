"""A small model learns to add three-digit numbers from the reward of being right, after it was taught to about a half.

    python benchmarks/grpo_addition.py [SEED ...] [MODEL ...] [KEY=VALUE ...]

Taught by sft on sums with their answers until half of 300 others are right, then rewarded by grpo for its own answers
to other sums: 1 where the answer is right, 0 where it is not. Answers are written from the last digit to the first.
Measured: exact match on 1,000 sums that stood in neither training, and CPU seconds of this process. MODEL is
transformer, as where none is named, lstm-2014, deltanet-2021, or encoder-decoder, which is taught by translation and
rewarded by minimum-risk. KEY=VALUE are keys of the training on rewards.
"""

import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import transduce as td

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{{ '\n' }}{% else %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
HALF = 0.5  # of answers, at which teaching ends
ANSWER = 6  # tokens, at most
Keys = list[tuple[str, Any]]
SHARED: Keys = [
    ("data.valid_fraction", 0), ("train.threads", 1), ("train.precision", "fp32"), ("batch.max_length", 32),
    ("generate.max_new_tokens", ANSWER), ("train.patience", None),
]  # fmt: skip
TAUGHT: Keys = [
    ("tokenizer", "char"), ("batch.batch_tokens", 832), ("optimizer", {"kind": "muon", "learning_rate": 0.003}),
    ("schedule.kind", "constant"), ("train.max_steps", 6000), ("train.validate_every", 10), ("train.samples", 300),
    ("train.ema", None),
]  # fmt: skip
REWARDED: Keys = [
    ("objective.prompts", 32), ("objective.group", 8), ("objective.max_new_tokens", ANSWER), ("objective.max_kl", None),
    ("optimizer", {"kind": "muon", "learning_rate": 0.002, "weight_decay": 0.0}), ("schedule.kind", "cosine"),
    ("train.max_steps", 200), ("train.validate_every", 200), ("train.samples", 1000), ("task.reward.name", "exact"),
]  # fmt: skip
OF_DECODERS: Keys = [("task.kind", "explore"), ("task.chat", TEMPLATE)]
OF_PAIRS: Keys = [("data.source_field", "prompt"), ("data.target_field", "completion")]
SMALL: Keys = [("model.width", 128), ("model.layers", 2), ("model.residual.dropout", 0.0)]
ATTENTION: Keys = [
    *SMALL, ("model.positions", "learned"), ("model.norm", "layer-norm"),
    ("model.feedforward", {"kind": "mlp", "hidden": 512, "activation": "relu"}),
]  # fmt: skip
MODELS: dict[str, Keys] = {
    "transformer": ATTENTION,
    "lstm-2014": [("model", "lstm-2014"), *SMALL],
    "deltanet-2021": [("model", "deltanet-2021"), *SMALL],
    "encoder-decoder": [*ATTENTION, ("task", "minimum-risk"), ("generate.beam_size", 1)],
}


def sums(draw: random.Random, count: int) -> list[dict[str, str]]:
    pairs = [(draw.randint(100, 999), draw.randint(100, 999)) for _ in range(count)]
    return [{"prompt": f"{a}+{b}", "completion": str(a + b)[::-1]} for a, b in pairs]


class HalfTaught(Exception):
    """The model adds about every second sum rightly."""


def until_half(event: td.Update | td.Validation) -> None:
    """Ends a training where half of the answers are right."""
    if isinstance(event, td.Validation) and event.evaluation.values["reward"].value >= HALF:
        raise HalfTaught


def right(folder: Path, rows: list[dict[str, str]]) -> float:
    """Returns the share of sums that a model adds rightly."""
    answers: list[Any] = td.load(folder).predict([row["prompt"] for row in rows])
    best: list[Any] = [answer[0] if isinstance(answer, list) else answer for answer in answers]
    return sum(a.text == row["completion"] for a, row in zip(best, rows, strict=True)) / len(rows)


def main(name: str, seed: int, changes: Keys) -> None:
    draw, paired = random.Random(seed), name == "encoder-decoder"
    rows = list({row["prompt"]: row for row in sums(draw, 18_000)}.values())
    parts = {"valid": rows[:1000], "taught": rows[1000:9000], "explored": rows[9000:]}
    own = [*(OF_PAIRS if paired else OF_DECODERS), ("train.seed", seed)]
    with TemporaryDirectory() as place:
        folder = Path(place)
        for part in ("taught", "explored"):
            (folder / part).mkdir()
            for split, some in (("train", parts[part]), ("valid", parts["valid"])):
                lines = "\n".join(map(json.dumps, some)) + "\n"
                (folder / part / f"{split}.jsonl").write_text(lines, "utf-8")
        began = time.process_time()
        keys = [("data.path", str(folder / "taught")), ("name", "sft"), *own, *SHARED, *TAUGHT, *MODELS[name]]
        keys += [("task.reward.name", "exact"), ("objective.label_smoothing", 0.0)] if paired else []
        with suppress(HalfTaught):
            td.train("pairs" if paired else "sft", keys, out=folder, quiet=True, watch=until_half)
        before, taught, began = right(folder / "sft", parts["valid"]), time.process_time() - began, time.process_time()
        keys = [("data.path", str(folder / "explored")), ("start", str(folder / "sft")), ("name", "rewarded"), *own]
        keys += [("generate.beam_size", 1)] if paired else []
        run = td.train(
            "minimum-risk" if paired else "grpo", [*keys, *SHARED, *REWARDED, *changes], out=folder, quiet=True
        )
        explored = time.process_time() - began
        after = (run.result or {})["valid"]["reward"]
        kl = [row["kl"] for row in run.metrics if "kl" in row]
    print(
        f"{name}, seed {seed}: exact match {before:.3f} after sft ({taught:.0f} CPU s), {after:.3f} after rewards "
        f"({explored:.0f} CPU s), {kl[-1]:.1f} nats from sft",
        flush=True,
    )


if __name__ == "__main__":
    words = sys.argv[1:]
    changed = [tuple(word.split("=", 1)) for word in words if "=" in word]
    for number in [int(word) for word in words if word.isdigit()] or [0, 1, 2]:
        for each in [word for word in words if word in MODELS] or ["transformer"]:
            main(each, number, changed)  # type: ignore[arg-type]
