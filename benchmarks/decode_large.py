"""Decoding at the shapes people use, against `generate` of transformers and CTranslate2 (each left out where absent).

    python benchmarks/decode_large.py                         # all rows
    python benchmarks/decode_large.py --rows gpt2-1 --rounds 3

All models have random weights. GPT-2 124M and MarianMT are made once by transformers and imported by ours and by
CTranslate2, so that all multiply the same matrices; the vector of the end of a sequence is zero, so none ends early.
Contestants take turns; times are seconds of the processor, one thread. Printed: new tokens/s by the median, and beside
ours the median of the ratio to the fastest peer that computes in as many bits, or in more.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import in_turn, machine

import transduce as td
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.packed import give_up
from transduce.model.models import Model
from transduce.precision.convert import convert

Run = Callable[[int], object]
BOS, EOS = 3, 2  # in MarianMT the end is 0, and the last id is padding and the start


class Row(NamedTuple):
    """model: which is made. prompt, new: tokens read and written. ours, peers: precisions."""

    model: str
    batch: int
    beam: int
    prompt: int
    new: int
    ours: tuple[str, ...]
    peers: tuple[str, ...]


FLOATS, ALL = ("fp32", "bf16"), ("fp32", "bf16", "int8", "int4")
HF, BOTH = ("hf fp32",), ("hf fp32", "hf bf16", "ct2 fp32", "ct2 int8")
ROWS = {
    "gpt2-1": Row("gpt2", 1, 1, 8, 24, ALL, BOTH),
    "gpt2-16": Row("gpt2", 16, 1, 8, 6, ALL, BOTH),
    "prefill": Row("gpt2", 1, 1, 128, 1, ("fp32", "bf16", "int8"), BOTH),
    **{f"prefix-{n}": Row("6x384", 1, 1, n, 64, ("fp32",), HF) for n in (128, 512, 1024, 2048, 4096)},
    "opus-1": Row("opus", 1, 5, 24, 24, ("fp32", "bf16", "int8"), BOTH),
    "opus-32": Row("opus", 32, 5, 24, 6, ("fp32", "bf16", "int8"), BOTH),
}  # fmt: skip


class Ids:
    """A vocabulary of ids alone."""

    def __init__(self, model: str) -> None:
        self.bos, self.eos = (58100, 0) if model == "opus" else (BOS, EOS)

    def decode(self, ids: list[int], /) -> str:
        return ""


def transformers_model(name: str) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel

    torch.manual_seed(0)
    ends = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": 0}
    if name == "opus":
        model = MarianMTModel(MarianConfig(
            vocab_size=58101, d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
            decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, activation_function="swish",
            scale_embedding=True, max_position_embeddings=512, forced_eos_token_id=None, bos_token_id=0, eos_token_id=0,
            pad_token_id=58100, decoder_start_token_id=58100,
        ))  # fmt: skip
    else:
        shape = {"n_embd": 384, "n_layer": 6, "n_head": 6, "vocab_size": 65, "n_positions": 8192}
        model = GPT2LMHeadModel(GPT2Config(**ends, **({} if name == "gpt2" else shape)))
    with torch.no_grad():
        model.get_output_embeddings().weight[0 if name == "opus" else EOS] = 0.0  # its logit is never the greatest
    return model.eval()


def save(model: Any, folder: Path) -> None:
    """Writes a Hugging Face folder, with a tokeniser of as many words as the model has ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = {0: "<pad>", 1: "<unk>", EOS: "</s>", BOS: "<s>"}
    if model.config.model_type == "marian":
        words = {0: "</s>", 1: "<unk>", 58100: "<pad>"}
    vocab = {words.get(i, f"w{i}"): i for i in range(model.config.vocab_size)}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    model.save_pretrained(folder)
    start = {"bos_token": "<s>"} if "<s>" in vocab else {}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", **start
    ).save_pretrained(folder)


def prompts(row: Row, r: int) -> list[list[int]]:
    """The inputs of round r: ids from 4 on."""
    draw = torch.Generator().manual_seed(r)
    most = {"6x384": 65}.get(row.model, 50000)
    return torch.randint(4, most, (row.batch, row.prompt), generator=draw).tolist()


