"""Runs and exported folders in which something was changed or removed; then every command that reads one."""

import contextlib
import shutil
from pathlib import Path
from random import Random

from fuzz import configs, values, words
from transduce.cli.main import main

DATES = [f"{key}={value}" for key, value in (configs.BASES["dates"] | configs.SMALL).items()]
SMALL = [f"{key}={value}" for key, value in configs.SMALL.items()]
LETTERS = ["data.path=text.txt", "batch.max_length=16", "name=letters", *SMALL]
GPT = [
    *LETTERS, "name=gpt", "model.norm=layer-norm", "model.positions=learned",
    "model.feedforward={kind: mlp, activation: gelu-tanh}",
]  # fmt: skip


def prepare(folder: Path) -> None:
    words.prepare(folder)
    main(["train", "text", *GPT, "--quiet"])
    main(["export", "runs/gpt", "folder"])
    (folder / "whole").mkdir()
    for name in ("runs", "folder"):
        if (folder / name).exists():
            shutil.move(folder / name, folder / "whole" / name)


def damage(random: Random, root: Path) -> None:
    """Changes one file or directory."""
    paths = sorted(path for path in root.rglob("*") if not path.is_symlink())
    files = [path for path in paths if path.is_file()]
    path = random.choice(files if random.random() < 0.9 else paths)
    way = random.randrange(10)
    with contextlib.suppress(OSError):
        if way == 0:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif way == 1 and path.is_file():
            path.unlink()
            path.mkdir()
        elif way == 2:
            path.rename(
                path.with_name(random.choice(["step-²", "x", "best", "last", "step-00000009", f"{path.name}.bak"]))
            )
        elif path.is_file():
            path.write_bytes(values.spoilt(random, path.read_bytes()))


def case(random: Random, folder: Path) -> list[str]:
    for name in ("runs", "folder", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "whole", folder, dirs_exist_ok=True, symlinks=True)
    sort = random.choice(["dates", "letters", "folder"])
    if sort == "folder" and not (folder / "folder").is_dir():
        sort = "letters"
    root = folder / "folder" if sort == "folder" else folder / "runs" / sort
    if sort != "folder" and random.random() < 0.5:
        (root / "hashes.json").unlink(missing_ok=True)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        damage(random, root)
    where, more = str(root.relative_to(folder)), ["--max-new-tokens", "3"]
    show = ["tokenizer", "show", where, "the"]
    if sort == "folder":
        return random.choice([["generate", where, "the", *more], ["score", where], show])
    base = ["dates", *DATES] if sort == "dates" else ["text", *LETTERS]
    again = ["train", *base, "train.max_steps=3", "--quiet"]
    use = ["translate", where, "3 May 2021"] if sort == "dates" else ["generate", where, "the", *more]
    other = ["train", f"{where}/config.yaml", "name=other", "--quiet"]
    rest = [["evaluate", where], ["score", where], ["export", where, "out"]]
    return random.choice([again, again, use, use, show, other, *rest])
