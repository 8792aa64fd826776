"""Decoders before LLaMA and beside it: every option that changes the numbers, in and out again."""

from pathlib import Path
from typing import Any

import pytest

from transduce.testing.families import check_bytes, check_greedy, check_logits, check_padding, saved

pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "vocab_size": 53, "initializer_range": 0.2,
    "max_position_embeddings": 64, "intermediate_size": 40,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
OPT = {**{key: x for key, x in SIZES.items() if key != "intermediate_size"}, "ffn_dim": 40}
BLOOM = {"hidden_size": 24, "n_layer": 3, "n_head": 3, "vocab_size": 53, "initializer_range": 0.2}
FALCON = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53, "initializer_range": 0.2,
    "max_position_embeddings": 64,
}  # fmt: skip
GPT1 = {"n_embd": 24, "n_layer": 3, "n_head": 3, "vocab_size": 53, "n_positions": 64, "initializer_range": 0.2}
GPTJ = {**GPT1, "rotary_dim": 4}
GPT_NEO = {
    "hidden_size": 24, "num_layers": 3, "num_heads": 3, "vocab_size": 53, "max_position_embeddings": 64,
    "initializer_range": 0.2, "attention_types": [[["global", "local"], 1], [["global"], 1]], "window_size": 5,
}  # fmt: skip
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("GPTNeoX", "ForCausalLM", SIZES),
    ("GPTNeoX", "ForCausalLM", {**SIZES, "use_parallel_residual": False, "attention_bias": False, "rotary_pct": 0.5}),
    ("GPTNeoX", "ForCausalLM", {
        **SIZES, "tie_word_embeddings": True, "hidden_act": "gelu_fast", "layer_norm_eps": 1e-3, "rotary_pct": 1.0,
        "rope_parameters": {**LINEAR, "partial_rotary_factor": 0.5},
    }),
    ("GPTNeoX", "ForCausalLM", {**SIZES, "rope_parameters": {**YARN, "partial_rotary_factor": 0.5}}),
    ("GPTNeoX", "Model", SIZES),
    ("OPT", "ForCausalLM", OPT),
    ("OPT", "ForCausalLM", {**OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 10}),
    ("OPT", "ForCausalLM", {
        **OPT, "enable_bias": False, "layer_norm_elementwise_affine": False, "activation_function": "gelu",
        "tie_word_embeddings": False,
    }),
    ("OPT", "ForCausalLM", {**OPT, "_remove_final_layer_norm": True, "word_embed_proj_dim": 30}),
    ("OPT", "Model", {**OPT, "tie_word_embeddings": False}),
    ("Bloom", "ForCausalLM", BLOOM),
    ("Bloom", "ForCausalLM", {**BLOOM, "n_head": 4, "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False}),
    ("Bloom", "Model", {**BLOOM, "n_head": 6, "tie_word_embeddings": False}),
    ("Falcon", "ForCausalLM", FALCON),
    ("Falcon", "ForCausalLM", {
        **FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 40,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    }),
    ("Falcon", "ForCausalLM", {
        **FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1, "bias": True,
        "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False, "activation": "relu", "rope_parameters": LINEAR,
    }),
    ("Falcon", "ForCausalLM", {**FALCON, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True}),
    ("Falcon", "ForCausalLM", {**FALCON, "alibi": True, "num_attention_heads": 6, "parallel_attn": False}),
    ("Falcon", "ForCausalLM", {**FALCON, "num_attention_heads": 3, "rope_parameters": YARN, "multi_query": False}),
    ("Falcon", "Model", {**FALCON, "tie_word_embeddings": False}),
    ("Phi", "ForCausalLM", SIZES),
    ("Phi", "ForCausalLM", {
        **SIZES, "qk_layernorm": True, "num_key_value_heads": 1, "layer_norm_eps": 1e-3, "hidden_act": "relu",
        "rope_parameters": {**LINEAR, "partial_rotary_factor": 0.25},
    }),
    ("Phi", "ForCausalLM", {**SIZES, "rope_parameters": {**LLAMA3, "partial_rotary_factor": 0.5}}),
    ("Phi", "ForCausalLM", {**SIZES, "tie_word_embeddings": True, "partial_rotary_factor": 1.0}),
    ("Phi", "Model", SIZES),
    ("GPTJ", "ForCausalLM", GPTJ),
    ("GPTJ", "ForCausalLM", {
        **GPTJ, "rotary_dim": 8, "n_inner": 40, "activation_function": "relu", "tie_word_embeddings": True,
        "layer_norm_epsilon": 1e-3,
    }),
    ("GPTJ", "Model", {**GPTJ, "tie_word_embeddings": True}),
    ("GPTNeo", "ForCausalLM", GPT_NEO),
    ("GPTNeo", "ForCausalLM", {
        **GPT_NEO, "attention_types": [[["local"], 2], [["global"], 1]], "intermediate_size": 40, "window_size": 1,
        "activation_function": "gelu", "tie_word_embeddings": False, "layer_norm_epsilon": 1e-3,
    }),
    ("GPTNeo", "ForCausalLM", {**GPT_NEO, "attention_types": [[["global"], 3]]}),
    ("GPTNeo", "Model", {**GPT_NEO, "tie_word_embeddings": False, "attention_types": [[["local"], 3]]}),
    ("OpenAIGPT", "LMHeadModel", GPT1),
    ("OpenAIGPT", "LMHeadModel", {
        **GPT1, "afn": "relu", "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False, "summary_type": "last",
    }),
    ("OpenAIGPT", "LMHeadModel", {**GPT1, "afn": "silu"}),
    ("OpenAIGPT", "Model", {**GPT1, "tie_word_embeddings": False}),
    ("CTRL", "LMHeadModel", {**GPT1, "dff": 40}),
    ("CTRL", "LMHeadModel", {**GPT1, "dff": 40, "tie_word_embeddings": False}),
    ("CTRL", "Model", {**GPT1, "dff": 40}),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


def nothing(theirs: Any) -> None:
    pass


def fused(theirs: Any) -> None:
    theirs.config._attn_implementation = "sdpa"


ATTENTION = {"Falcon": fused}  # written out, it adds the biases of ALiBi twice


@pytest.fixture(params=CASES, ids=IDS)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name, kind, options = request.param
    return saved(f"{name}Config", f"{name}{kind}", options, tmp_path, change=ATTENTION.get(name, nothing))


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_on_either_side_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_greedy_decoding_token_by_token_agrees(theirs: Any, tmp_path: Path) -> None:
    if theirs.can_generate():
        check_greedy(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")
