"""One absurd number in an otherwise small recipe, for every number of every kind."""

import functools
import shutil
from pathlib import Path
from random import Random
from typing import Any

from fuzz import configs
from transduce.config import Part, kinds

Row = tuple[str, tuple[str, ...], str]
prepare = configs.prepare
ABSURD = [10**9, 2**31, 2**32 + 1, 10**12, 2**62, 2**63 - 1, 2**63, 10**19, 10**400, -1, -(10**12)]
SLOW = {"train.max_steps", "train.max_epochs"}  # a long training is what was asked for


@functools.cache
def numbers() -> list[Row]:
    """Returns the base, the words that choose a kind, and the key of every number."""
    rows: list[Row] = []
    for base in configs.BASES:
        for path, hint in configs.sections(configs.MODELS.get(base, "encoder-decoder")).items():
            rows += _below(base, (), path, hint, 2)
    return rows


def _below(
    base: str, words: tuple[str, ...], path: str, hint: Any, depth: int
) -> list[tuple[str, tuple[str, ...], str]]:
    rows: list[tuple[str, tuple[str, ...], str]] = []
    for part in getattr(hint, "__args__", (hint,)):
        if part in (int, float):
            rows.append((base, words, path))
        elif isinstance(part, type) and issubclass(part, Part) and depth:
            for kind, cls in kinds(part.folder).items():
                for name, inner in configs.fields(cls).items():
                    chosen = (*words, f"{path}.kind={kind}")
                    rows += _below(base, chosen, f"{path}.{name}", inner, depth - 1 if "." in path else depth)
    return rows


def case(random: Random, folder: Path) -> list[str]:
    shutil.rmtree(folder / "runs", ignore_errors=True)
    base, kind_words, key = random.choice([row for row in numbers() if row[2] not in SLOW])
    changed = {word.split(".kind=")[0] for word in kind_words} | {key}
    small = [
        f"{name}={value}" for name, value in (configs.BASES[base] | configs.SMALL).items()
        if not any(name == other or name.startswith(f"{other}.") for other in changed)
    ]  # fmt: skip
    value = random.choice(ABSURD)
    return ["train", base, *small, *kind_words, f"{key}={value if random.random() < 0.8 else f'[{value}]'}", "--quiet"]
