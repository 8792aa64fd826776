"""Makes pictures of 3 to 6 handwritten digits in a row, with what they say: for `transduce train caption`.

    python benchmarks/digit_strips.py MNIST OUT [--alone]

MNIST: a folder with idx files of training and validation. OUT: gets train/ and valid/, in which NAME.txt lies beside
NAME.png. Digits of one split never stand in the other. The same arguments give the same bytes. --alone: every digit of
the two splits once, with a caption in words ("a handwritten three"), for `transduce train match`: what it says of
captions, among which ten differ, is how often the right digit of ten is told.
"""

import argparse
import random
from pathlib import Path

import numpy as np
from PIL import Image

from transduce.data.images import Images
from transduce.data.readers.pictures import Pictures

SIDE, MOST = 28, 6
COUNTS = {"train": 8000, "valid": 300}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    splits, draw = Images(path=str(given.mnist)).load(), random.Random(0)
    for split, count in COUNTS.items():
        pixels = Pictures(height=SIDE, width=SIDE, channels=1).pixels(splits[split]["image"], "image")[:, 0]
        labels = list(splits[split]["label"])
        folder = given.out / split
        folder.mkdir(parents=True, exist_ok=True)
        if given.alone:
            for number, (digit, label) in enumerate(zip(pixels, labels, strict=True)):
                Image.fromarray(digit).save(folder / f"{number:05}.png")
                (folder / f"{number:05}.txt").write_text(f"a handwritten {WORDS[int(label)]}\n")
            continue
        for number in range(count):
            rows = [draw.randrange(len(labels)) for _ in range(draw.randint(3, MOST))]
            strip = np.zeros((SIDE, SIDE * MOST), dtype=np.uint8)
            for place, row in enumerate(rows):
                strip[:, SIDE * place : SIDE * (place + 1)] = pixels[row]
            Image.fromarray(strip).save(folder / f"{number:05}.png")
            (folder / f"{number:05}.txt").write_text(" ".join(str(labels[row]) for row in rows) + "\n")


if __name__ == "__main__":
    main()
