"""Data files with what people and accidents leave in them: looked at, trained on, and given to every command."""

import gzip
import json
import shutil
from pathlib import Path
from random import Random

from fuzz import configs, values, words

CELLS = [
    "a", "b c", "ä", "a\u0301", '"', '"a"', 'a "b" c', "", " ", "\u2028", "\x85", "\x00", "\ufeff", "<s>", "</s>",
    "<pad>", "<unk>", "1", "null", "x" * 300, "\U0001f600", "नमस्ते", "\r", ";", "|",
]  # fmt: skip
LINES = ["", "null", "[]", "3", "{", '{"source": 1}', '"x"', '{"source": ["a"], "target": null}']
KINDS = ["char", "word", "byte", "bpe", "unigram"]
KEYS = {
    "pairs": ["data.header=true", "data.source_field=source", "data.target_field=target", "data.max_chars=5"],
    "text": ["data.unit=line", "data.unit=file", "data.field=text", "data.valid_fraction=0.5", "data.max_chars=5"],
}


def prepare(folder: Path) -> None:
    words.prepare(folder)
    shutil.move(folder / "runs", folder / "trained")


def content(random: Random, ending: str) -> bytes:
    """Returns a file of this kind that is not quite right."""
    rows = [
        [random.choice(CELLS) for _ in range(random.choice([2, 2, 2, 2, 1, 3, 0]))]
        for _ in range(random.randint(0, 30))
    ]
    rows += [[f"w{i}", f"v{i}"] for i in range(random.choice([0, 5, 30]))]
    if ending in ("json", "jsonl"):
        names = ["source", "target", "text", "a"]
        lines = [
            json.dumps(dict(zip(random.sample(names, 3), row, strict=False)), ensure_ascii=random.random() < 0.5)
            for row in rows
        ]
        if random.random() < 0.3:
            lines.append(
                random.choice(["", "null", "[]", "3", "{", '{"source": 1}', '"x"', '{"source": ["a"], "target": null}'])
            )
    else:
        mark = {"csv": random.choice([",", ",", ";"]), "tsv": "\t"}.get(ending, " ")
        lines = [mark.join(row) for row in rows]
    end = random.choice(["\n", "\n", "\n", "\r\n", "\r", "\n\n", "\x0b"])
    text = end.join(lines) + (end if random.random() < 0.8 else "")
    encoding = random.choice(["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"])
    data = text.encode(encoding, "replace")
    return values.spoilt(random, data) if random.random() < 0.3 else data


def case(random: Random, folder: Path) -> tuple[list[str], bytes]:
    shutil.rmtree(folder / "runs", ignore_errors=True)
    ending = random.choice(["tsv", "csv", "jsonl", "json", "txt", "txt", "tsv"])
    packed = random.random() < 0.1
    file = folder / f"case.{ending}{'.gz' if packed else ''}"
    data = content(random, ending)
    file.write_bytes(
        values.spoilt(random, gzip.compress(data))
        if packed and random.random() < 0.5
        else gzip.compress(data)
        if packed
        else data
    )
    small = [f"{k}={v}" for k, v in configs.SMALL.items() if k != "tokenizer"]
    small += ["batch.max_length=16", f"tokenizer={random.choice(KINDS)}"]
    run = random.choice(["trained/dates", "trained/letters"])
    name = str(random.choice([file.name, file.name, "case.*", "."]))
    sort = random.randrange(8)
    if sort < 4:
        base = random.choice(["pairs", "text"])
        chosen = random.sample(KEYS[base], random.choice([0, 0, 1, 2]))
        command = random.choice(["train", "doctor"])
        return [command, base, f"data.path={name}", *small, *chosen, *(["--quiet"] if command == "train" else [])], b""
    command = ["translate", "score", "embed", "generate", "tokenizer"][random.randrange(5)]
    if command == "tokenizer":
        shutil.rmtree(folder / "tokenizer", ignore_errors=True)
        return [
            command,
            "train",
            name,
            "--kind",
            random.choice(KINDS),
            "--vocab-size",
            "300",
        ], b""
    if random.random() < 0.5:
        return [command, run, "--file", name], b""
    return [command, run], data
