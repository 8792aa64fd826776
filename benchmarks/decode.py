"""Decoding speed against `generate` of transformers: MarianMT for translation, GPT-2 for continuing text.

    python benchmarks/decode.py --multi30k DIR

The same shapes with random weights and the same real inputs, greedy and with beam 5, one input at a time and 32
together. The vector of the end-of-sequence token is zero on both sides, so that no search ends early and all make the
same number of tokens. Printed: new tokens/s of the best hypotheses, the median of the ratio of times, peak memory.
"""

import argparse
import itertools
import sys
from collections.abc import Callable

import torch
from common import in_turn, machine, own_peak, peak_memory, ratio

from transduce.config import from_data
from transduce.data.parallel import Parallel
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.text.bpe import Bpe
from transduce.text.tokenizer import Tokenizer

WIDTH, LAYERS, HEADS, HIDDEN, VOCAB = 256, 3, 4, 1024, 8000
Run = Callable[[int], object]


def ours(task: str, inputs: list[list[int]], tokenizer: Tokenizer, beam: int, batch: int, new: int) -> Run:
    data = {
        "width": WIDTH, "layers": LAYERS, "mixer": {"heads": HEADS}, "feedforward": {"kind": "mlp", "hidden": HIDDEN},
        "residual": {"kind": "post-norm" if task == "translate" else "pre-norm"},
        "positions": {"kind": "sinusoidal" if task == "translate" else "learned", "limit": 512},
    }  # fmt: skip
    config = from_data(EncoderDecoderConfig if task == "translate" else DecoderConfig, data)
    model = config.build(tokenizer.vocab_size).eval()
    with torch.no_grad():
        model.head.weight[tokenizer.eos] = 0.0
    how = GenerateConfig(beam_size=beam, max_new_tokens=new, length_penalty=1.0)

    def run(r: int) -> object:
        some = [inputs[(r * batch + i) % len(inputs)] for i in range(batch)]
        found = decode(model, tokenizer, how, **({"source": some} if task == "translate" else {"prompt": some}))
        assert all(len(h[0].ids) == new for h in found)
        return found

    return run


def theirs(task: str, inputs: list[list[int]], tokenizer: Tokenizer, beam: int, batch: int, new: int) -> Run:
    from transformers import GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    if task == "translate":
        model = MarianMTModel(MarianConfig(
            vocab_size=tokenizer.vocab_size, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS,
            encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=HIDDEN,
            decoder_ffn_dim=HIDDEN, activation_function="relu", scale_embedding=True, pad_token_id=tokenizer.pad,
            eos_token_id=tokenizer.eos, forced_eos_token_id=None, decoder_start_token_id=tokenizer.bos,
            max_position_embeddings=512,
        ))  # fmt: skip
    else:
        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=tokenizer.vocab_size, n_positions=512, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
            n_inner=HIDDEN, bos_token_id=tokenizer.bos, eos_token_id=tokenizer.eos, pad_token_id=tokenizer.pad,
        ))  # fmt: skip
    model.eval()
    with torch.no_grad():
        model.get_output_embeddings().weight[tokenizer.eos] = 0.0
    how = {"num_beams": beam, "do_sample": False, "max_new_tokens": new, "length_penalty": 1.0}

    def run(r: int) -> object:
        some = [inputs[(r * batch + i) % len(inputs)] for i in range(batch)]
        if task == "translate":
            some = [[*row, tokenizer.eos] for row in some]
        width = max(map(len, some))
        left = task != "translate"  # a decoder continues at its right end
        fill = [[0] * (width - len(row)) for row in some]
        ids = torch.tensor([f + r if left else r + f for f, r in zip(fill, some, strict=True)])
        mask = torch.tensor([[0] * len(f) + [1] * len(r) if left else [1] * len(r) + [0] * len(f)
                             for f, r in zip(fill, some, strict=True)])  # fmt: skip
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=mask, **how)
        assert out.shape[1] - (width if left else 1) == new, out.shape
        return out

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multi30k", default="../shared/data/multi30k")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=48, help="tokens made per input")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", nargs=4, metavar=("TASK", "BEAM", "BATCH", "WHO"), help="peak memory of one")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    splits = Parallel(path=args.multi30k, source="de", target="en", valid=("val",)).load()
    train, valid = splits["train"], splits["valid"]
    tokenizer = Bpe(vocab_size=VOCAB).train(itertools.chain(train["source"], train["target"]))
    inputs = {
        "translate": tokenizer.encode_batch(valid["source"]),
        "continue": [ids[: max(1, len(ids) // 2)] for ids in tokenizer.encode_batch(valid["target"])],
    }
    makers = {"transduce": ours, "transformers": theirs}
    if args.alone:
        task, beam, batch, who = args.alone
        run = makers[who](task, inputs[task], tokenizer, int(beam), int(batch), args.new)
        run(0)
        run(1)
        print(own_peak())
        return
    print(machine())
    print(f"{'task':<10} {'beam':>4} {'batch':>5} {'ours tok/s':>10} {'theirs tok/s':>12} {'ratio':>6} "
          f"{'ours MiB':>8} {'theirs MiB':>10}")  # fmt: skip
    slower = 0
    for task, beam, batch in itertools.product(inputs, (1, 5), (1, 32)):
        made = {name: make(task, inputs[task], tokenizer, beam, batch, args.new) for name, make in makers.items()}
        times = in_turn(made, args.rounds, warmup=1)
        speed = {name: args.rounds * batch * args.new / sum(t) for name, t in times.items()}
        faster = ratio(times, "transduce", "transformers")
        slower += faster <= 1.0
        memory = [peak_memory(__file__, [*sys.argv[1:], "--alone", task, str(beam), str(batch), who]) for who in makers]
        print(f"{task:<10} {beam:>4} {batch:>5} {speed['transduce']:>10.0f} {speed['transformers']:>12.0f} "
              f"{faster:>5.2f}x {memory[0]:>8.0f} {memory[1]:>10.0f}", flush=True)  # fmt: skip
    print("ahead in every row" if not slower else f"behind in {slower} rows")


if __name__ == "__main__":
    main()
