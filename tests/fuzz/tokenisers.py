"""Files of tokenisers, as the library writes them and as nobody would: read, and used to cut and join text."""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from fuzz import values, words

NORMALIZERS = [
    normalizers.NFD(), normalizers.Lowercase(), normalizers.BertNormalizer(), normalizers.Replace("a", ""),
    normalizers.Prepend("▁"), normalizers.Strip(),
]  # fmt: skip
CUTS = [
    pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(), pre_tokenizers.Metaspace(), pre_tokenizers.Digits(True),
    pre_tokenizers.BertPreTokenizer(),
]  # fmt: skip
DECODERS = [
    decoders.ByteLevel(), decoders.Metaspace(), decoders.WordPiece(), decoders.Fuse(), decoders.ByteFallback(),
    decoders.BPEDecoder(), decoders.CTC(),
]  # fmt: skip
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"]


def prepare(folder: Path) -> None:
    words.prepare(folder)


def tokenizer(random: Random) -> tokenizers.Tokenizer:
    """Returns a tokeniser of random parts."""
    characters = [chr(i) for i in range(32, 127)] + ["ä", "ab", "Ġ", "▁", "##a"]
    special = random.sample(SPECIALS, random.choice([4, 4, 4, 4, 4, 4, 3]))
    vocabulary = [*special, *random.sample(characters, random.randint(1, len(characters)))]
    ids = {token: i for i, token in enumerate(vocabulary)}
    unk = random.choice(["<unk>", "<unk>", "missing", None])
    kind = random.randrange(4)
    if kind == 0:
        model: Any = models.WordLevel(ids, unk_token=unk or "<unk>")
    elif kind == 1:
        model = models.BPE(ids, [], unk_token=unk, byte_fallback=random.random() < 0.3)
    elif kind == 2:
        model = models.WordPiece(ids, unk_token=unk or "[UNK]", max_input_chars_per_word=random.choice([0, 5, 100]))
    else:
        model = models.Unigram([(token, -float(i)) for token, i in ids.items()], random.choice([0, 3, None]), False)
    made = tokenizers.Tokenizer(model)
    made.normalizer = random.choice([None, None, *NORMALIZERS])
    made.pre_tokenizer = random.choice([None, *CUTS])
    made.decoder = random.choice([None, *DECODERS])
    if random.random() < 0.3:
        made.add_special_tokens(random.sample([*SPECIALS, "[MASK]", "<x>", " "], 2))
    if random.random() < 0.2:
        made.post_processor = processors.ByteLevel()
    if random.random() < 0.2:
        made.enable_padding(length=random.choice([None, 5]))
        made.enable_truncation(3)
    return made


def change(random: Random, data: Any) -> None:
    """Puts another value somewhere into plain data."""
    while True:
        keys = [*data] if isinstance(data, dict) else [*range(len(data))]
        if not keys:
            return
        key = random.choice(keys)
        if not isinstance(data[key], dict | list) or not data[key] or random.random() < 0.2:
            break
        data = data[key]
    if random.random() < 0.2:
        del data[key]
    else:
        value = values.value(random)
        data[key] = value if value == value else None


def case(random: Random, folder: Path) -> list[str]:
    made = json.loads(tokenizer(random).to_str())
    for _ in range(random.choice([0, 0, 1, 1, 2])):
        change(random, made)
    text = json.dumps(made)
    if random.random() < 0.1:
        text = values.spoilt(random, text.encode()).decode("utf-8", "replace")
    shutil.rmtree(folder / "tokenizer", ignore_errors=True)
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text(text, "utf-8")
    if random.random() < 0.2:
        marks: dict[str, Any] = {"pad": 0, "bos": 1, "eos": 2, "unk": 3, "rows": 100}
        change(random, marks)
        (folder / "tokenizer" / "marks.json").write_text(json.dumps(marks), "utf-8")
    line = random.choice(["a b ab", "", "zß 語", "<s> <unk> x", "a" * 500, values.text(random).replace("\x00", "")])
    line = line.encode("utf-8", "replace").decode()
    if random.random() < 0.6:
        return ["tokenizer", "show", "tokenizer", f"x{line}"]
    run = folder / "runs" / random.choice(["dates", "letters"])
    (run / "hashes.json").unlink(missing_ok=True)
    whole = run / "whole.json"
    if not whole.exists():
        shutil.copy(run / "tokenizer" / "tokenizer.json", whole)
    own = json.loads(whole.read_text("utf-8"))
    for _ in range(random.choice([1, 1, 2, 3])):
        change(random, own)
    (run / "tokenizer" / "tokenizer.json").write_text(json.dumps(own) if random.random() < 0.8 else text, "utf-8")
    if run.name == "dates":
        return ["translate", "runs/dates", f"x{line}"] if random.random() < 0.5 else ["evaluate", "runs/dates"]
    return ["generate", "runs/letters", f"x{line}", "--max-new-tokens", "5"]
