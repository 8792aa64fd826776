"""Training speed against torch.nn.Transformer, and MarianMT and GPT-2 of `transformers`.

    python benchmarks/train_step.py --multi30k DIR --shakespeare DIR

Every contestant has the same shapes, dropout in the same places, AdamW (fused), clipping, and gets the same real
batches in turn. The peers are trained the ordinary way: padded batches, attention masks, their own loss over full
logits. A step is forward, backward, clipping, update. Speed is counted in tokens that are not padding. Printed:
tokens/s of both, the median over batches of the ratio of times, peak memory of a process that trains one of them, and
the share of the machine's matrix-product rate (same precision, same run) that our step reaches.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from common import in_turn, machine, matmul_rate, own_peak, peak_memory, ratio
from torch import Tensor, nn

from transduce.config import from_data
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig, Loader
from transduce.data.parallel import Parallel
from transduce.data.readers.reader import Readers
from transduce.data.text import Text
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.objectives.language import NextTokenConfig, TranslationConfig
from transduce.tasks.language import LanguageConfig
from transduce.tasks.translate import TranslateConfig
from transduce.text.bpe import Bpe
from transduce.text.char import Char

WIDTH, LAYERS, HEADS, HIDDEN, VOCAB, DROPOUT = 256, 3, 4, 1024, 8000, 0.1
Step = Callable[[Batch], Tensor]


def batches(task: str, args: argparse.Namespace) -> tuple[list[Batch], int]:
    """Real batches of about 4,096 slots from the first epoch, and the vocabulary size."""
    if task == "characters":
        columns = Text(path=args.shakespeare, unit="file").load()["train"]
        tokenizer, reads = Char().train(columns.given), LanguageConfig(stream=True)
        config = BatchConfig(batch_tokens=4096, max_length=256)
    else:
        pairs = Parallel(path=args.multi30k, source="de", target="en", valid=("val",)).load()["train"]
        tokenizer = Bpe(vocab_size=VOCAB).train(itertools.chain(pairs["source"], pairs["target"]))
        columns = pairs if task == "translation" else Columns({"text": pairs["target"]})
        reads = TranslateConfig() if task == "translation" else LanguageConfig(stream=False)
        config = BatchConfig(batch_tokens=4096, max_length=128)
    loader = Loader(reads.examples(columns, Readers(tokenizer)), config, seed=0)
    return [loader.batch(0, i) for i in range(args.rounds)], tokenizer.vocab_size


def trainer(model: nn.Module, loss: Step, precision: str) -> Step:
    """One update on a batch, the ordinary way."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def step(batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            value = loss(batch)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.detach()

    return step


def ours(task: str, vocab: int, precision: str, everywhere: bool) -> tuple[nn.Module, Step]:
    """everywhere: dropout inside the feed-forward and on the attention weights too, as torch.nn.Transformer has it."""
    inner = DROPOUT if everywhere else 0.0
    data = {
        "width": WIDTH, "layers": LAYERS, "mixer": {"heads": HEADS, "dropout": inner},
        "feedforward": {"kind": "mlp", "hidden": HIDDEN, "activation": "relu" if task == "translation" else "gelu-tanh",
                        "dropout": inner},
        "residual": {"kind": "post-norm" if task == "translation" else "pre-norm", "dropout": DROPOUT},
        "positions": {"kind": "sinusoidal" if task == "translation" else "learned", "limit": 512},
    }  # fmt: skip
    config = from_data(EncoderDecoderConfig if task == "translation" else DecoderConfig, data)
    objective = (TranslationConfig() if task == "translation" else NextTokenConfig()).build()
    model = config.build(vocab)

    def loss(batch: Batch) -> Tensor:
        result = objective(model, batch)
        return result.total / result.count

    return model, trainer(model, loss, precision)


def torch_transformer(vocab: int, precision: str) -> tuple[nn.Module, Step]:
    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.drop = nn.Embedding(vocab, WIDTH), nn.Dropout(DROPOUT)
            self.body = nn.Transformer(WIDTH, HEADS, LAYERS, LAYERS, HIDDEN, DROPOUT, batch_first=True)
            self.register_buffer("places", torch.randn(512, WIDTH))

        def forward(self, source: Tensor, inputs: Tensor, pad: Tensor) -> Tensor:
            x, y = (self.drop(self.embed(ids) * WIDTH**0.5 + self.places[: ids.shape[1]]) for ids in (source, inputs))
            mask = nn.Transformer.generate_square_subsequent_mask(inputs.shape[1], dtype=torch.bool)
            pads = {"src_key_padding_mask": pad, "memory_key_padding_mask": pad}
            hidden = self.body(x, y, tgt_mask=mask, tgt_is_causal=True, **pads)
            return F.linear(hidden, self.embed.weight)

    model = Translator()

    def loss(batch: Batch) -> Tensor:
        assert batch.source is not None
        assert batch.source_layout is not None
        logits = model(batch.source, batch.inputs, ~batch.source_layout.valid)
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-1, label_smoothing=0.1)

    return model, trainer(model, loss, precision)


