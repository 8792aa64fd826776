"""Adapters that PEFT wrote, merged into their base: the run computes what PEFT computes without merging."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import transduce as td
from transduce import api
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.exchange import checkpoint, peft_merge
from transduce.model.layout import dense
from transduce.testing.families import ROWS, TOKENS, arguments, ids, logits_of, predicted, saved
from transduce.text.byte import Byte

from .test_peft_adapter import FAMILIES, SIZES

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore::UserWarning:peft")

TARGETS = {
    "gpt2": ["c_attn", "c_fc"], "neox": ["query_key_value"], "llama": ["q_proj", "v_proj", "down_proj"],
    "marian": ["q_proj", "v_proj"], "t5": ["q", "v", "wo"], "bert": ["query", "value"],
}  # fmt: skip
PATTERNS = {"rank_pattern": {"q_proj": 5, "layers.1.self_attn.v_proj": 2},
            "alpha_pattern": {"v_proj": 11, "^model.layers.0.self_attn.q_proj": 3}}  # fmt: skip
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    **{family: (family, {}) for family in TARGETS},
    "dora": ("llama", {"use_dora": True}),
    "dora, transposed": ("gpt2", {"use_dora": True}),
    "by the root of the rank": ("llama", {"use_rslora": True}),
    "patterns": ("llama", PATTERNS),
    "an embedding": ("llama", {"target_modules": ["q_proj", "embed_tokens"]}),
    "biases": ("gpt2", {"bias": "lora_only"}),
    "a norm and a head moved whole": ("neox", {"modules_to_save": ["final_layer_norm", "embed_out"]}),
}


def adapter(family: str, more: dict[str, Any], folder: Path, **sizes: Any) -> Any:
    """An adapter with random B on a tiny model, in folder/adapter; the model itself is in folder/base."""
    peft = pytest.importorskip("peft")
    config, architecture, options = FAMILIES[family]
    theirs = saved(config, architecture, {**SIZES, **options, **sizes}, folder / "base")
    theirs.name_or_path = theirs.config._name_or_path = str(folder / "base")
    torch.manual_seed(3)
    asks = {"r": 3, "lora_alpha": 7, "target_modules": TARGETS[family], "fan_in_fan_out": family == "gpt2", **more}
    adapted = peft.get_peft_model(theirs, peft.LoraConfig(**asks)).eval()
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.rand_like(p) if "magnitude" in name else 0.1 * torch.randn_like(p))
    adapted.save_pretrained(folder / "adapter")
    return adapted


@pytest.mark.parametrize("way", WAYS)
def test_merged_it_computes_what_peft_computes_without_merging(way: str, tmp_path: Path) -> None:
    family, more = WAYS[way]
    untied = {"tie_word_embeddings": False} if way == "an embedding" else {}
    adapted = adapter(family, more, tmp_path, **untied)
    with peft_merge.merged(tmp_path / "adapter", None) as folder:
        ours = checkpoint.read(folder).model
    assert not folder.exists()
    base = checkpoint.read(tmp_path / "base").model
    theirs = adapted.get_base_model()
    batch = ours.given(ids(theirs), dense(ROWS, TOKENS), ids(theirs, ROWS, 11, seed=2), dense(ROWS, 11))
    with torch.no_grad():
        expected, found = logits_of(adapted(**arguments(batch))), predicted(ours, ours.features(batch))
        before = predicted(base, base.features(batch))
    assert expected is not None
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found - before).abs().max() > 1e-3, "the adapter changes something"


def test_a_run_of_an_adapter_needs_neither_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted = adapter("gpt2", {}, tmp_path, vocab_size=259)
    Byte().train([]).save(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer.json").rename(tmp_path / "base" / "tokenizer.json")
    where, run = str(tmp_path / "adapter"), str(tmp_path / "run")
    moved = (tmp_path / "base").rename(tmp_path / "moved")
    assert main(["import", where, run]) == 2
    assert "is no folder here; give the folder of that model: --base DIR" in capsys.readouterr().err
    assert main(["import", where, run, "--base", str(moved)]) == 0
    assert "transformers" in capsys.readouterr().out
    moved.rename(tmp_path / "gone")
    loaded = td.load(run)
    given = loaded.tokenizer.encode("so it is")
    batch = loaded.model.given(torch.tensor([given]), dense(1, len(given)), torch.tensor([given]), dense(1, len(given)))
    with torch.no_grad():
        expected = adapted(torch.tensor([given])).logits
        torch.testing.assert_close(
            predicted(loaded.model, loaded.model.features(batch)), expected, atol=1e-5, rtol=1e-5
        )
    data = loaded.recipe.data
    assert getattr(data, "origin", "") == where


def spoil(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def renamed(folder: Path, old: str, new: str) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({n.replace(old, new): x for n, x in tensors.items()}, folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peft")
    adapter("llama", {}, folder)
    return folder


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda d: spoil(d, peft_type="IA3"), "has peft_type=IA3, which is not read here"),
        (lambda d: spoil(d, lora_bias=True), "asks for lora_bias, which is not read here"),
        (lambda d: spoil(d, layer_replication=[[0, 1]]), "asks for layer_replication"),
        (lambda d: spoil(d, lora_alpha="many"), "lora_alpha=many"),
        (lambda d: spoil(d, alpha_pattern={"(a+)+b": 3}), r"alpha_pattern of the adapter has '\(a\+\)\+b'"),
        (lambda d: renamed(d, "layers.1", "layers.7"), "changes model.layers.7.*, which .* does not have"),
        (lambda d: renamed(d, "lora_B", "lora_C"), "changes model.layers.*lora_C.weight, which"),
        (lambda d: (d / "adapter_model.safetensors").unlink(), "adapter_model.safetensors does not exist"),
        (lambda d: (d / "adapter_model.safetensors").write_bytes(b"PK\x03\x04"), "is a pickle"),
    ],
)
def test_what_cannot_be_merged_is_said_in_a_sentence(spoilt: Any, said: str, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "all")
    spoilt(tmp_path / "all" / "adapter")
    with pytest.raises(UserError, match=said), peft_merge.merged(tmp_path / "all" / "adapter", made / "base"):
        pass


def test_an_adapter_of_another_width(made: Path, tmp_path: Path) -> None:
    config, architecture, options = FAMILIES["llama"]
    saved(config, architecture, {**SIZES, **options, "hidden_size": 48}, tmp_path / "wide")
    fits = r"is for a matrix of .*32.*, but the base has .*48"
    with pytest.raises(UserError, match=fits), peft_merge.merged(made / "adapter", tmp_path / "wide"):
        pass
    with pytest.raises(UserError, match="takes no --base"):
        api.import_model(tmp_path / "wide", tmp_path / "run", base=made / "base")
