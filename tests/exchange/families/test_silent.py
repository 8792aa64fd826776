"""Tensors that classes of transformers ignore on purpose are ignored, and no others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file

from transduce.errors import UserError
from transduce.exchange import certificate, checkpoint
from transduce.exchange import importing as imported
from transduce.exchange.families.family import Family, families

transformers: Any = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 24, "vocab_size": 30, "max_position_embeddings": 24, "d_model": 16, "num_layers": 2,
    "num_decoder_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 24, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24, "n_layers": 2, "n_heads": 2, "dim": 16,
    "hidden_dim": 24,
    "embedding_size": 8, "ffn_dim": 24, "word_embed_proj_dim": 16, "d_inner": 24, "dff": 24, "rotary_dim": 4,
    "num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8, "attention_types": [[["global", "local"], 1]], "num_sparse_encoder_layers": 0,
    "num_sparse_decoder_layers": 0, "block_size": 2, "num_random_blocks": 1, "decoder_vocab_size": 30,
}  # fmt: skip
MARKS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
OWN: dict[str, dict[str, Any]] = {  # where SIZES alone make no model, or none that is read here
    "albert": {"hidden_size": 16}, "electra": {"embedding_size": 16}, **{
        name: {"embedding_size": 16, "position_biased_input": False, "relative_attention": True}
        for name in ("deberta", "deberta-v2")
    },
    "mpnet": {"pad_token_id": 1, "bos_token_id": 0}, "marian": {"decoder_start_token_id": 0},
    "phi": {"partial_rotary_factor": 0.5}, "gpt_neox": {"rotary_pct": 0.5},
}  # fmt: skip
DERIVED = {("xlnet", "max_position_embeddings"), ("falcon", "head_dim")}  # which nobody may set
# What transformers writes as a pattern -> names that it means.
MEANT: dict[str, list[str]] = {
    "encoder.version": ["model.encoder.version"],
    "decoder.version": ["model.decoder.version"],
    "attn.bias": ["transformer.h.0.attn.bias", "h.1.attn.bias"],
    "crossattention.bias": ["transformer.h.0.crossattention.bias"],
    "attention.bias": ["gpt_neox.layers.0.attention.bias"],
    "attention.masked_bias": ["gpt_neox.layers.0.attention.masked_bias"],
    "position_embeddings": ["deberta.embeddings.position_embeddings.weight"],
    "mask_predictions.*": ["mask_predictions.dense.weight", "mask_predictions.LayerNorm.bias"],
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": [
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    ],
    "decoder": ["decoder.final_layer_norm.weight", "decoder.block.1.layer.0.SelfAttention.q.weight"],
}
# What published files hold besides, of families whose class of today no longer says so.
PUBLISHED = {
    "mbart": ["model.encoder.version", "model.decoder.version"], "m2m_100": ["model.encoder.version"],
    "opt": ["model.decoder.version"], "gpt2": ["h.0.attn.masked_bias"], "gptj": ["transformer.h.0.attn.masked_bias"],
    "gpt_neo": ["transformer.h.0.attn.attention.masked_bias"],
}  # fmt: skip
CASES = [(family, name) for family in families() for name in family.architectures if hasattr(transformers, name)]


def tiny(family: Family, name: str) -> Any:
    made = getattr(transformers, name)
    known = made.config_class()
    sizes = {key: x for key, x in SIZES.items() if hasattr(known, key) and (family.model_type, key) not in DERIVED}
    torch.manual_seed(0)
    return made(made.config_class(**{**sizes, **MARKS, **OWN.get(family.model_type, {})}))


def planted(family: Family, theirs: Any) -> set[str]:
    """Every name that the class ignores on purpose: what it lists, and buffers that it computes."""
    saved = theirs.state_dict().keys()
    buffers = {name for name, _ in theirs.named_buffers() if name not in saved}
    listed = {name for pattern in theirs._keys_to_ignore_on_load_unexpected for name in MEANT[pattern]}
    frequencies = {
        re.sub(r"rotary_emb.*", "layers.0.self_attn.rotary_emb.inv_freq", name)
        for name in buffers
        if name.endswith("rotary_emb.inv_freq")
    }
    return (buffers | listed | frequencies | {*PUBLISHED.get(family.model_type, [])}) - saved


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "name"), CASES, ids=[name for _, name in CASES])
def test_what_a_class_ignores_on_purpose_is_ignored(family: Family, name: str, tmp_path: Path) -> None:
    theirs = tiny(family, name)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors, names = load_file(file), planted(family, theirs)
    before = dict(checkpoint.read(tmp_path).model.named_parameters())
    save_file({**tensors, **{one: torch.full((3,), 7.0) for one in names - tensors.keys()}}, file, {"format": "pt"})
    after = dict(checkpoint.read(tmp_path).model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[one], after[one]) for one in before)
    for one in ("odd.weight", f"{next(iter(tensors)).rsplit('.', 1)[0]}.odd"):
        save_file({**tensors, one: torch.zeros(3)}, file, {"format": "pt"})
        with pytest.raises(UserError, match=re.escape(f"beyond what this model has, {one}")):
            checkpoint.read(tmp_path)


def test_every_family_is_among_them() -> None:
    assert {family.model_type for family, _ in CASES} == {family.model_type for family in families()}
    assert len(CASES) > 80


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "family",
    [one for one in families() if not (one.sees or one.acts or one.hears)],
    ids=lambda family: family.model_type,
)
def test_the_certificate_holds_for_every_family(family: Family, tmp_path: Path) -> None:
    """With the attention that a class has by default; ids drawn here, since the tokeniser knows no text."""
    theirs = tiny(family, family.architectures[0])
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "embed_positions" not in name:
                parameter.mul_(8) if parameter.ndim > 1 else parameter.add_(0.3 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path / "model")
    (tmp_path / "model/generation_config.json").unlink(missing_ok=True)
    first = ["<s>", "<pad>"] if family.model_type == "mpnet" else ["<pad>", "<s>"]
    names = [*first, "</s>", *(f"w{i}" for i in range(27))]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({one: i for i, one in enumerate(names)}, "w0"))
    made.add_special_tokens(names[:3])
    made.save(str(tmp_path / "model/tokenizer.json"))
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "w0"}
    said = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps(said))
    imported.write(tmp_path / "model", tmp_path / "run", lines=0)
    said = certificate.read_certificate(tmp_path / "run")
    assert said["compared_with"] == "transformers"
    assert said["largest_logit_difference"] <= said["tolerance"]


ENCODERS = [(family, name) for family, name in CASES if name.endswith(("ForMaskedLM", "ForPreTraining"))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "name"), ENCODERS, ids=[name for _, name in ENCODERS])
def test_a_head_that_files_hold_is_read_where_config_json_names_none(family: Family, name: str, tmp_path: Path) -> None:
    tiny(family, name).save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    base = next(one for one in family.architectures if one.endswith("Model"))
    (tmp_path / "config.json").write_text(json.dumps({**said, "architectures": [base]}))
    found = checkpoint.read(tmp_path)
    assert found.family.architecture(found.config) == name
