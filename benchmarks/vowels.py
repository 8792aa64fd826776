"""More vowels: a model of characters is rewarded for the share of vowels in its answers, by grpo and by ppo.

    python benchmarks/vowels.py FILE [SEED ...] [--betas] [KEY=VALUE ...]

FILE is plain text, such as tinyshakespeare's train.txt: 16 characters of it are a prompt, and the 32 that follow the
answer. A model learns these by sft; then it learns from the share of vowels among the characters of its own answers,
drawn at temperature 1, for 100 roll-outs of 128 answers, or until they are 5 nats from those of sft (objective.max_kl).
Told are the rewards and the KL of roll-outs, each the mean of the last three. With --betas: how far 100 roll-outs lead
without that limit, for several weights of the KL.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import transduce as td

ASKED, ANSWERED, ROWS, LAST = 16, 32, 12_000, 3
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
REWARD = """
def vowels(prompts, answers, expected):
    return [sum(c in "aeiouAEIOU" for c in text) / max(len(text), 1) for text in answers]
"""
SHARED = [
    ("task.chat", TEMPLATE), ("train.threads", 1), ("train.precision", "fp32"), ("batch.max_length", 64),
    ("generate.max_new_tokens", ANSWERED), ("generate.temperature", 1.0), ("train.samples", 0),
    ("data.valid_fraction", 0.01),
]  # fmt: skip
SFT = [
    ("tokenizer", "char"), ("model.width", 96), ("model.layers", 2), ("model.mixer.heads", 4),
    ("model.residual.dropout", 0.0), ("batch.batch_tokens", 3200), ("optimizer.learning_rate", 0.003),
    ("train.max_steps", 150), ("train.validate_every", 50),
]  # fmt: skip
EXPLORE = [
    ("objective.prompts", 16), ("objective.group", 8), ("objective.max_new_tokens", ANSWERED),
    ("task.reward.kind", "function"), ("task.reward.name", "vowel_rewards:vowels"), ("train.log_every", 1),
    ("train.validate_every", 1000), ("train.save_every", 1000), ("optimizer.learning_rate", 0.0002),
]  # fmt: skip
KINDS = {
    "grpo": [("objective.beta", 0.3)], "ppo": [("objective.beta", 0.02), ("optimizer.learning_rate", 0.00005)],
}  # fmt: skip
ROLL_OUTS, UPDATES = 100, {"grpo": 1, "ppo": 4}  # at most, and of each
BETAS = {"grpo": (0.05, 0.2, 1.0), "ppo": (0.003, 0.01, 0.03)}


def explored(kind: str, start: Path, rows: Path, name: str, more: list[tuple[str, object]]) -> str:
    """Learns from vowels, and tells how far it got."""
    began = time.process_time()
    own = [("start", str(start)), ("data.path", str(rows)), ("name", name)]
    run = td.train(kind, [*own, *SHARED, *EXPLORE, *KINDS[kind], *more], out=start.parent, quiet=True)
    told = [row for row in run.metrics if "reward" in row]
    each = told[:: UPDATES[kind]]  # the first update from each roll-out
    reward = [sum(row["reward"] for row in some) / LAST for some in (each[:LAST], each[-LAST:])]
    kl = [sum(row["kl"] for row in some) / LAST for some in (each[:LAST], each[-LAST:])]
    stopped = "stopped by max_kl" if "objective.max_kl" in (run.path / "log.txt").read_text("utf-8") else "not stopped"
    return (
        f"reward {reward[0]:.3f} -> {reward[1]:.3f} ({reward[1] - reward[0]:+.3f}) at {kl[1]:.2f} nats "
        f"(last {each[-1]['kl']:.2f}), {len(each)} roll-outs, {stopped}, {time.process_time() - began:.0f} CPU s"
    )


def main(file: Path, seeds: list[int], betas: bool, changes: list[tuple[str, object]]) -> None:
    text = file.read_text("utf-8")
    for seed in seeds:
        draw = random.Random(seed)
        starts = [draw.randrange(len(text) - ASKED - ANSWERED) for _ in range(ROWS)]
        pairs = [(text[i : i + ASKED], text[i + ASKED : i + ASKED + ANSWERED]) for i in starts]
        with TemporaryDirectory() as place:
            folder = Path(place)
            rows = folder / "rows.jsonl"
            lines = [json.dumps({"prompt": a, "completion": b}) for a, b in dict(pairs).items() if a.strip()]
            rows.write_text("\n".join(lines) + "\n", "utf-8")
            (folder / "vowel_rewards.py").write_text(REWARD, "utf-8")
            os.chdir(folder)
            began = time.process_time()
            sft = td.train(
                "sft", [("data.path", str(rows)), ("train.seed", seed), *SHARED, *SFT], out=folder, quiet=True
            )
            loss = (sft.result or {})["valid"]["loss"]
            print(
                f"seed {seed}: sft, {loss:.3f} nats per character, {time.process_time() - began:.0f} CPU s", flush=True
            )
            for kind in KINDS:
                steps = ("train.max_steps", ROLL_OUTS * UPDATES[kind])
                own = [("train.seed", seed), ("objective.max_kl", 5), steps, *changes]
                print(f"  {kind}: {explored(kind, sft.path, rows, kind, own)}", flush=True)
                for beta in BETAS[kind] if betas else ():
                    own = [("objective.beta", beta), ("objective.max_kl", None), steps]
                    found = explored(kind, sft.path, rows, f"{kind}-{beta}", [("train.seed", seed), *own, *changes])
                    print(f"  {kind}, beta {beta:g}: {found}", flush=True)


if __name__ == "__main__":
    words = sys.argv[2:]
    changed = [tuple(word.split("=", 1)) for word in words if "=" in word]
    numbers = [int(word) for word in words if word.isdigit()] or [0, 1, 2]
    main(Path(sys.argv[1]).resolve(), numbers, "--betas" in words, changed)  # type: ignore[arg-type]
