"""A ring of eight modes, drawn by diffusion and by a small GAN: a table of both, seed by seed.

    python benchmarks/ring.py [--seeds 3] [--updates 2500] [--gan]

Diffusion is the recipe `ring`; --gan leaves it out. The GAN (Goodfellow et al. 2014, arXiv:1406.2661) learns from the
same 10,000 points in batches of as many. Generator and discriminator have two hidden layers of 128 GELUs; the generator
maximises log D(G(z)), z eight normal numbers; both learn by Adam at 0.0005 with betas 0.5 and 0.9, and the mean of the
generator's weights draws. Each draws 2,000 points, which are judged by the measures of task=points. One thread; seconds
are those of the processor.
"""

import argparse
import copy
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import transduce as td
from transduce.data.ring import LABEL, POINT, Ring
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.modes import NearModes, RarestMode

NOISE, HIDDEN, BATCH, EMA = 8, 128, 256, 0.99


def stack(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs)
    )


def gan(points: Tensor, updates: int, seed: int) -> nn.Sequential:
    """Returns a generator that has learnt from points (N, 2) of mean 0 and deviation 1."""
    torch.manual_seed(seed)
    maker, judge = stack(NOISE, 2), stack(2, 1)
    mean = copy.deepcopy(maker)
    steps = [torch.optim.Adam(x.parameters(), lr=5e-4, betas=(0.5, 0.9)) for x in (maker, judge)]
    for _ in range(updates):
        real, drawn = points[torch.randint(len(points), (BATCH,))], maker(torch.randn(BATCH, NOISE))
        loss = F.softplus(-judge(real)).mean() + F.softplus(judge(drawn.detach())).mean()
        steps[1].zero_grad()
        loss.backward()
        steps[1].step()
        steps[0].zero_grad()
        F.softplus(-judge(drawn)).mean().backward()
        steps[0].step()
        with torch.no_grad():
            for average, p in zip(mean.parameters(), maker.parameters(), strict=True):
                average.lerp_(p, 1 - EMA)
    return mean


def judged(drawn: Sequence[Any], beside: Any) -> tuple[str, str]:
    rows = zip(drawn, beside[POINT], beside[LABEL], strict=True)
    outcome: Any = Outcome(
        0.0, 1, torch.zeros(1, 2).numpy(), [Sample("", "", "", x, (p, label)) for x, p, label in rows]
    )
    near, rarest = NearModes(), RarestMode()
    share = near.of(outcome, 1000)
    low, high = (near.text(end) for end in (share.low or 0.0, share.high or 0.0))
    return f"{near.text(share.value)} ({low} to {high})", _ends(rarest, outcome)


def _ends(rarest: RarestMode, outcome: Any) -> str:
    measure = rarest.of(outcome)
    return f"{rarest.text(measure.value)} to {measure.note.rpartition('has ')[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=2500)
    parser.add_argument("--gan", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    splits = Ring().load()
    points, valid = torch.tensor(splits["train"][POINT]), splits["valid"]
    mean, deviation = points.mean(0), points.std()
    print(
        "| by | seed | within 0.4 of a mode | rarest to most frequent mode | CPU s |\n| --- | --- | --- | --- | --- |"
    )
    for seed in range(args.seeds):
        if not args.gan:
            with TemporaryDirectory() as place:
                began = time.process_time()
                keys = {"train.seed": seed, "train.max_steps": args.updates, "train.threads": 1, "train.samples": 0}
                run = td.train("ring", {**keys, "train.validate_every": args.updates}, out=place, quiet=True)
                seconds, model = time.process_time() - began, td.load(run.path, device="cpu")
                cells = " | ".join(judged(model.draw(count=len(valid)), valid))
                print(f"| diffusion | {seed} | {cells} | {seconds:.0f} |", flush=True)
        began = time.process_time()
        maker = gan((points - mean) / deviation, args.updates, seed)
        seconds = time.process_time() - began
        with torch.no_grad():
            drawn = maker(torch.randn(len(valid), NOISE)) * deviation + mean
        print(f"| GAN | {seed} | {' | '.join(judged(drawn.tolist(), valid))} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
