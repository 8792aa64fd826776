"""Tables of the Free Spoken Digit Dataset, for `transduce train hear`, and connected digits, for `transcribe`.

    python benchmarks/spoken_digits.py FSDD OUT [--without SPEAKER]

FSDD: a folder with train/ and valid/ of DIGIT_SPEAKER_TAKE.wav, or with the recordings/ of the data set itself, whose
takes 0 to 4 are then the test split, 5 to 7 valid and the others train, nearly as published. OUT/digits gets a table of
sounds and labels for each split. OUT/connected gets sounds of 2 to 5 digits of one speaker, joined, and what they say.

--without: OUT/digits has this speaker in valid alone, and all others in train.
"""

import argparse
import csv
import random
import wave
from collections import defaultdict
from pathlib import Path

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COUNTS = {"train": 1500, "valid": 200}  # connected digits of each split
Clip = tuple[str, str, Path]  # digit, speaker, file


def clips(folder: Path) -> dict[str, list[Clip]]:
    out = defaultdict[str, list[Clip]](list)
    for path in sorted(folder.glob("*/*.wav")):
        digit, speaker, take = path.stem.split("_")
        split = path.parent.name
        if split == "recordings":
            split = "test" if int(take) < 5 else "valid" if int(take) < 8 else "train"
        out[split].append((digit, speaker, path.resolve()))
    return out


def table(path: Path, names: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])


def joined(some: list[Clip], path: Path) -> str:
    with wave.open(str(path), "wb") as out:
        for number, (_, _, clip) in enumerate(some):
            with wave.open(str(clip)) as sound:
                if not number:
                    out.setparams(sound.getparams())
                out.writeframes(sound.readframes(sound.getnframes()))
    return " ".join(WORDS[int(digit)] for digit, _, _ in some)


def connected(some: list[Clip], folder: Path, count: int, draw: random.Random) -> list[tuple[str, str]]:
    by_speaker = defaultdict[str, list[Clip]](list)
    for clip in some:
        by_speaker[clip[1]].append(clip)
    folder.mkdir(parents=True, exist_ok=True)
    rows = list[tuple[str, str]]()
    for number in range(count):
        own = by_speaker[draw.choice(sorted(by_speaker))]
        path = folder / f"{number:04}.wav"
        rows.append((f"{folder.name}/{path.name}", joined(draw.choices(own, k=draw.randint(2, 5)), path)))
    return rows


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("source", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--without")
    options = words.parse_args()
    splits, draw = clips(options.source), random.Random(0)
    if options.without:
        every = [clip for name in ("train", "valid") for clip in splits[name]]
        own = {
            "train": [c for c in every if c[1] != options.without],
            "valid": [c for c in every if c[1] == options.without],
        }
        for split, some in own.items():
            table(options.out / "digits" / f"{split}.csv", ("sound", "label"), [(str(p), d) for d, _, p in some])
        return
    for split, some in splits.items():
        table(options.out / "digits" / f"{split}.csv", ("sound", "label"), [(str(p), d) for d, _, p in some])
        folder = options.out / "connected"
        rows = connected(some, folder / split, COUNTS.get(split, 200), draw)
        table(folder / f"{split}.csv", ("sound", "text"), rows)


if __name__ == "__main__":
    main()