def marian(vocab: int, precision: str) -> tuple[nn.Module, Step]:
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=vocab, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=HIDDEN, decoder_ffn_dim=HIDDEN, activation_function="relu",
        dropout=DROPOUT, attention_dropout=0.0, activation_dropout=0.0, scale_embedding=True, pad_token_id=0,
        eos_token_id=2, decoder_start_token_id=1, max_position_embeddings=512,
    )  # fmt: skip
    model = MarianMTModel(config)

    def loss(batch: Batch) -> Tensor:
        assert batch.source_layout is not None
        labels = torch.where(batch.targets >= 0, batch.targets, -100)
        return model(
            input_ids=batch.source, attention_mask=batch.source_layout.valid.long(), decoder_input_ids=batch.inputs,
            decoder_attention_mask=batch.layout.valid.long(), labels=labels, use_cache=False,
        ).loss  # fmt: skip

    return model, trainer(model, loss, precision)


def gpt2(vocab: int, precision: str) -> tuple[nn.Module, Step]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocab, n_positions=512, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=HIDDEN,
        resid_pdrop=DROPOUT, embd_pdrop=DROPOUT, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)

    def loss(batch: Batch) -> Tensor:
        mask = None if not batch.layout.padded else batch.layout.valid.long()
        whole = torch.cat([batch.inputs, batch.targets[:, -1:].clamp(min=0)], 1)
        labels = torch.cat([torch.full_like(batch.targets[:, :1], -100), batch.targets], 1)
        labels = torch.where(labels >= 0, labels, -100)  # the model shifts them by one itself
        if mask is not None:
            mask = torch.cat([mask, torch.zeros_like(mask[:, :1])], 1)
        return model(input_ids=whole, attention_mask=mask, labels=labels, use_cache=False).loss

    return model, trainer(model, loss, precision)


def flops(model: nn.Module, batch: Batch, task: str) -> float:
    """Of a training step: 6 per parameter and token that uses it. Attention's products of activations are left out."""
    here = int(batch.layout.valid.sum())
    names = [(n, p.numel()) for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    table = VOCAB * WIDTH if task != "characters" else 0
    if task != "translation":
        return 6.0 * here * (sum(n for _, n in names) + table)
    assert batch.source_layout is not None
    there = int(batch.source_layout.valid.sum())
    encoder = sum(n for name, n in names if name.startswith("encoder"))
    cross = sum(n for name, n in names if "cross.k" in name or "cross.v" in name)
    decoder = sum(n for name, n in names if name.startswith("decoder")) - cross
    return 6.0 * (there * (encoder + cross) + here * (decoder + table))


def make(who: str, task: str, vocab: int, precision: str, peer: str) -> tuple[nn.Module, Step]:
    if who == "transduce":
        return ours(task, vocab, precision, everywhere=peer == "torch.nn.Transformer")
    return {"torch.nn.Transformer": torch_transformer, "MarianMT": marian, "GPT-2": gpt2}[who](vocab, precision)


ROWS = [
    ("translation", "torch.nn.Transformer"),
    ("translation", "MarianMT"),
    ("sentences", "GPT-2"),
    ("characters", "GPT-2"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multi30k", type=Path, default="../shared/data/multi30k")
    parser.add_argument("--shakespeare", type=Path, default="../shared/data/tinyshakespeare")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", nargs=4, metavar=("TASK", "PEER", "PRECISION", "WHO"), help="peak memory of one")
    args = parser.parse_args()
    args.multi30k, args.shakespeare = str(args.multi30k), str(args.shakespeare)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.alone:
        task, peer, precision, who = args.alone
        data, vocab = batches(task, args)
        step = make(who, task, vocab, precision, peer)[1]
        for batch in data[:3]:
            step(batch)
        print(own_peak())
        return
    print(machine())
    print(f"{'task':<12} {'peer':<21} {'precision':<9} {'ours tok/s':>10} {'peer tok/s':>10} {'ratio':>6} "
          f"{'ours MiB':>8} {'peer MiB':>8} {'of matmul rate':>14}")  # fmt: skip
    slower = 0
    for task, peer in ROWS:
        data, vocab = batches(task, args)
        for precision in ("fp32", "bf16"):
            made = {who: make(who, task, vocab, precision, peer) for who in ("transduce", peer)}
            runs = {n: (lambda r, s=step, d=data: s(d[r % len(d)])) for n, (_, step) in made.items()}
            times = in_turn(runs, args.rounds)
            speed = {n: sum(b.tokens for b in data) / sum(t) for n, t in times.items()}
            rate = matmul_rate(torch.bfloat16 if precision == "bf16" else torch.float32)
            work = [flops(made["transduce"][0], b, task) for b in data]
            share = statistics.median(w / t for w, t in zip(work, times["transduce"], strict=True)) / rate
            memory = [
                peak_memory(__file__, [*sys.argv[1:], "--alone", task, peer, precision, who]) for who in made
            ]  # fmt: skip
            faster = ratio(times, "transduce", peer)
            slower += faster <= 1.0
            print(f"{task:<12} {peer:<21} {precision:<9} {speed['transduce']:>10.0f} {speed[peer]:>10.0f} "
                  f"{faster:>5.2f}x {memory[0]:>8.0f} {memory[1]:>8.0f} {share:>13.0%}", flush=True)  # fmt: skip
    print("ahead in every row" if not slower else f"behind in {slower} rows")


if __name__ == "__main__":
    main()
