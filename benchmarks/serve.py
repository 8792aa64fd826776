"""The cost of a token for texts that are written together as they come, beside `generate` of all of them at once.

    python benchmarks/serve.py [--width 768] [--layers 12] [--vocabulary 8000] [--new 48] [--rounds 5]

A decoder with random weights, one thread, CPU seconds, without HTTP. `rows` is what the server steps (each text has the
bits that it has alone), `decode` a batch of the same texts that begin and end together; for 8 texts and for one. Then
the gap between two tokens of 8 texts while a ninth with a long prompt comes in, read in pieces (`--rounds 0`: that
alone).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from common import in_turn, machine, ratio

from transduce.config import from_data
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.rows import Request, Rows
from transduce.model.architecture import DecoderConfig
from transduce.model.models import Model
from transduce.testing.together import Numbers

READ = 16  # tokens of a prompt
ENDLESS = Numbers(eos=-1)  # so that every text is as long as it may be


def built(width: int, layers: int, vocabulary: int) -> Model:
    """A decoder of the shape of GPT-2."""
    data = {
        "width": width, "layers": layers, "mixer": {"kind": "attention", "heads": width // 64},
        "feedforward": {"kind": "mlp", "hidden": 4 * width}, "positions": {"kind": "learned", "limit": 4096},
    }  # fmt: skip
    return from_data(DecoderConfig, data).build(vocabulary).eval()


def prompts(count: int, vocabulary: int, length: int = READ) -> list[list[int]]:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(3, vocabulary, (count, length), generator=generator).tolist()


def through(model: Model, texts: list[list[int]], config: GenerateConfig) -> None:
    """Writes every text to its end, a step of all at a time."""
    rows = Rows(model, ENDLESS, len(texts))
    for ids in texts:
        rows.admit(Request(ids, config, config.max_new_tokens))
    while not rows.idle:
        rows.step()


def gaps(model: Model, vocabulary: int, long: int) -> tuple[float, float, float, int]:
    """Seconds of a usual step of 8 texts; at the median and at most while a prompt of so many tokens is read beside
    them; and in how many steps that is."""
    rows, config = Rows(model, ENDLESS, 9), GenerateConfig(max_new_tokens=long)
    for ids in prompts(8, vocabulary):
        rows.admit(Request(ids, config, config.max_new_tokens))

    def step() -> float:
        start = time.process_time()
        rows.step()
        return time.process_time() - start

    while rows.reading:
        step()
    usual = statistics.median(step() for _ in range(9))
    rows.admit(Request(prompts(1, vocabulary, long)[0], config, 1))
    times = list[float]()
    while rows.reading:
        times.append(step())
    return usual, statistics.median(times), max(times), len(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, usual in (
        ("width", 768),
        ("layers", 12),
        ("vocabulary", 8000),
        ("new", 48),
        ("rounds", 5),
        ("long", 2000),
    ):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    model = built(asked.width, asked.layers, asked.vocabulary)
    config = GenerateConfig(max_new_tokens=asked.new)
    print("| texts | rows, CPU ms a token | decode | rows / decode |\n| ---: | ---: | ---: | ---: |")
    for count in (1, 8) if asked.rounds else ():
        texts = prompts(count, asked.vocabulary)
        ways: dict[str, Callable[[int], object]] = {
            "rows": lambda _, texts=texts: through(model, texts, config),
            "decode": lambda _, texts=texts: decode(model, ENDLESS, config, prompt=texts),
        }
        times = in_turn(ways, asked.rounds, warmup=1, now=time.process_time)
        each = {name: 1e3 * statistics.median(row) / (count * asked.new) for name, row in times.items()}
        print(
            f"| {count} | {each['rows']:.1f} | {each['decode']:.1f} | {1 / ratio(times, 'rows', 'decode'):.2f} |",
            flush=True,
        )
    usual, middle, longest, steps = gaps(model, asked.vocabulary, asked.long)
    print(
        f"a step of 8 texts: {1e3 * usual:.0f} ms; while {asked.long} tokens are read, in {steps} steps: "
        f"{1e3 * middle:.0f} ms, at most {1e3 * longest:.0f} ms"
    )


if __name__ == "__main__":
    main()
