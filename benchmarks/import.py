"""Opening a sharded LLaMA of random weights: seconds and peak memory of a process that does it, ours and transformers'.

Peak memory is measured twice. `all` is the resident memory of the process as the system counts it, in which pages of
files that are merely mapped count too, though they are given up where memory is short; `own` is the largest amount of
memory that belongs to the process alone (anonymous pages), looked at every millisecond. Of both, what the process held
before it began, libraries above all, is taken off.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

SHARDS = 5


def make(folder: Path, gigabytes: float, dtype: str) -> int:
    """Write shards of a LLaMA of about so many gigabytes; returns the bytes of its weights."""
    import torch
    from safetensors.torch import save_file

    width, hidden, rows = 1024, 2816, 32000
    size = {"float32": 4, "bfloat16": 2}[dtype]
    layer = 4 * width * width + 3 * width * hidden + 2 * width
    layers = max(1, round((gigabytes * 2**30 / size - 2 * rows * width) / layer))
    shapes = {
        "model.embed_tokens.weight": (rows, width),
        "lm_head.weight": (rows, width),
        "model.norm.weight": (width,),
    }
    for i in range(layers):
        own = f"model.layers.{i}"
        shapes |= {f"{own}.self_attn.{x}_proj.weight": (width, width) for x in "qkvo"}
        shapes |= {f"{own}.mlp.{x}_proj.weight": (hidden, width) for x in ("gate", "up")}
        shapes |= {f"{own}.mlp.down_proj.weight": (width, hidden)}
        shapes |= {f"{own}.{x}_layernorm.weight": (width,) for x in ("input", "post_attention")}
    names, where, total = list(shapes), dict[str, str](), 0
    per = -(-len(names) // SHARDS)
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        tensors = {n: torch.randn(shapes[n]).to(getattr(torch, dtype)) for n in names[shard * per : (shard + 1) * per]}
        save_file(tensors, folder / file, {"format": "pt"})
        where |= dict.fromkeys(tensors, file)
        total += sum(x.numel() * x.element_size() for x in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows, "hidden_size": width,
        "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 16, "dtype": dtype,
        "tie_word_embeddings": False, "max_position_embeddings": 2048,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return total


def status(key: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


class Watch(threading.Thread):
    """The greatest anonymous memory from start to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.001):
            self.peak = max(self.peak, status("RssAnon"))


def child(who: str, folder: Path) -> None:
    """Open the folder, and print seconds and peaks in bytes."""
    import torch

    if who == "ours":
        from transduce.exchange import checkpoint

        checkpoint.families()
        opened = lambda: checkpoint.read(folder, None).model  # noqa: E731
    else:
        from transformers import LlamaForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        opened = lambda: LlamaForCausalLM.from_pretrained(folder, dtype="auto")  # noqa: E731
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the system counts from here
    own, whole, watch = status("RssAnon"), status("VmRSS"), Watch()
    watch.start()
    start = time.perf_counter()
    model = opened()
    seconds = time.perf_counter() - start
    watch.over.set()
    watch.join()
    with torch.no_grad():  # touch every weight, so that nothing has merely been promised
        begun = time.perf_counter()
        total = sum(float(p.sum()) for p in model.parameters())
        touched = time.perf_counter() - begun
    peaks = {"own": watch.peak - own, "all": status("VmHWM") - whole, "own_touched": status("RssAnon") - own}
    print(json.dumps({"seconds": seconds, "touched": touched, "sum": total, **peaks}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("WHO", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        weights = make(Path(name), options.gigabytes, options.dtype)
        shard = max(path.stat().st_size for path in Path(name).glob("*.safetensors"))
        found: dict[str, list[dict[str, float]]] = {"ours": [], "transformers": []}
        for round_ in range(options.rounds + 1):  # the first reads the files from the disk, and is not counted
            for who in (list(found), list(found)[::-1])[round_ % 2]:
                out = subprocess.run(
                    [sys.executable, __file__, "--child", who, name], check=True, capture_output=True, text=True
                ).stdout
                if round_:
                    found[who].append(json.loads(out.splitlines()[-1]))
    print(
        f"weights {weights / 2**20:,.0f} MiB in {SHARDS} shards, the largest {shard / 2**20:,.0f} MiB, {options.dtype}"
    )
    print("| who | seconds | and to touch all | peak own MiB | peak all MiB | own after touching MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for who, rows in found.items():
        a, b, c, d, e = (
            median(row[key] for row in rows) for key in ("seconds", "touched", "own", "all", "own_touched")
        )
        print(f"| {who} | {a:.2f} | {b:.2f} | {c / 2**20:,.0f} | {d / 2**20:,.0f} | {e / 2**20:,.0f} |")
    most = max(row["all"] for row in found["ours"])
    ratio = median(t["seconds"] / o["seconds"] for o, t in zip(*found.values(), strict=True))
    print(f"ours is {ratio:.2f} times as fast; its peak is {most / weights:.2f} times the weights")


if __name__ == "__main__":
    main()
