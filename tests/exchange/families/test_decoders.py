"""Checkpoints of transformers, of every option that changes the numbers: in, the same numbers, and out again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.exchange.families.family import families
from transduce.exchange.families.llama import Llama
from transduce.model.architecture import DecoderConfig
from transduce.model.architecture.layers import LayerConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.layout import dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm, RMSNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.scaling import LinearScalingConfig
from transduce.model.residual.norm_first import PreNormConfig, SandwichConfig
from transduce.model.residual.norm_last import PostNormConfig
from transduce.testing.families import check_bytes, check_greedy, check_logits, check_padding, ids, saved

pytest.importorskip("transformers")

LLAMA = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "num_key_value_heads": 2, "initializer_range": 0.2,
}  # fmt: skip
GPT2 = {"n_embd": 24, "n_layer": 3, "n_head": 4, "vocab_size": 53, "n_positions": 64, "initializer_range": 0.2}
LINEAR = {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}}
FULL, SLIDE = "full_attention", "sliding_attention"
PHI3 = {
    "rope_type": "longrope", "partial_rotary_factor": 0.75, "rope_theta": 400.0,
    "short_factor": [1.0, 1.1, 1.4], "long_factor": [1.0, 2.0, 4.0],
}  # fmt: skip
CASES: list[tuple[str, dict[str, Any]]] = [
    ("GPT2", GPT2),
    ("GPT2", {**GPT2, "n_inner": 40, "activation_function": "relu", "layer_norm_epsilon": 1e-3}),
    ("GPT2", {**GPT2, "tie_word_embeddings": False, "scale_attn_weights": False, "activation_function": "gelu"}),
    ("Llama", LLAMA),
    ("Llama", {**LLAMA, "num_key_value_heads": 4, "tie_word_embeddings": True, "attention_bias": True}),
    ("Llama", {**LLAMA, "head_dim": 10, "mlp_bias": True, "hidden_act": "gelu", "rms_norm_eps": 1e-3, **LINEAR}),
    ("Mistral", {**LLAMA, "sliding_window": 5}),
    ("Mistral", {**LLAMA, "sliding_window": None, "tie_word_embeddings": True}),
    ("Qwen2", LLAMA),
    ("Qwen2", {**LLAMA, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ("Qwen2", {**LLAMA, "use_sliding_window": True, "sliding_window": 3, "layer_types": [SLIDE, FULL, SLIDE]}),
    ("Qwen3", {**LLAMA, "head_dim": 8}),
    ("Qwen3", {**LLAMA, "head_dim": 8, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}),
    ("Qwen3", {**LLAMA, "head_dim": 6, "attention_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 1}),
    ("SmolLM3", {**LLAMA, "no_rope_layer_interval": 2}),
    (
        "SmolLM3",
        {
            **LLAMA,
            "no_rope_layers": [1, 0, 0],
            "use_sliding_window": True,
            "sliding_window": 4,
            "tie_word_embeddings": False,
            "mlp_bias": True,
            "attention_bias": True,
        },
    ),
    (
        "SmolLM3",
        {
            **LLAMA,
            "no_rope_layers": [0, 1, 1],
            "use_sliding_window": True,
            "sliding_window": 3,
            "layer_types": [FULL, SLIDE, FULL],
            "hidden_act": "gelu",
        },
    ),
    ("Cohere", {**LLAMA, "logit_scale": 0.3}),
    ("Cohere", {**LLAMA, "tie_word_embeddings": False, "attention_bias": True, "layer_norm_eps": 1e-3, **LINEAR}),
    ("Cohere2", {**LLAMA, "layer_types": [SLIDE, FULL, SLIDE], "sliding_window": 4}),
    ("Cohere2", {**LLAMA, "num_hidden_layers": 5, "sliding_window": 3, "logit_scale": 2.0, "hidden_act": "gelu"}),
    ("Phi3", LLAMA),
    ("Phi3", {**LLAMA, "num_key_value_heads": 4, "sliding_window": 5, "tie_word_embeddings": True}),
    ("Phi3", {**LLAMA, "num_attention_heads": 3, "num_key_value_heads": 1, "rope_parameters": PHI3}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]


def made(name: str, options: dict[str, Any], folder: Path, **how: Any) -> Any:
    return saved(f"{name}Config", {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM"), options, folder, **how)


@pytest.fixture(params=CASES, ids=IDS)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(*request.param, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_on_either_side_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_greedy_decoding_token_by_token_agrees(theirs: Any, tmp_path: Path) -> None:
    check_greedy(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


def logits(found: checkpoint.Checkpoint, tokens: Tensor) -> Tensor:
    return found.model.head(found.model.step(tokens, dense(*tokens.shape), None)[0])


def test_several_files_and_a_base_model(tmp_path: Path) -> None:
    theirs = made("GPT2", GPT2, tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    expected = theirs(ids(theirs)).logits
    torch.testing.assert_close(logits(checkpoint.read(tmp_path / "sharded"), ids(theirs)), expected)
    theirs.transformer.save_pretrained(tmp_path / "base")
    torch.testing.assert_close(logits(checkpoint.read(tmp_path / "base"), ids(theirs)), expected)


def test_half_precision_stays_where_it_is_asked_to(tmp_path: Path) -> None:
    made("Llama", LLAMA, tmp_path / "a").to(torch.bfloat16).save_pretrained(tmp_path / "b")
    assert {p.dtype for p in checkpoint.read(tmp_path / "b", None).model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in checkpoint.read(tmp_path / "b").model.parameters()} == {torch.float32}


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"hidden_act": "mish"}, "hidden_act='mish', which is not known"),
        ({"hidden_size": 10**9}, "embed_tokens.weight in .* is .53, 24., but config.json asks for"),
        ({"num_hidden_layers": 10**9}, "config.json: layers=1000000000 must be at most 4096"),
        ({"num_hidden_layers": 2}, "beyond what this model has, model.layers.2"),
        ({"num_hidden_layers": 4}, "lacks model.layers.3"),
        ({"num_hidden_layers": "3"}, "must be a whole number"),
        ({"num_attention_heads": 5}, "heads=5"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings=1,000,000,000,000"),
        ({"head_dim": "8"}, "head_dim='8'; it must be a whole number"),
        ({"scale_of_something": 0}, "scale_of_something=0"),
        ({"rope_parameters": {"rope_type": "yearn", "factor": 2.0}}, "rope_type='yearn'"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 1.0, "odd": 3}}, "odd=3"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, "low_freq_factor=None"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": "2"}}, "factor='2'; it must be a number"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 0.5}}, "factor=0.5 must be at least 1"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5, but this family turns all"),
        ({"rope_parameters": [1.0]}, "rope_parameters=.1.0.; it must be an object"),
        ({"residual_multiplier": 2.0}, "residual_multiplier=2.0"),
        ({"auto_map": {"AutoModel": "x.py"}}, "never run here"),
        ({"model_type": "llamas"}, "model_type='llamas'; known are .*llama"),
        ({"architectures": ["LlamaForTokenClassification"]}, "LlamaForTokenClassification"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    made("Llama", LLAMA, tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


ATTENTION = AttentionConfig(heads=3, bias=False)
PLAIN = DecoderConfig(
    width=12, layers=3, mixer=ATTENTION, feedforward=GatedConfig(hidden=8), norm=RMSNorm(), positions=RotaryConfig(),
    scale_embedding=False,
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"residual": PostNormConfig()}, {"residual": SandwichConfig()}, {"residual": PreNormConfig(final_norm=False)},
        {"head": LinearHeadConfig(scale=2.0)}, {"head": LinearHeadConfig(softcap=2.0)}, {"scale_embedding": True},
        {"head": LinearHeadConfig(bias=True)}, {"embedding": TableConfig(norm=True)},
        {"embedding": TableConfig(size=4)}, {"positions": RotaryConfig(interleaved=True)},
        {"positions": RotaryConfig(fraction=0.3)},
        {"positions": RotaryConfig(fraction=0.5, scaling=LinearScalingConfig(factor=2.0))},
        {"mixer": replace(ATTENTION, softcap=1.0)}, {"mixer": replace(ATTENTION, scale=1.0)},
        {"mixer": replace(ATTENTION, window=3, sinks=1)}, {"mixer": replace(ATTENTION, qk_norm=RMSNorm(eps=0.1))},
        {"norm": RMSNorm(part=0.5)}, {"norm": RMSNorm(offset=1.0)}, {"norm": LayerNorm()},
        {"layers": (LayerConfig(), LayerConfig(feedforward=GatedConfig(hidden=9)))},
        {"layers": (LayerConfig(times=2, tied=True),)},
        {"layers": (LayerConfig(mixer=replace(ATTENTION, window=3)), LayerConfig(mixer=replace(ATTENTION, window=4)))},
        {"layers": (LayerConfig(residual=PreNormConfig(layer_scale=0.1)), LayerConfig())},
        {"layers": (LayerConfig(positions=RotaryConfig(base=3.0)), LayerConfig())},
    ],
    ids=str,
)  # fmt: skip
def test_what_transformers_cannot_compute_is_not_written(change: dict[str, Any]) -> None:
    ours = [one for one in families() if isinstance(one, Llama)]
    assert any(one.write(PLAIN, 20) for one in ours)
    assert [one.model_type for one in ours if one.write(replace(PLAIN, **change), 20)] == []


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("SmolLM3", {"no_rope_layers": [1, 2, 0]}, "no_rope_layers=.1, 2, 0.; it must be a list of 3, each 0 or 1"),
        ("SmolLM3", {"no_rope_layers": [[1], 0, 0]}, "each 0 or 1"),
        ("SmolLM3", {"no_rope_layers": [0, 0, 0]}, "one layer at least must have positions"),
        ("SmolLM3", {"layer_types": [SLIDE] * 3}, "but no window; set use_sliding_window"),
        ("Qwen2", {"layer_types": [SLIDE] * 3}, "but no window; set use_sliding_window"),
        ("Qwen2", {"layer_types": [FULL] * 2}, "it must be a list of 3"),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": "4"}, "sliding_window='4'; it must be a whole number"),
        ("Qwen3", {"num_hidden_layers": 10**9}, "config.json: layers=1000000000 must be at most 4096"),
        ("Phi3", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "Phi-3 has default and longrope only"),
        ("Phi3", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "turns 3 features of a head; they must be even"),
        ("Phi3", {"full_attn_mod": 2}, "full_attn_mod=2, but only 1 is known"),
        ("Cohere", {"use_qk_norm": True}, "use_qk_norm=True, but only False"),
        ("Cohere2", {"layer_types": [FULL] * 3}, "sliding_attention in no layer"),
    ],
)
def test_what_is_not_known_of_others_is_named(name: str, keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    made(name, LLAMA, tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


def test_a_tied_copy_must_repeat(tmp_path: Path) -> None:
    theirs = made("Llama", {**LLAMA, "tie_word_embeddings": False}, tmp_path)
    changed(tmp_path, tie_word_embeddings=True)
    with pytest.raises(UserError, match=r"lm_head.weight should repeat model.embed_tokens.weight"):
        checkpoint.read(tmp_path)
    theirs.lm_head.weight.data = theirs.model.embed_tokens.weight.data.clone()
    theirs.save_pretrained(tmp_path)
    changed(tmp_path, tie_word_embeddings=True)
    ours = checkpoint.read(tmp_path).model
    assert ours.head.weight is ours.embed.weight


def test_a_tensor_of_other_dimensions_is_named(tmp_path: Path) -> None:
    theirs = made("GPT2", GPT2, tmp_path)
    tensors = {name: x.clone() for name, x in theirs.state_dict().items() if name != "lm_head.weight"}
    tensors["transformer.h.1.attn.c_attn.weight"] = torch.zeros(24)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"h\.1\.attn\.c_attn\.weight in .* is \[24\], but config.json asks for"):
        checkpoint.read(tmp_path)
