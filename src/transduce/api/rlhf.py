"""From pairs of answers to models that answer as is preferred: sft, reward, dpo, grpo and ppo, and how they compare.

Tested in tests/prefer/test_rlhf.py.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from transduce.api.opening import load
from transduce.api.recipes import Overrides, pairs, recipe, started
from transduce.api.training import train
from transduce.data.chats import CHOSEN, COMPLETION, PROMPT, REJECTED
from transduce.disk import replace_text
from transduce.errors import UserError
from transduce.prefer.comparison import Compared, compared
from transduce.runs.claim import require_same
from transduce.runs.run import Run
from transduce.tasks.chat import chat_task

NAME, PATH, START, TABLE = "rlhf", "data.path", "start", "table.json"
COLUMNS, SHOWN, PROMPTS, EACH, TOKENS = (PROMPT, CHOSEN, REJECTED), 3, 100, 4, 48
ALL = ("train.seed", "train.threads", "train.device", "train.precision")  # keys that every training is given
LEARNS = (
    ("objective.max_new_tokens", TOKENS), ("objective.prompts", 16), ("optimizer.learning_rate", 0.0001),
    ("task.reward.kind", "run"), ("objective.max_kl", 10), ("train.validate_every", 50), ("train.samples", 50),
    ("batch.max_length", 256), ("generate.max_new_tokens", TOKENS), ("objective.beta", 0.05),
)  # fmt: skip
TINY = (
    ("model.width", 128), ("model.layers", 2), ("tokenizer.vocab_size", 1000), ("optimizer.learning_rate", 0.002),
    ("train.max_steps", 500),
)  # fmt: skip


class Stage(NamedTuple):
    """A training of the chain. recipe: its name. data: which part of the pairs it reads. keys: of the recipe."""

    recipe: str
    data: str
    keys: tuple[tuple[str, Any], ...] = ()


STAGES = {
    "sft": Stage("sft", "talks", (("batch.max_length", 256), ("generate.max_new_tokens", TOKENS))),
    "reward": Stage("reward", "half", (("batch.max_length", 256),)),
    "judge": Stage("reward", "rest", (("batch.max_length", 256),)),
    "dpo": Stage("dpo", "half", (("batch.max_length", 256), ("generate.max_new_tokens", TOKENS))),
    "grpo": Stage("grpo", "talks", (*LEARNS, ("objective.group", 4), ("train.max_steps", 100))),
    "ppo": Stage("ppo", "talks", (*LEARNS, ("train.max_steps", 400), ("train.validate_every", 200))),
}
POLICIES = ("sft", "dpo", "grpo", "ppo")


def rlhf(
    overrides: Overrides, *, out: str | Path = "runs", quiet: bool = False, say: Callable[[str], None] = lambda _: None
) -> list[Compared]:  # fmt: skip
    """Trains sft, reward, judge, dpo, grpo and ppo in OUT/NAME, and returns how their answers compare.

    Where it was stopped, the same call goes on. Half of the prompts teach the reward that is trained against; the
    others, which dpo does not see either, teach a judge that stands aside. A model from scratch is small.

    overrides: data.path, of pairs; name; start; keys of the data; train.seed, threads, device and precision; and keys
        of one training behind its name, such as ppo.objective.beta. Raises UserError for others.
    say: hears which training begins.
    """
    given = dict(pairs(overrides))
    folder = Path(out) / str(given.pop("name", NAME))
    path, start = given.pop(PATH, None), given.pop(START, None)
    if path is None:
        raise UserError("rlhf needs your pairs (prompt, chosen, rejected); add data.path=...")
    shared = [(key, given.pop(key)) for key in ALL if key in given]
    of_data = [(key, given.pop(key)) for key in list(given) if key.startswith("data.")]
    own = {name: [key for key in given if key.startswith(f"{name}.")] for name in STAGES}
    of_stage = {name: [(key.partition(".")[2], given.pop(key)) for key in keys] for name, keys in own.items()}
    if given:
        ways = f"{', '.join(ALL)} are of all trainings, and others stand behind one, such as sft.{next(iter(given))}"
        raise UserError(f"rlhf does not know for which of its trainings {next(iter(given))} is; {ways}")
    parted = parts(str(path), of_data, folder / "data")
    for name, stage in STAGES.items():
        keys = [(PATH, str(parted[stage.data])), ("data.valid_fraction", 0), ("name", name), *stage.keys, *shared]
        if stage.recipe == "sft":
            keys += TINY if start is None else [(START, start)]
        elif stage.recipe != "reward":
            keys.append((START, str(folder / "sft")))
        keys += [("task.reward.path", str(folder / "reward"))] if ("task.reward.kind", "run") in stage.keys else []
        keys += [("train.seed", int(dict(shared).get("train.seed", 0)) + 1)] if name == "judge" else []
        say(f"{name}: transduce train {stage.recipe}, in {folder / name}")
        once(stage.recipe, [*keys, *of_stage[name]], folder, name, quiet)
    models = {name: load(folder / name) for name in POLICIES}
    first = models["sft"]
    prompts = [json.loads(line)[PROMPT] for line in (folder / "data/talks/valid.jsonl").read_text("utf-8").splitlines()]
    judges = {name: load(folder / name).reward for name in ("reward", "judge")}
    rows = compared(
        {name: one.model for name, one in models.items()}, chat_task(first.task, first.model, first.readers),
        first.readers, prompts[:PROMPTS], judges, each=EACH, max_new_tokens=TOKENS,
        seed=first.recipe.train.seed, shown=SHOWN,
    )  # fmt: skip
    table = {"prompts": [prompt[-1]["content"] for prompt in prompts[:SHOWN]], "rows": [row._asdict() for row in rows]}
    replace_text(folder / TABLE, json.dumps(table, ensure_ascii=False, indent=1) + "\n")
    return rows


def once(spec: str, keys: list[tuple[str, Any]], folder: Path, name: str, quiet: bool) -> None:
    """Trains one of the chain, unless it is done with the same keys. Raises UserError where it is with others."""
    if Run(folder / name).result is None:
        train(spec, keys, out=folder, quiet=quiet)
    else:
        require_same(folder / name, started(spec, keys, folder)[0])


def parts(path: str, of_data: list[tuple[str, Any]], folder: Path) -> dict[str, Path]:
    """Writes pairs, parted: `talks` are all prompts with the better answer, `half` and `rest` pairs by their prompt.

    Raises UserError where others stand there.
    """
    splits = recipe("dpo", [(PATH, path), ("data.equal", "drop"), *of_data]).data.load(COLUMNS)
    if "valid" not in splits:
        raise UserError("no pairs are held out to compare the models with; leave data.valid_fraction as it is")
    for split in ("train", "valid"):
        columns = [splits[split][name] for name in COLUMNS]
        rows = [(json.loads(prompt), chosen, rejected) for prompt, chosen, rejected in zip(*columns, strict=True)]
        first = [split == "valid" or half(prompt) for prompt in columns[0]]
        pair = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        some = {
            "talks": [{PROMPT: prompt, COMPLETION: chosen} for prompt, chosen, _ in rows],
            "half": [row for row, mine in zip(pair, first, strict=True) if mine],
            "rest": [row for row, mine in zip(pair, first, strict=True) if split == "valid" or not mine],
        }
        for name, lines in some.items():
            file = folder / name / f"{split}.jsonl"
            text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"
            if file.exists() and file.read_text("utf-8") != text:
                raise UserError(f"{folder} was made of other pairs; choose another name=")
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_text(file, text)
    return {name: folder / name for name in ("talks", "half", "rest")}


def half(prompt: str) -> bool:
    """Says whether a prompt is in the first half, by its hash."""
    return hashlib.sha256(prompt.encode()).digest()[0] < 128
