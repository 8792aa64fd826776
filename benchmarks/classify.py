"""Three bodies on three labelled sets, each trained from scratch by the recipe `classify`: one table with intervals.

    python benchmarks/classify.py FOLDER [SET ...] > table.md

FOLDER holds sms_spam/{train,valid}.tsv, trec/{train,valid}.txt (latin-1 is converted) and sst2/{train,valid}.txt.
Every number is of the validation split, which also chose the best checkpoint.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import transduce as td

BODIES: dict[str, dict[str, Any]] = {
    "Transformer": {},
    "LSTM, both ways": {"model.mixer": "lstm", "model.positions": "none", "model.layers": 1},
    "gated DeltaNet, both ways": {
        "model.mixer": {"kind": "gated-delta", "heads": 4}, "model.positions": "none", "model.layers": 1,
        "train.max_steps": 600,
    },
}  # fmt: skip
SETS: dict[str, dict[str, Any]] = {"sms_spam": {}, "trec": {"task.label_end": ":"}, "sst2": {}}


def utf_8(folder: Path, out: Path) -> Path:
    """The files of a folder, in UTF-8."""
    for file in sorted(folder.glob("*.t*")):
        data = file.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        (out / file.name).write_text(text, "utf-8")
    return out


def main(folder: Path, names: list[str]) -> None:
    print("| data | body | parameters | macro-F1 | accuracy | always the commonest | minutes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        for body, changes in BODIES.items():
            with TemporaryDirectory() as place:
                data, began = Path(place) / "data", time.monotonic()
                data.mkdir()
                utf_8(folder / name, data)
                run = td.train(
                    "classify", {"data.path": str(data), **SETS[name], **changes}, out=Path(place), quiet=True
                )
                minutes = (time.monotonic() - began) / 60
                found = (run.result or {})["valid"]
                model = td.load(run.path)
                parameters = sum(p.numel() for p in model.model.parameters())
                share = max(map(sum, found["confusion"]["counts"])) / found["count"]

            def shown(kind: str, found: dict[str, Any] = found) -> str:
                low, high = found["intervals"][kind]
                return f"{found[kind]:.3f} ({low:.3f} to {high:.3f})"

            cells = (
                name,
                body,
                f"{parameters:,}",
                shown("macro-f1"),
                shown("accuracy"),
                f"{share:.3f}",
                f"{minutes:.1f}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(SETS))
