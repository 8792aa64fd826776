"""Adapters as PEFT keeps them: PEFT computes with them what the model with adapters, and the merged one, compute."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce import api
from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.exchange import checkpoint, peft_adapter
from transduce.model.layout import dense
from transduce.testing.families import ROWS, TOKENS, arguments, ids, logits_of, predicted, saved
from transduce.text.byte import Byte
from transduce.tune.adapters import adapters
from transduce.tune.tuning import TuneConfig, merge

SIZES = {"vocab_size": 61, "tie_word_embeddings": True}
LLAMA = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
MARIAN = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "decoder_start_token_id": 1, "max_position_embeddings": 64,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 4}),  # one map, transposed
    "neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {**LLAMA, "tie_word_embeddings": False}),  # one map, by head
    "llama": ("LlamaConfig", "LlamaForCausalLM", {**LLAMA, "num_key_value_heads": 2}),
    "marian": ("MarianConfig", "MarianMTModel", MARIAN),
    "t5": ("T5Config", "T5ForConditionalGeneration", {"d_model": 32, "d_kv": 8, "num_layers": 2, "num_heads": 4,
                                                      "d_ff": 40, "decoder_start_token_id": 1}),
    "bert": ("BertConfig", "BertForMaskedLM", LLAMA),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
@pytest.mark.parametrize("targets", [None, ["*"]], ids=["queries-and-values", "all"])
@pytest.mark.parametrize("way", ["lora", "dora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_computes_the_same(family: str, way: str, targets: list[str] | None, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config, architecture, options = FAMILIES[family]
    theirs = saved(config, architecture, {**SIZES, **options}, tmp_path / "base")
    found = checkpoint.read(tmp_path / "base")
    data = {"rank": 3, "alpha": 5.0, **({} if targets is None else {"targets": targets})}
    generator = torch.Generator().manual_seed(4)
    tuning = from_data(kinds(TuneConfig.folder)[way], data)
    assert isinstance(tuning, TuneConfig)
    tuning.adapt(found.model, generator)
    with torch.no_grad():
        for adapter in adapters(found.model):
            for p in adapter.parameters():
                p.add_(0.2 * torch.randn(p.shape, generator=generator))
    peft_adapter.write(found.model, found.config, found.vocab_size, str(tmp_path / "base"), tmp_path / "adapter")
    batch = found.model.given(ids(theirs), dense(ROWS, TOKENS), ids(theirs, ROWS, 11, seed=2), dense(ROWS, 11))
    before = logits_of(theirs(**arguments(batch)))
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = logits_of(adapted(**arguments(batch)))
        ours = predicted(found.model, found.model.features(batch))
        merged = deepcopy(found.model)
        merge(merged)
        assert torch.equal(predicted(merged, merged.features(batch)), ours)
    assert before is not None
    assert expected is not None
    assert (expected - before).abs().max() > 1e-3, "the adapter changes something"
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
def test_a_run_that_was_tuned_is_written_for_its_base(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import GPT2LMHeadModel

    theirs = saved(
        "GPT2Config", "GPT2LMHeadModel", {**SIZES, **FAMILIES["gpt2"][2], "vocab_size": 259}, tmp_path / "base"
    )
    Byte().train([]).save(tmp_path / "tokenizer")
    (tmp_path / "tokenizer/tokenizer.json").rename(tmp_path / "base/tokenizer.json")
    (tmp_path / "text.txt").write_text("".join(f"line {i}\n\n" for i in range(40)))
    values = {
        "start": str(tmp_path / "base"), "tune": "lora", "data.path": str(tmp_path / "text.txt"), "train.max_steps": 3,
        "batch.max_length": 16, "batch.batch_tokens": 64, "schedule": "constant", "optimizer.learning_rate": 0.1,
        "train.validate_every": 3, "train.device": "cpu", "train.threads": 1,
    }  # fmt: skip
    run = td.train("text", values, out=tmp_path, quiet=True)
    api.export(run.path, tmp_path / "adapter", adapter=True)
    adapted = peft.PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    tokens, model = ids(theirs), td.load(run.path, device="cpu").model
    with torch.no_grad():
        ours = predicted(model, model.features(model.given(tokens, dense(ROWS, TOKENS), tokens, dense(ROWS, TOKENS))))
        torch.testing.assert_close(ours, adapted.eval()(tokens).logits, atol=1e-5, rtol=1e-5)
        assert (ours - theirs(tokens).logits).abs().max() > 1e-3
    with pytest.raises(UserError, match="exists already"):
        api.export(run.path, tmp_path / "adapter", adapter=True)


def test_a_model_without_adapters_is_one_sentence(tmp_path: Path) -> None:
    saved("GPT2Config", "GPT2LMHeadModel", {**SIZES, **FAMILIES["gpt2"][2]}, tmp_path / "base")
    found = checkpoint.read(tmp_path / "base")
    with pytest.raises(UserError, match="has no adapters to write"):
        peft_adapter.write(found.model, found.config, found.vocab_size, "base", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
