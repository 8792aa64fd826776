"""Random words behind every command, on runs that are there."""

import json
from pathlib import Path
from random import Random

from fuzz import configs, values
from transduce.cli.main import main

COMMANDS = [
    "train", "evaluate", "translate", "generate", "score", "embed", "plan", "doctor", "export", "parity", "recipes",
    "parts", "catalogue", "tokenizer", "import", "reproduce",
]  # fmt: skip
SECOND = [
    "ls",
    "show",
    "cp",
    "schema",
    "train",
    "diff",
    "params",
    "tree",
    "dates",
    "text",
    "pairs",
    "bert-base",
    "gpt-2-124m",
]
OPTIONS = [
    "--out", "--quiet", "--resume", "--device", "--checkpoint", "--split", "--samples", "--beam-size", "--temperature",
    "--top-k", "--top-p", "--min-p", "--seed", "--max-new-tokens", "--length-penalty", "--json", "--scores", "--stop",
    "--file",
    "--preview", "--probe", "--kind", "--vocab-size", "--text", "--search", "--seeds", "--threads", "--help",
    "--x", "--", "-", "-x", "--family", "--year", "--sort", "--data", "--no-probe", "--nbest",
]  # fmt: skip
PLACES = ["runs/dates", "runs/letters", "runs", "pairs.tsv", "text.txt", "nowhere", "case.yaml", "out", "best", "last"]


def prepare(folder: Path) -> None:
    """Writes data and two runs, hardly trained."""
    configs.prepare(folder)
    small = [f"{key}={value}" for key, value in configs.SMALL.items()]
    dates = [f"{key}={value}" for key, value in configs.BASES["dates"].items()]
    assert main(["train", "dates", *dates, *small, "--quiet"]) == 0
    assert main(["train", "text", "data.path=text.txt", "batch.max_length=16", *small, "name=letters", "--quiet"]) == 0


def word(random: Random) -> str:
    sort = random.randrange(6)
    if sort == 0:
        return random.choice(OPTIONS)
    if sort == 1:
        return random.choice(PLACES)
    if sort == 2:
        key, value = configs.change(random)
        mark = random.choice(["", "", "--"])
        return f"{mark}{key}={value if isinstance(value, str) else json.dumps(value)}"
    if sort == 3:
        return random.choice(SECOND)
    return str(values.number(random))[:400] if sort == 4 and random.random() < 0.7 else values.text(random)


def case(random: Random, folder: Path) -> list[str]:
    command = random.choice(COMMANDS)
    words = [word(random) for _ in range(random.choice([0, 1, 1, 2, 2, 3, 5]))]
    if command in ("evaluate", "translate", "generate", "score", "embed", "export") and random.random() < 0.7:
        words.insert(0, random.choice(PLACES[:2]))
    if command in ("train", "plan", "doctor"):  # whatever else is asked for: small, and a step or two
        base = random.choice([*configs.BASES])
        small = {**configs.BASES[base], **configs.SMALL}
        words = [base, *words, *(f"{key}={value}" for key, value in small.items())]
    if command == "plan":
        words.append("--no-probe")  # which takes five seconds
    if command in ("reproduce", "import") and "--help" not in words:  # these take minutes where they succeed
        words = [w for w in words if w not in ("ls", "all")]
    return [command, *words]
