"""DeBERTa of every option that changes the numbers: in, the same numbers, and out again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.testing.families import check_bytes, check_logits, check_padding, ids, saved

pytest.importorskip("transformers")

PLAIN = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 32, "initializer_range": 0.2,
}  # fmt: skip
BOTH = {**PLAIN, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
V3 = {
    **BOTH, "position_biased_input": False, "share_att_key": True, "position_buckets": 6, "norm_rel_ebd": "layer_norm",
}  # fmt: skip
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("DebertaV2", "ForMaskedLM", V3),
    ("DebertaV2", "ForMaskedLM", {**V3, "conv_kernel_size": 3, "conv_act": "gelu", "max_relative_positions": 12}),
    ("DebertaV2", "Model", {**BOTH, "type_vocab_size": 2, "max_relative_positions": 5, "hidden_act": "relu"}),
    ("DebertaV2", "ForMaskedLM", {**BOTH, "conv_kernel_size": 5, "num_hidden_layers": 1, "pos_att_type": "c2p"}),
    ("DebertaV2", "ForMaskedLM", {**BOTH, "embedding_size": 16, "pos_att_type": ["p2c"], "layer_norm_eps": 1e-3}),
    ("DebertaV2", "Model", {**V3, "share_att_key": False, "pos_att_type": [], "norm_rel_ebd": "none"}),
    ("DebertaV2", "ForMaskedLM", {**PLAIN, "pos_att_type": ["c2p"], "embedding_size": 16}),
    ("DebertaV2", "Model", {**PLAIN, "position_biased_input": False, "conv_kernel_size": 3}),
    ("Deberta", "ForMaskedLM", {**BOTH, "position_biased_input": False}),
    ("Deberta", "Model", {**BOTH, "type_vocab_size": 2, "max_relative_positions": 5, "embedding_size": 16}),
    ("Deberta", "ForMaskedLM", {**BOTH, "pos_att_type": "c2p", "tie_word_embeddings": False}),
    ("Deberta", "ForMaskedLM", {**BOTH, "pos_att_type": "p2c", "hidden_act": "gelu_new"}),
    ("Deberta", "ForMaskedLM", {**PLAIN, "embedding_size": 16, "tie_word_embeddings": False}),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def one_bias(theirs: Any) -> None:
    """An untied head has two, of which nothing computes with one."""
    if getattr(theirs, "cls", None) is not None:
        theirs.cls.predictions.bias.data.copy_(theirs.cls.predictions.decoder.bias.data)


def made(name: str, model: str, options: dict[str, Any], folder: Path) -> Any:
    return saved(f"{name}Config", f"{name}{model}", options, folder, change=one_bias)


@pytest.fixture(params=CASES, ids=IDS)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(*request.param, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", ["DebertaV2", "Deberta"])
def test_the_newer_head_is_the_same_under_other_names(name: str, tmp_path: Path) -> None:
    theirs = made(name, "ForMaskedLM", {**BOTH, "legacy": False}, tmp_path)
    check_logits(theirs, tmp_path)
    found = checkpoint.read(tmp_path)
    checkpoint.write(found.model, found.config, found.vocab_size, tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "out"))
    assert torch.equal(before["lm_predictions.lm_head.bias"], after["cls.predictions.bias"])
    assert len(before) == len(after)
    again = type(theirs).from_pretrained(tmp_path / "out")
    torch.testing.assert_close(again(ids(theirs)).logits, theirs(ids(theirs)).logits)


@pytest.mark.parametrize("head", ["ForMaskedLM", "Model"])
def test_as_published_the_tensors_tell_which_head_there_is(head: str, tmp_path: Path) -> None:
    made("DebertaV2", head, {**V3, "legacy": False}, tmp_path)
    found = checkpoint.read(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    if head == "ForMaskedLM":  # the head of the generator's discriminator is no part of this model
        save_file({**tensors, "mask_predictions.dense.weight": torch.zeros(24, 24)}, tmp_path / "model.safetensors")
    path = tmp_path / "config.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({k: x for k, x in data.items() if k not in ("architectures", "legacy")}))
    assert checkpoint.read(tmp_path).config == found.config


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"pos_att_type": ["c2p", "p2p"]}, r"pos_att_type=\['c2p', 'p2p'\]"),
        ({"pos_att_type": {"c2p": 1}}, "must be a list of c2p and p2c"),
        ({"norm_rel_ebd": "batch_norm"}, "norm_rel_ebd='batch_norm'"),
        ({"relative_attention": False}, "norm_rel_ebd, a norm of distances, but no relative_attention"),
        ({"conv_kernel_size": 4}, "conv_kernel_size=4; an even one"),
        ({"conv_kernel_size": 3}, "lacks deberta.encoder.conv"),
        ({"conv_groups": 2}, "conv_groups=2"),
        ({"position_buckets": 64}, "leaves nothing to the wider half of buckets=64"),
        ({"position_buckets": -2}, "position_buckets=-2"),
        ({"position_buckets": 8}, "rel_embeddings.weight in .* is .12, 24., but config.json asks for .16, 24."),
        ({"share_att_key": False}, "lacks deberta.encoder.layer.0.attention.self.pos_key_proj.weight"),
        ({"legacy": False, "embedding_size": 8}, "legacy=false, whose head is as wide as the model"),
        ({"max_relative_positions": "5"}, "max_relative_positions='5'"),
        ({"talking_head": True}, "talking_head=True"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    made("DebertaV2", "ForMaskedLM", V3, tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


def test_missing_and_surplus_tensors_are_named(tmp_path: Path) -> None:
    made("DebertaV2", "ForMaskedLM", V3, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    extra = {**tensors, "deberta.encoder.layer.1.attention.self.pos_key_proj.weight": torch.zeros(24, 24)}
    save_file(extra, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"beyond what this model has, deberta.encoder.layer.1.*pos_key_proj"):
        checkpoint.read(tmp_path)
    save_file({k: x for k, x in tensors.items() if "LayerNorm" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks deberta.embeddings.LayerNorm.weight"):
        checkpoint.read(tmp_path)
