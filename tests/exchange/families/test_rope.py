"""Every kind of rotary scaling, against transformers: frequencies, whole models, and what neither can say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.exchange.families.rope import inner, longest, written
from transduce.exchange.files import Files
from transduce.model.architecture import ModelConfig
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.positions.position import Queries
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.scaling import LongRopeScalingConfig
from transduce.testing.families import TOLERANCE, check_bytes, check_greedy, check_logits, check_padding, ids, saved

pytest.importorskip("transformers")

LLAMA = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 53,
    "max_position_embeddings": 64, "num_key_value_heads": 1, "initializer_range": 0.2,
}  # fmt: skip
ORIGINAL = {"original_max_position_embeddings": 8, "rope_theta": 50.0}
ONE_HEAD = Queries(3, 8)
SHORT, LONG = [1.0, 1.05, 1.3, 1.7], [1.0, 1.9, 4.0, 7.5]
ROPES: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 50.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **ORIGINAL,
               "original_max_position_embeddings": 40, "rope_theta": 3.0},
    "yarn": {"rope_type": "yarn", "factor": 8.0, **ORIGINAL},
    "yarn-slow": {"rope_type": "yarn", "factor": 4.0, **ORIGINAL, "beta_fast": 3.0, "beta_slow": 0.1},
    "yarn-ramp": {"rope_type": "yarn", "factor": 8.0, **ORIGINAL, "beta_fast": 2.0, "beta_slow": 0.05,
                  "truncate": False, "attention_factor": 1.3},
    "yarn-deepseek": {"rope_type": "yarn", "factor": 8.0, **ORIGINAL, "mscale": 0.7, "mscale_all_dim": 1.1},
    "yarn-half": {"rope_type": "yarn", "factor": 8.0, **ORIGINAL, "mscale": 0.7},
    "longrope": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, "factor": 2.0,
                 "original_max_position_embeddings": 32},
    "longrope-gain": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, "attention_factor": 1.2,
                      "original_max_position_embeddings": 20, "rope_theta": 50.0},
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 50.0, "factor": 2.0},
}  # fmt: skip


@pytest.fixture(params=ROPES, ids=str)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return saved("LlamaConfig", "LlamaForCausalLM", {**LLAMA, "rope_parameters": dict(ROPES[request.param])}, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_on_either_side_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_greedy_decoding_token_by_token_agrees(theirs: Any, tmp_path: Path) -> None:
    check_greedy(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", ROPES)
def test_frequencies_and_gain_are_theirs(name: str) -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = ROPES[name]
    for tokens in (1, 64, 65, 200):  # 64 are those of training where nothing else is said
        config = LlamaConfig(**{**LLAMA, "rope_parameters": dict(rope)})
        expected, gain = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu", seq_len=tokens)
        scaling = inner(rope, 64, 10_000.0).scaling
        assert scaling is not None
        if isinstance(scaling, LongRopeScalingConfig):
            scaling = replace(scaling, extended=tokens > scaling.original)
        found = scaling.frequencies(8, rope.get("rope_theta", 10_000.0), 256).expand(256, 4)[tokens - 1]
        torch.testing.assert_close(found.float(), expected, rtol=1e-5, atol=1e-8)
        assert scaling.gain == pytest.approx(gain)


@pytest.mark.parametrize("name", ROPES)
def test_what_is_written_reads_as_the_same(name: str) -> None:
    places = inner(ROPES[name], 64, 10_000.0)
    again = inner(written(places), longest(places), 1.0)
    assert again == places


def test_dynamic_scaling_token_by_token_beyond_the_texts_of_training(tmp_path: Path) -> None:
    """Theirs with a cache, from a prompt within them; and what is read at once is what is read token by token."""
    options = {**LLAMA, "max_position_embeddings": 8, "rope_parameters": ROPES["dynamic"]}
    theirs = saved("LlamaConfig", "LlamaForCausalLM", options, tmp_path)
    check_greedy(theirs, tmp_path)
    found, tokens, logits, cache = checkpoint.read(tmp_path), ids(theirs), list[torch.Tensor](), None
    with torch.no_grad():
        for part in (tokens[:, :5], *tokens[:, 5:].split(1, 1)):
            given = theirs(part, past_key_values=cache, use_cache=True)
            logits, cache = [*logits, given.logits], given.past_key_values
        ours = found.model.head(found.model.step(tokens, dense(*tokens.shape), None)[0])
    torch.testing.assert_close(ours, torch.cat(logits, 1), atol=TOLERANCE, rtol=0)
    check_bytes(theirs, tmp_path, tmp_path / "out")


def of(config: ModelConfig, found: checkpoint.Checkpoint, folder: Path) -> Model:
    model = config.assemble(found.vocab_size)
    found.family.table(config).load(model, Files(folder))
    return model.eval()


def test_longrope_of_long_texts_is_a_choice_of_the_model(tmp_path: Path) -> None:
    rope = {**ROPES["longrope"], "original_max_position_embeddings": 9}
    theirs = saved("LlamaConfig", "LlamaForCausalLM", {**LLAMA, "rope_parameters": rope}, tmp_path)
    found, tokens = checkpoint.read(tmp_path), ids(theirs)
    assert isinstance(found.config.positions, RotaryConfig)
    assert isinstance(found.config.positions.scaling, LongRopeScalingConfig)
    assert found.config.positions.build(24, ONE_HEAD).limit == 9
    scaling = replace(found.config.positions.scaling, extended=True)
    config = replace(found.config, positions=replace(found.config.positions, scaling=scaling))
    model = of(config, found, tmp_path)
    with torch.no_grad():
        expected = theirs(tokens).logits
        ours = model.head(model.step(tokens, dense(*tokens.shape), None)[0])
        torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)
        checkpoint.write(model, config, found.vocab_size, tmp_path / "out", found.family)
        again = type(theirs).from_pretrained(tmp_path / "out", attn_implementation="eager")
        short = again(tokens[:, :5]).logits  # of short texts too
        torch.testing.assert_close(short, ours[:, :5], atol=TOLERANCE, rtol=0)
    assert checkpoint.read(tmp_path / "out").config.positions.build(24, ONE_HEAD).limit == 64


def test_rope_scaling_as_it_was_before(tmp_path: Path) -> None:
    theirs = saved("LlamaConfig", "LlamaForCausalLM", {**LLAMA, "rope_parameters": ROPES["llama3"]}, tmp_path)
    path = tmp_path / "config.json"
    data = json.loads(path.read_text())
    rope = data.pop("rope_parameters")
    base = rope.pop("rope_theta")
    rope["type"] = rope.pop("rope_type")
    path.write_text(json.dumps({**data, "rope_theta": base, "rope_scaling": rope}))
    check_logits(theirs, tmp_path)


@pytest.mark.parametrize(
    ("rope", "told"),
    [
        ({"rope_type": ["yarn"]}, "rope_type=..yarn..; known here are default, linear, dynamic, yarn"),
        ({"rope_type": "yarn", "factor": 2.0, "beta_fast": 1.0, "beta_slow": 2.0}, "beta_fast=1.0 must be at least"),
        ({"rope_type": "yarn", "factor": -2.0}, "factor=-2.0 must be above 0"),
        ({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0, 3.0]}, "one number above 0 for each"),
        ({"rope_type": "longrope", "short_factor": "1", "long_factor": [2.0]}, "short_factor='1'; it must be a list"),
        ({"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 1}, "high=1.0 must be above"),
        ({"rope_type": "yarn", "factor": float("inf")}, "factor=inf; it must be a number"),
        ({"rope_type": "linear", "factor": float("nan")}, "factor=nan; it must be a number"),
        ({"rope_theta": -1.0}, "base=-1.0 must be above 0"),
        ({"rope_type": "dynamic", "factor": 1e9}, "the most that is read here"),
        ({"rope_type": "yarn", "factor": 2.0, "short_factor": [1.0]}, "short_factor=.1.0."),
    ],
)
def test_what_is_not_known_is_named(rope: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        inner(rope, 64, 10_000.0)