def ours(row: Row, kind: str, model: Model) -> Run:
    if kind == "fp32":
        give_up(model)
    else:
        convert(model, kind)
    config = GenerateConfig(beam_size=row.beam, max_new_tokens=row.new, length_penalty=1.0)

    def run(r: int) -> object:
        given = {"source" if row.model == "opus" else "prompt": prompts(row, r)}
        rows = decode(model, Ids(row.model), config, **given)
        assert all(len(found[0].ids) == row.new for found in rows)
        return rows

    return run


def hugging_face(row: Row, kind: str, model: Any) -> Run:
    model = model.to(torch.bfloat16 if kind == "bf16" else torch.float32)
    how = {
        "num_beams": row.beam, "do_sample": False, "min_new_tokens": row.new, "max_new_tokens": row.new,
        "length_penalty": 1.0, "suppress_tokens": None,
    }  # fmt: skip

    def run(r: int) -> object:
        ids = torch.tensor(prompts(row, r))
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how)
        assert out.shape[1] == row.new + (1 if row.model == "opus" else row.prompt)
        return out

    return run


def ctranslate2(row: Row, kind: str, folder: Path) -> Run:
    import ctranslate2

    there = folder / "ct2"
    if not there.exists():
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(there))
    make = ctranslate2.Translator if row.model == "opus" else ctranslate2.Generator
    compute = {"fp32": "float32", "int8": "int8", "bf16": "bfloat16"}[kind]
    engine = make(str(there), device="cpu", compute_type=compute, intra_threads=1, inter_threads=1)
    how = {"beam_size": row.beam, "max_batch_size": 0}

    def run(r: int) -> object:
        words = [[f"w{i}" for i in ids] for ids in prompts(row, r)]
        if row.model == "opus":
            out = engine.translate_batch(
                words, min_decoding_length=row.new, max_decoding_length=row.new, length_penalty=1.0, **how
            )
            made = [one.hypotheses[0] for one in out]
        else:
            out = engine.generate_batch(
                words, min_length=row.new, max_length=row.new, include_prompt_in_result=False, **how
            )
            made = [one.sequences_ids[0] for one in out]
        assert all(len(one) == row.new for one in made), [len(one) for one in made]
        return out

    return run


def streaming() -> float:
    """Bytes/s at which one thread reads float32 numbers from memory."""
    numbers = torch.randn(1 << 26)
    times: list[float] = []
    for _ in range(5):
        start = time.process_time()
        numbers.sum()
        times.append(time.process_time() - start)
    return numbers.numel() * 4 / min(times)


def contestants(row: Row, folder: Path) -> dict[str, Run]:
    from transformers.utils import logging

    logging.set_verbosity_error()
    model = transformers_model(row.model)
    here = folder / row.model
    if not here.exists():
        save(model, here)
    made: dict[str, Run] = {kind: ours(row, kind, td.load(here, device="cpu").model) for kind in row.ours}
    for peer in row.peers:
        who, kind = peer.split()
        try:
            made[peer] = (
                hugging_face(row, kind, transformers_model(row.model)) if who == "hf" else ctranslate2(row, kind, here)
            )
        except ImportError as error:
            print(f"{peer} is left out: {error}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(f"streams {streaming() / 1e9:.1f} GB/s")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.rows:
            row = ROWS[name]
            times = in_turn(contestants(row, Path(folder)), args.rounds, warmup=1, now=time.process_time)
            rates = {who: row.batch * row.new / statistics.median(t) for who, t in times.items()}
            print(f"\n{name}: {row.model}, batch {row.batch}, beam {row.beam}, {row.prompt} read, {row.new} written")
            for who in times:
                best = max(rivals(who, times), key=rates.__getitem__, default=None)
                beside = ""
                if best is not None:
                    of = statistics.median(b / a for a, b in zip(times[who], times[best], strict=True))
                    beside = f"  {of:.2f}x of {best}"
                read = "" if name != "prefill" else f" ({row.prompt / statistics.median(times[who]):.0f} read)"
                print(f"  {who:<9} {rates[who]:>8.1f} tok/s{read}{beside}", flush=True)


def rivals(who: str, names: Iterable[str]) -> list[str]:
    """The peers that one of ours is compared with: of the same width of numbers, or a greater one."""
    widths = ["fp32", "bf16", "int8", "int4"]
    if " " in who:
        return []
    return [name for name in names if " " in name and widths.index(name.split()[1]) <= widths.index(who)]


if __name__ == "__main__":
    main()
