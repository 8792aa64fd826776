"""What decoders before LLaMA are refused for, by name; keys of published files; and who may write what."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.exchange.families.decoders import part_of
from transduce.exchange.families.family import families
from transduce.exchange.ops import Fused
from transduce.model.architecture import DecoderConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig, SinusoidalConfig
from transduce.model.positions.alibi import AlibiConfig
from transduce.model.positions.position import Queries
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import ParallelConfig, PreNormConfig
from transduce.model.residual.norm_last import PostNormConfig
from transduce.testing.families import saved

pytest.importorskip("transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 31}
CLASSES = {
    "gpt_neox": ("GPTNeoX", "GPTNeoXForCausalLM", {**SMALL, "intermediate_size": 20}),
    "opt": ("OPT", "OPTForCausalLM", {**SMALL, "ffn_dim": 20, "max_position_embeddings": 16}),
    "bloom": ("Bloom", "BloomForCausalLM", {"hidden_size": 16, "n_layer": 1, "n_head": 2, "vocab_size": 31}),
    "falcon": ("Falcon", "FalconForCausalLM", SMALL),
    "phi": ("Phi", "PhiForCausalLM", {**SMALL, "intermediate_size": 20}),
    "gptj": ("GPTJ", "GPTJForCausalLM", {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 31, "rotary_dim": 4}),
    "gpt_neo": ("GPTNeo", "GPTNeoForCausalLM", {
        "hidden_size": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 31, "max_position_embeddings": 16,
        "attention_types": [[["global", "local"], 1]],
    }),
    "openai-gpt": ("OpenAIGPT", "OpenAIGPTLMHeadModel", {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 31}),
    "ctrl": ("CTRL", "CTRLLMHeadModel", {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 31, "dff": 20}),
}  # fmt: skip


def made(kind: str, folder: Path) -> Any:
    name, model, options = CLASSES[kind]
    return saved(f"{name}Config", model, options, folder)


def changed(folder: Path, keys: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize(
    ("kind", "keys", "told"),
    [
        ("gpt_neox", {"hidden_act": "mish"}, "hidden_act='mish', which is not known"),
        ("gpt_neox", {"rope_parameters": None, "rotary_pct": 0.4}, "turns 0.4 of a head of 8 features, which is 3"),
        ("gpt_neox", {"rotary_emb_base": 500, "rope_theta": 600.0}, "rope_theta=600.0, but only 500"),
        ("gpt_neox", {"use_parallel_residual": "yes"}, "must be true or false"),
        ("gpt_neox", {"rope_parameters": {"rope_type": "proportional"}}, "proportional"),
        ("opt", {"word_embed_proj_dim": 8, "tie_word_embeddings": False}, "word_embed_proj_dim=8 with tie"),
        ("opt", {"scale_embeddings": True}, "scale_embeddings=True"),
        ("opt", {"max_position_embeddings": 10**12}, "max_position_embeddings=1,000,000,000,000"),
        ("opt", {"enable_bias": False}, "beyond what this model has"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm=True"),
        ("bloom", {"slow_but_exact": True}, "slow_but_exact=True"),
        ("bloom", {"n_embed": 32}, "hidden_size and n_embed of different values"),
        ("falcon", {"num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn=2, parallel_attn=True"),
        ("falcon", {"new_decoder_architecture": True, "parallel_attn": False}, "no class computes"),
        ("falcon", {"multi_query": False, "num_kv_heads": 1}, "num_kv_heads=1 for 2 heads"),
        ("falcon", {"multi_query": False}, r"query_key_value.weight in .* is \[32, 16\], but config.json asks for"),
        ("falcon", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm"),
        ("phi", {"qk_layernorm": True}, "lacks model.layers.0.self_attn.q_layernorm"),
        ("phi", {"head_dim": 4}, "head_dim=4, but only 8"),
        ("gptj", {"rotary_dim": 5}, "rotary_dim=5; it must be even, and at most 8"),
        ("gptj", {"rotary_dim": 10}, "rotary_dim=10"),
        ("gptj", {"scale_attn_weights": False}, "scale_attn_weights=False"),
        ("gpt_neo", {"attention_types": [[["global", "sparse"], 1]]}, "attention_types=.*not 2 layers"),
        ("gpt_neo", {"attention_types": [[["global"], 10**12]]}, "attention_types=.*not 2 layers"),
        ("gpt_neo", {"attention_types": 3}, "attention_types=3, which"),
        ("gpt_neo", {"attention_layers": ["local", "global"]}, "attention_layers"),
        ("openai-gpt", {"afn": "gelu_new"}, "afn='gelu_new'"),
        ("openai-gpt", {"n_layer": 10**9}, "config.json: layers=1000000000 must be at most 4096"),
        ("ctrl", {"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon=1e-05, but only 1e-06"),
        ("ctrl", {"architectures": ["CTRLForSequenceClassification"]}, "CTRLForSequenceClassification"),
    ],
)
def test_what_is_not_known_is_named(kind: str, keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    made(kind, tmp_path)
    changed(tmp_path, keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_tensor_too_few_or_too_many_is_named(kind: str, tmp_path: Path) -> None:
    made(kind, tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    gone = sorted(whole)[-1]
    save_file({name: x for name, x in whole.items() if name != gone}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=f"lacks {gone}"):
        checkpoint.read(tmp_path)
    save_file({**whole, "adapter.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"beyond what this model has, .*adapter.weight"):
        checkpoint.read(tmp_path)
    flat = {name: x.flatten() if x.ndim > 1 else x for name, x in whole.items()}
    save_file(flat, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"but config\.json asks for"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("gpt_neox", {"rope_parameters": None, "rotary_pct": 0.25, "rotary_emb_base": 10000, "rope_scaling": None}),
        ("opt", {"prefix": "</s>", "init_std": 0.02, "learned_embeddings": True, "scale_embeddings": False}),
        ("bloom", {
            "hidden_size": None, "n_embed": 16, "n_head": None, "num_attention_heads": 2, "offset_alibi": 100,
            "attention_softmax_in_fp32": True, "masked_softmax_fusion": True, "skip_bias_add": True, "n_inner": None,
            "bias_dropout_fusion": True, "skip_bias_add_qkv": False, "seq_length": 2048, "pretraining_tp": 4,
        }),
        ("falcon", {"rope_parameters": None, "rope_theta": 10000.0, "apply_residual_connection_post_layernorm": False}),
        ("phi", {"rope_parameters": None, "partial_rotary_factor": 0.5, "rope_theta": 10000.0, "rope_scaling": None}),
        ("gptj", {"rotary": True, "scale_attn_weights": True, "summary_type": "cls_index", "n_inner": None}),
        ("gpt_neo", {"summary_use_proj": True, "resid_dropout": 0, "embed_dropout": 0, "intermediate_size": None}),
        ("openai-gpt", {"n_special": 0, "predict_special_tokens": True, "n_ctx": 512}),
        ("ctrl", {"n_ctx": 512, "from_tf": False, "output_past": True, "use_bfloat16": False, "attn_pdrop": 0.1}),
    ],
)  # fmt: skip
def test_keys_of_published_files_change_nothing(kind: str, keys: dict[str, Any], tmp_path: Path) -> None:
    made(kind, tmp_path)
    before = checkpoint.described(tmp_path)
    changed(tmp_path, keys)
    assert checkpoint.described(tmp_path) == before


def test_names_as_other_versions_save_them(tmp_path: Path) -> None:
    made("gpt_neox", tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    named = {"lm_head.weight" if name == "embed_out.weight" else name: x for name, x in whole.items()}
    masks = {
        f"gpt_neox.layers.0.attention.{name}": torch.ones(1) for name in ("bias", "masked_bias", "rotary_emb.inv_freq")
    }
    before = checkpoint.read(tmp_path).model.state_dict()
    save_file({**named, **masks}, tmp_path / "model.safetensors")
    after = checkpoint.read(tmp_path).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    save_file({**whole, "lm_head.weight": named["lm_head.weight"].clone()}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="same tensor under two names"):
        checkpoint.read(tmp_path)


WHOLE = AttentionConfig(heads=2)
PLAIN: dict[str, Any] = {"width": 16, "layers": 1, "mixer": WHOLE, "scale_embedding": False}


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({"positions": LearnedConfig()}, "gpt2"),
        ({"positions": LearnedConfig(), "residual": PostNormConfig()}, "openai-gpt"),
        ({"positions": LearnedConfig(), "residual": PostNormConfig(), "norm": LayerNorm(bias=False)}, None),
        ({"positions": LearnedConfig(offset=2)}, "opt"),
        ({"positions": LearnedConfig(offset=1)}, None),
        ({"positions": LearnedConfig(offset=2), "norm": LayerNorm(eps=1e-6)}, None),
        ({"positions": LearnedConfig(offset=2), "residual": PreNormConfig(final_norm=False)}, "opt"),
        ({"positions": LearnedConfig(), "residual": PreNormConfig(final_norm=False)}, None),
        ({"positions": LearnedConfig(), "norm": LayerNorm(gain=False)}, None),
        ({"positions": AlibiConfig()}, None),
        ({"positions": AlibiConfig(), "embedding": TableConfig(norm=True)}, None),  # relu, not gelu
        ({"positions": AlibiConfig(scaled=True, rounded=True)}, "falcon"),
        ({"positions": RotaryConfig(), "residual": ParallelConfig(norms="each")}, "gpt_neox"),
        ({"positions": RotaryConfig(), "residual": ParallelConfig(norms="each", final_norm=False)}, None),
        ({"positions": RotaryConfig(), "residual": ParallelConfig(norms="one")}, "falcon"),
        ({"positions": RotaryConfig(), "residual": ParallelConfig(), "head": LinearHeadConfig(bias=True)}, "phi"),
        ({"positions": RotaryConfig(), "head": LinearHeadConfig(bias=True)}, None),
        ({"positions": RotaryConfig(fraction=0.5, interleaved=True), "residual": ParallelConfig()}, None),
        ({"positions": RotaryConfig(), "feedforward": MLPConfig(activation="tanh")}, None),
        ({"positions": SinusoidalConfig(order="halves"), "scale_embedding": True}, None),  # another eps
        ({"positions": SinusoidalConfig(order="halves"), "scale_embedding": True, "norm": LayerNorm(eps=1e-6),
          "head": LinearHeadConfig(bias=True)}, "ctrl"),
        ({"positions": SinusoidalConfig(), "scale_embedding": True, "norm": LayerNorm(eps=1e-6),
          "head": LinearHeadConfig(bias=True)}, None),
    ],
)  # fmt: skip
def test_a_model_is_written_only_as_what_computes_it(parts: dict[str, Any], kind: str | None) -> None:
    model = DecoderConfig(**{**PLAIN, "feedforward": MLPConfig(), **parts})
    found = (family.model_type for family in families() if family.write(model, 31) is not None)
    assert next(found, None) == kind


def test_a_part_of_a_head_that_is_no_pairs_is_written_as_pairs() -> None:
    places = RotaryConfig(fraction=0.4)  # 3 of 8 features, of which 2 are turned
    model = DecoderConfig(**PLAIN, residual=ParallelConfig(norms="each"), positions=places)
    family = next(family for family in families() if family.model_type == "gpt_neox")
    assert (family.write(model, 31) or {})["rope_parameters"]["partial_rotary_factor"] == 0.25
    for size in range(2, 257, 2):
        assert all(int(size * part_of(turned, size)) == turned for turned in range(2, size + 1, 2))


@pytest.mark.parametrize(("groups", "queries", "size"), [(3, 1, 4), (1, 5, 2), (2, 3, 1)])
def test_fused_tensors_come_apart_and_together(groups: int, queries: int, size: int) -> None:
    op, rows = Fused(groups, size), groups * (queries + 2) * size
    for x in (torch.randn(rows, 7), torch.randn(rows)):
        q, k, v = op.read([x])
        assert (q.shape[0], k.shape[0], v.shape[0]) == (groups * queries * size, groups * size, groups * size)
        assert torch.equal(k[:size], x[queries * size : (queries + 1) * size])
        assert torch.equal(op.write([q, k, v])[0], x)


@pytest.mark.parametrize("heads", [2, 6, 12])
def test_rounded_alibi_is_that_of_falcon(heads: int) -> None:
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    tokens, size = 300, 4
    theirs = build_alibi_tensor(torch.ones(1, tokens, dtype=torch.int64), heads, torch.float32).view(1, heads, 1, -1)
    ours = AlibiConfig(scaled=True, rounded=True).build(0, Queries(heads, size))
    bias = ours.bias(torch.zeros(1, tokens, heads, size), None, None, True)
    assert bias is not None
    torch.testing.assert_close(bias, (theirs / size**0.5).expand_as(bias), atol=0, rtol=1e-6)
    with pytest.raises(UserError, match="rounded=true is for decoders"):
        ours.for_stack(causal=False)
