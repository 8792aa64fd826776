"""Gemma 1, 2 and 3: windows, sandwiches, caps, positions of a layer, and embeddings scaled by a rounded number."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.model.layout import dense
from transduce.testing.families import check_bytes, check_greedy, check_logits, check_padding, ids, saved

pytest.importorskip("transformers")

TINY = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.2,
}  # fmt: skip
FULL, SLIDE = "full_attention", "sliding_attention"
ROPES = {
    FULL: {"rope_type": "linear", "factor": 4.0, "rope_theta": 900.0},
    SLIDE: {"rope_type": "yarn", "factor": 4.0, "rope_theta": 30.0, "original_max_position_embeddings": 16},
}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("Gemma", "GemmaForCausalLM", TINY),
    ("Gemma", "GemmaForCausalLM", {**TINY, "tie_word_embeddings": False, "attention_bias": True, "hidden_act": "relu",
                                   "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 99.0}}),
    ("Gemma", "GemmaModel", {**TINY, "tie_word_embeddings": False, "head_dim": 6, "rms_norm_eps": 1e-3}),
    ("Gemma2", "Gemma2ForCausalLM", {**TINY, "sliding_window": 4, "query_pre_attn_scalar": 11}),
    ("Gemma2", "Gemma2ForCausalLM", {**TINY, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 0.7,
                                     "query_pre_attn_scalar": 8, "sliding_window": 3, "attention_bias": True,
                                     "layer_types": [FULL, FULL, SLIDE], "tie_word_embeddings": False}),
    ("Gemma2", "Gemma2ForCausalLM", {**TINY, "attn_logit_softcapping": None, "final_logit_softcapping": None,
                                     "layer_types": [FULL] * 3, "hidden_activation": "gelu"}),
    ("Gemma2", "Gemma2Model", {**TINY, "layer_types": [SLIDE] * 3, "sliding_window": 4, "tie_word_embeddings": False}),
    ("Gemma3Text", "Gemma3ForCausalLM", {**TINY, "sliding_window": 4, "layer_types": [SLIDE, FULL, SLIDE]}),
    ("Gemma3Text", "Gemma3ForCausalLM", {**TINY, "num_hidden_layers": 7, "sliding_window": 5,
                                         "query_pre_attn_scalar": 24, "rope_parameters": ROPES}),
    ("Gemma3Text", "Gemma3ForCausalLM", {**TINY, "final_logit_softcapping": 0.9, "layer_types": [FULL] * 3,
                                         "tie_word_embeddings": False, "attention_bias": True}),
    ("Gemma3Text", "Gemma3TextModel", {**TINY, "layer_types": [SLIDE] * 3, "sliding_window": 4,
                                       "tie_word_embeddings": False}),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case[1])
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name, model, options = request.param
    return saved(f"{name}Config", model, json.loads(json.dumps(options)), tmp_path)


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_scale_of_embeddings_is_rounded_as_theirs(dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = saved("GemmaConfig", "GemmaForCausalLM", TINY, tmp_path / "a").to(dtype)
    theirs.save_pretrained(tmp_path / "b")
    ours, tokens = checkpoint.read(tmp_path / "b", None).model, ids(theirs)
    embed = ours.get_submodule("embed")
    found = embed(tokens, dense(*tokens.shape))
    assert torch.equal(found, theirs.model.embed_tokens(tokens))
    assert not torch.equal(found, (embed.get_parameter("weight")[tokens].double() * 24**0.5).to(dtype))


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({key: x for key, x in {**data, **keys}.items() if x != "gone"}))


def test_gemma_3_as_it_was_published(tmp_path: Path) -> None:
    options = {**TINY, "num_hidden_layers": 6, "sliding_window": 4, "rope_parameters": {FULL: ROPES[FULL]}}
    theirs = saved("Gemma3TextConfig", "Gemma3ForCausalLM", json.loads(json.dumps(options)), tmp_path)
    changed(
        tmp_path, rope_parameters="gone", layer_types="gone", sliding_window_pattern=6, rope_theta=900.0,
        rope_local_base_freq=10000.0, rope_scaling={"rope_type": "linear", "factor": 4.0},
        hidden_act="gelu_pytorch_tanh", cache_implementation="hybrid",
    )  # fmt: skip
    check_logits(theirs, tmp_path)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"layer_types": [FULL, "chunked_attention", FULL]}, "each full_attention or sliding_attention"),
        ({"layer_types": [FULL]}, "a list of 3"),
        ({"sliding_window": None}, "but sliding_window=null"),
        ({"sliding_window": 0}, "sliding_window=0; it must be a whole number"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping=50.0"),
        ({"hidden_act": "silu"}, "hidden_act='silu', but hidden_activation says something else"),
        ({"rope_parameters": {"rope_theta": 3.0}}, "it must have full_attention and sliding_attention only"),
        ({"final_logit_softcapping": "1"}, "final_logit_softcapping='1'; it must be a number"),
        ({"query_pre_attn_scalar": 0}, "query_pre_attn_scalar=0.0; it must be above 0"),
        ({"rope_parameters": {FULL: [1]}}, "it and rope_scaling must be objects"),
        ({"hidden_act": ["silu"]}, "but hidden_activation says something else"),
        ({"num_hidden_layers": 10**9, "layer_types": "gone"}, "config.json: layers=1000000000 must be at most 4096"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    saved("Gemma3TextConfig", "Gemma3ForCausalLM", TINY, tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)
