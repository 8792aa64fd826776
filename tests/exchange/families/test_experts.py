"""Mixtral, Qwen2-MoE and Qwen3-MoE: experts that are saved one by one, in all layers or in some."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.exchange.families.mixtral import Mixtral
from transduce.exchange.families.qwen_moe import Qwen3Moe
from transduce.model.architecture import DecoderConfig
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.testing.families import check_bytes, check_greedy, check_logits, check_padding, saved

pytest.importorskip("transformers")

TINY = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "num_key_value_heads": 2, "initializer_range": 0.2,
}  # fmt: skip
QWEN = {**TINY, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
QWEN2 = {**QWEN, "shared_expert_intermediate_size": 14}
FULL, SLIDE = "full_attention", "sliding_attention"
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("Mixtral", "MixtralForCausalLM", {**TINY, "num_local_experts": 4}),
    ("Mixtral", "MixtralForCausalLM", {**TINY, "num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 4,
                                       "tie_word_embeddings": True, "head_dim": 10, "hidden_act": "gelu"}),
    ("Mixtral", "MixtralForCausalLM", {**TINY, "num_local_experts": 3, "num_experts_per_tok": 1}),
    ("Mixtral", "MixtralModel", {**TINY, "num_local_experts": 3}),
    ("Qwen3Moe", "Qwen3MoeForCausalLM", QWEN),
    ("Qwen3Moe", "Qwen3MoeForCausalLM", {**QWEN, "norm_topk_prob": True, "decoder_sparse_step": 2, "head_dim": 8,
                                         "attention_bias": True, "use_sliding_window": True, "sliding_window": 4}),
    ("Qwen3Moe", "Qwen3MoeForCausalLM", {**QWEN, "mlp_only_layers": [0, 2], "num_experts_per_tok": 1,
                                         "tie_word_embeddings": True, "hidden_act": "gelu"}),
    ("Qwen2Moe", "Qwen2MoeForCausalLM", QWEN2),
    ("Qwen2Moe", "Qwen2MoeForCausalLM", {**QWEN2, "norm_topk_prob": True, "qkv_bias": False, "mlp_only_layers": [1],
                                         "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}),
    ("Qwen2Moe", "Qwen2MoeForCausalLM", {**QWEN2, "use_sliding_window": True, "sliding_window": 3,
                                         "layer_types": [FULL, SLIDE, SLIDE], "tie_word_embeddings": True}),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case[1])
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name, model, options = request.param
    return saved(f"{name}Config", model, options, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_on_either_side_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_greedy_decoding_token_by_token_agrees(theirs: Any, tmp_path: Path) -> None:
    if type(theirs).__name__.endswith("Model"):
        pytest.skip("it has no head")
    check_greedy(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"num_local_experts": 6}, "lacks model.layers.0.mlp.experts.5"),
        ({"num_local_experts": 4}, "beyond what this model has, model.layers.0.mlp.experts.4"),
        ({"num_local_experts": "5"}, "num_local_experts='5'; it must be a whole number"),
        ({"num_experts_per_tok": 9}, "top=9 of experts=5"),
        ({"moe_intermediate_size": 11}, r"is .12, 24., but config.json asks for .11, 24."),
        ({"mlp_only_layers": 3}, "mlp_only_layers=3"),
        ({"mlp_only_layers": [0, 1, 2]}, "no layer with experts"),
        ({"norm_topk_prob": "yes"}, "norm_topk_prob='yes'"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types"),
        ({"num_local_experts": 10**9}, "num_local_experts=1,000,000,000, but the files have only"),
        ({"num_hidden_layers": 10**9, "decoder_sparse_step": 2}, "config.json: layers=1000000000 must be at most 4096"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    saved("Qwen3MoeConfig", "Qwen3MoeForCausalLM", QWEN, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    "feed",
    [
        {"capacity": 4}, {"shared": 1}, {"normalise": False, "router_bias": True}, {"normalise": False, "top": 1},
        {"inner": MLPConfig(hidden=8)}, {"inner": GatedConfig(hidden=8, bias=True)}, {"normalise": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_transformers_cannot_compute_is_not_written(feed: dict[str, Any], tmp_path: Path) -> None:
    options = {"experts": 3, "inner": GatedConfig(hidden=8), "normalise": True, **feed}
    config = DecoderConfig(
        width=12, layers=2, mixer=AttentionConfig(heads=3, bias=False), feedforward=ExpertsConfig(**options),
        norm=RMSNorm(), positions=RotaryConfig(), scale_embedding=False,
    )  # fmt: skip
    assert (Mixtral().write(config, 20) is None) == (feed != {"normalise": None})
    assert Qwen3Moe().write(config, 20) is None


def test_a_missing_expert_and_one_too_many_are_named(tmp_path: Path) -> None:
    saved("MixtralConfig", "MixtralForCausalLM", {**TINY, "num_local_experts": 3}, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.1.block_sparse_moe.experts.2.w3.weight"
    save_file({n: x for n, x in tensors.items() if n != name}, path, {"format": "pt"})
    with pytest.raises(UserError, match=rf"lacks {name}"):
        checkpoint.read(tmp_path)
    save_file({**tensors, name.replace("2.w3", "3.w3"): torch.zeros(40, 24)}, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"beyond what this model has, model.layers.1.block_sparse_moe.experts.3.w3"):
        checkpoint.read(tmp_path)
