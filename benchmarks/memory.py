"""The memory of trainings as `transduce plan` tells it beforehand, beside the most that the process then held.

    python benchmarks/memory.py [--data FOLDER] [--steps 300] [--only dates,...]

Of each recipe: `transduce plan --no-probe --json`, then `transduce train` for so many updates, each in a process of its
own on one thread; the resident memory is that of the operating system, libraries and data included. FOLDER holds
multi30k, tinyshakespeare, wikitext-2 and sst2; without it `dates` alone is measured.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

RECIPES: dict[str, tuple[str, list[str]]] = {
    "dates": ("", ["dates"]),
    "multi30k": ("multi30k", ["multi30k"]),
    "shakespeare": ("tinyshakespeare", ["shakespeare"]),
    "text, LSTM": ("wikitext-2", ["text", "data.unit=file", "model.mixer=lstm", "model.positions=none"]),
    "classify": ("sst2", ["classify"]),
    "classify, adapters": ("sst2", ["classify", "tune=lora"]),
}
CHILD = """
import resource, sys
from transduce.cli.main import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024), file=sys.stderr)
sys.exit(code)
"""


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own; its last line on stderr is the most memory that it held."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, *words]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=True)


def row(name: str, data: Path | None, steps: int) -> str:
    where, words = RECIPES[name]
    words = [*words, *([f"data.path={data / where}"] if where and data else []), f"train.max_steps={steps}"]
    words += ["schedule.warmup_steps=1", "train.validate_every=1000000", "train.save_every=1000000", "train.samples=2"]
    with TemporaryDirectory() as place:
        planned = json.loads(run(["plan", *words, "--no-probe", "--json"], Path(place)).stdout)
        said = sum(planned[part] for part in ("resident", "optimizer", "average", "update"))
        held = int(run(["train", *words, "--quiet"], Path(place)).stderr.split()[-1])
    return f"| {name} | {said / 2**20:,.0f} | {held / 2**20:,.0f} | {said / held:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="the folder of data sets")
    parser.add_argument("--steps", type=int, default=300, help="updates of each training")
    parser.add_argument("--only", default="", help="names of rows, with commas")
    asked = parser.parse_args()
    names = (
        asked.only.split(",")
        if asked.only
        else [name for name, (where, _) in RECIPES.items() if not where or asked.data]
    )
    print("| recipe | plan, MiB | held, MiB | plan / held |\n| --- | --- | --- | --- |")
    for name in names:
        print(row(name, asked.data and asked.data.resolve(), asked.steps), flush=True)


if __name__ == "__main__":
    main()
