"""Recurrent networks against torch.nn.LSTM, GRU and RNN: one layer of the same weights.

    python benchmarks/recurrent.py

Forward without gradients, and forward and backward, in float32 and under autocast to bfloat16 (x already in bfloat16 on
both sides). There our LSTM holds its cell in float32, which torch.nn.LSTM does not. Padded: a quarter of the slots is
padding and the last states are wanted; torch packs such rows. Printed: the least milliseconds of both, the median over
rounds of the ratio of times.
"""

import argparse
from collections.abc import Callable

import torch
from common import in_turn, machine, ratio
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from transduce.model.layout import dense, right_padded
from transduce.model.mixers.elman import ElmanConfig
from transduce.model.mixers.gru import GRUConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.recurrent import Recurrent
from transduce.model.positions.position import Positions

PAIRS = {"LSTM": (LSTMConfig(), nn.LSTM), "GRU": (GRUConfig(), nn.GRU), "RNN": (ElmanConfig(), nn.RNN)}


def pair(name: str, width: int) -> tuple[Recurrent, nn.RNNBase]:
    config, peer = PAIRS[name]
    ours, theirs = config.build(width, Positions()), peer(width, width, batch_first=True)
    assert isinstance(ours, Recurrent)
    with torch.no_grad():
        ours.input.weight.copy_(theirs.weight_ih_l0)
        ours.hidden.weight.copy_(theirs.weight_hh_l0)
    return ours, theirs


def contest(
    name: str, shape: tuple[int, int, int], lower: bool, train: bool, padded: bool, rounds: int
) -> dict[str, list[float]]:
    """Seconds of both in each round."""
    rows, tokens, width = shape
    ours, theirs = pair(name, width)
    x = torch.randn(shape, dtype=torch.bfloat16 if lower else torch.float32)
    lengths = torch.linspace(tokens // 2, tokens, rows).long()
    grid = right_padded(lengths, tokens) if padded else dense(rows, tokens)

    def mine() -> Tensor:
        if not padded:
            return ours(x, grid)[0]
        empty = ours.init_state(rows, tokens, device=x.device, dtype=torch.float32)
        y, state = ours(x, grid, empty)
        return y[:, :1] + state.h[:, None]

    def torchs() -> Tensor:
        if not padded:
            return theirs(x)[0]
        packed, last = theirs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        y, _ = pad_packed_sequence(packed, batch_first=True)
        return y[:, :1] + (last[0] if isinstance(last, tuple) else last)[0][:, None]

    def run(forward: Callable[[], Tensor]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=lower), torch.set_grad_enabled(train):
            y = forward()
        if train:
            y.sum().backward()
            ours.zero_grad(set_to_none=True)
            theirs.zero_grad(set_to_none=True)

    return in_turn({"transduce": lambda r: run(mine), "torch": lambda r: run(torchs)}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="*", default=["64x32x256", "16x128x256", "32x64x512"], help="BxTxM")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(machine())
    names = ("network", "B x T x M", "rows", "pass", "precision", "ours ms", "torch ms", "ratio")
    print("{:<8} {:<11} {:<7} {:<8} {:<9} {:>8} {:>8} {:>6}".format(*names))
    worst = float("inf")
    for name in PAIRS:
        for text in args.shapes:
            rows, tokens, width = map(int, text.split("x"))
            for padded in (False, True):
                for train in (False, True):
                    for lower in (False, True):
                        times = contest(name, (rows, tokens, width), lower, train, padded, args.rounds)
                        speed = ratio(times, "transduce", "torch")
                        worst = min(worst, speed)
                        best = [1000 * min(times[who]) for who in ("transduce", "torch")]
                        print(f"{name:<8} {text:<11} {'padded' if padded else 'dense':<7} "
                              f"{'training' if train else 'forward':<8} {'bf16' if lower else 'fp32':<9} "
                              f"{best[0]:>8.2f} {best[1]:>8.2f} {speed:>5.2f}x", flush=True)  # fmt: skip
    print(f"slowest row: {worst:.2f} times as fast as torch")


if __name__ == "__main__":
    main()
