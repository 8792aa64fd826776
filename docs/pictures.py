"""Make the pictures of the README from a finished run of the default recipe.

python docs/pictures.py runs/dates
"""

import shutil
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

import transduce as td
from transduce.inspect.attention import cross_attention

HERE = Path(__file__).parent / "pictures"


def main(run: Path, text: str = "Donnerstag, 20. November 2026") -> None:
    HERE.mkdir(exist_ok=True)
    shutil.copy(run / "plots" / "loss.png", HERE / "loss.png")
    model = td.load(run)
    [answer] = model.translate([text])
    tokenizer = model.tokenizer
    source = [*tokenizer.encode(text), tokenizer.eos]
    inputs = [tokenizer.bos, *tokenizer.encode(answer)]
    weights = torch.stack(cross_attention(model.model, source, inputs)).mean((0, 1))  # over layers and heads
    figure, axes = plt.subplots(figsize=(9, 4))
    axes.imshow(weights, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(source)), [*text, "</s>"])
    axes.set_yticks(range(len(inputs)), [*answer, "</s>"])
    axes.set_xlabel("read")
    axes.set_ylabel("written")
    axes.set_title("Cross attention of the default run, mean over layers and heads")
    figure.tight_layout()
    figure.savefig(HERE / "attention.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/dates"))
