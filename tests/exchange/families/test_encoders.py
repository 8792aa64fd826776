"""Checkpoints of encoders of BERT's line: in, the same numbers, and out again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.model.batch import Batch
from transduce.model.layout import Marks, dense
from transduce.testing.families import check_bytes, check_logits, check_padding, ids, saved

pytest.importorskip("transformers")

BERT = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip
ALBERT = {**BERT, "embedding_size": 10}
DISTILBERT = {
    "dim": 24, "hidden_dim": 40, "n_layers": 3, "n_heads": 4, "vocab_size": 53, "max_position_embeddings": 64,
    "initializer_range": 0.2,
}  # fmt: skip
UNTIED = {"tie_word_embeddings": False}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("Bert", "Model", BERT),
    ("Bert", "ForMaskedLM", {**BERT, "hidden_act": "relu", "layer_norm_eps": 1e-3}),
    ("Bert", "ForMaskedLM", {**BERT, **UNTIED, "hidden_act": "gelu_new", "type_vocab_size": 1}),
    ("Bert", "ForPreTraining", {**BERT, "hidden_act": "silu", "type_vocab_size": 3}),
    ("Roberta", "Model", BERT),
    ("Roberta", "ForMaskedLM", {**BERT, "hidden_act": "relu", "type_vocab_size": 1}),
    ("Roberta", "ForMaskedLM", {**BERT, **UNTIED, "pad_token_id": 1, "layer_norm_eps": 1e-3}),
    ("XLMRoberta", "Model", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}),
    ("XLMRoberta", "ForMaskedLM", BERT),
    ("Camembert", "Model", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}),
    ("Camembert", "ForMaskedLM", {**BERT, "hidden_act": "relu"}),
    ("MPNet", "Model", {**BERT, "pad_token_id": 1}),
    ("MPNet", "ForMaskedLM", {**BERT, "pad_token_id": 1, "hidden_act": "relu", "layer_norm_eps": 1e-3}),
    ("MPNet", "ForMaskedLM", {**BERT, **UNTIED, "pad_token_id": 1, "num_hidden_layers": 1}),
    ("DistilBert", "Model", DISTILBERT),
    ("DistilBert", "ForMaskedLM", {**DISTILBERT, "activation": "relu", "sinusoidal_pos_embds": True}),
    ("DistilBert", "ForMaskedLM", {**DISTILBERT, **UNTIED}),
    ("Albert", "Model", ALBERT),
    ("Albert", "ForMaskedLM", {**ALBERT, "num_hidden_layers": 5, "num_hidden_groups": 2, "hidden_act": "relu"}),
    ("Albert", "ForMaskedLM", {**ALBERT, **UNTIED, "num_hidden_groups": 3, "type_vocab_size": 1}),
    ("Albert", "ForPreTraining", {**ALBERT, "num_hidden_layers": 4, "layer_norm_eps": 1e-3}),
    ("Electra", "Model", {**BERT, "embedding_size": 10}),
    ("Electra", "Model", {**BERT, "embedding_size": 24}),
    ("Electra", "ForPreTraining", {**BERT, "embedding_size": 10, "hidden_act": "relu", "layer_norm_eps": 1e-3}),
    ("Electra", "ForMaskedLM", {**BERT, "embedding_size": 10, "hidden_act": "relu", "type_vocab_size": 1}),
    ("Electra", "ForMaskedLM", {**BERT, "embedding_size": 24}),
    ("Electra", "ForMaskedLM", {**BERT, **UNTIED, "embedding_size": 10}),
]
IDS = [f"{name}{kind}-{i}" for i, (name, kind, _) in enumerate(CASES)]


def made(name: str, kind: str, options: dict[str, Any], folder: Path, **how: Any) -> Any:
    """A random model whose bias that nothing computes with, where there is one, repeats the one that is used."""
    theirs = saved(f"{name}Config", f"{name}{kind}", options, folder, **how)
    parameters = dict(theirs.named_parameters())
    for used in [name for name in parameters if name.endswith("decoder.bias")]:
        unused = parameters.get(used.replace("decoder.bias", "bias"))
        if unused is not None:
            unused.data = parameters[used].data.clone()
            theirs.save_pretrained(folder, **how)
    return theirs


@pytest.fixture(params=CASES, ids=IDS)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(*request.param, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", ["Bert", "Albert"])
def test_pairs_of_sentences(name: str, tmp_path: Path) -> None:
    theirs = made(name, "ForPreTraining", BERT if name == "Bert" else ALBERT, tmp_path)
    model: Any = checkpoint.read(tmp_path).model
    tokens = ids(theirs)
    types = (torch.arange(tokens.shape[1]) > 7).long().expand_as(tokens)
    layout = dense(*tokens.shape)._replace(marks=Marks(types))
    hidden, head = model.features(Batch(tokens, layout, tokens)), model.heads["pair"]
    found = theirs(tokens, token_type_ids=types)
    pair = found.seq_relationship_logits if name == "Bert" else found.sop_logits
    torch.testing.assert_close(model.head(hidden), found.prediction_logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(head(hidden, layout), pair, atol=1e-4, rtol=0)
    for y in (pair, head(hidden, layout)):
        y.square().sum().backward()
    theirs_grad = (theirs.bert.pooler.dense if name == "Bert" else theirs.albert.pooler).weight.grad
    torch.testing.assert_close(head.dense.weight.grad, theirs_grad, atol=1e-4, rtol=1e-3)


def test_a_head_for_pairs_alone_and_no_pooler_at_all(tmp_path: Path) -> None:
    import transformers

    theirs = made("Bert", "ForNextSentencePrediction", BERT, tmp_path / "pairs")
    found = checkpoint.read(tmp_path / "pairs")
    model: Any = found.model
    layout = dense(*ids(theirs).shape)
    hidden = model.features(Batch(ids(theirs), layout, ids(theirs)))
    torch.testing.assert_close(model.heads["pair"](hidden, layout), theirs(ids(theirs)).logits, atol=1e-4, rtol=0)
    checkpoint.write(model, found.config, found.vocab_size, tmp_path / "again")
    assert load_file(tmp_path / "again/model.safetensors").keys() == dict(theirs.named_parameters()).keys()
    config = transformers.BertConfig(**BERT)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    found = checkpoint.read(tmp_path / "bare")
    assert not found.model.heads
    checkpoint.write(found.model, found.config, found.vocab_size, tmp_path / "out")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("bare", "out"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_names_of_old_and_what_a_class_leaves_unused(tmp_path: Path) -> None:
    theirs = made("Bert", "ForPreTraining", BERT, tmp_path)
    expected = theirs(ids(theirs)).prediction_logits
    tensors = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
        for name, x in tensors.items()
    }
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(64)[None]
    save_file(old, tmp_path / "model.safetensors")
    changed(tmp_path, architectures=["BertForMaskedLM"])
    found = checkpoint.read(tmp_path)
    hidden = found.model.features(Batch(ids(theirs), dense(*ids(theirs).shape), ids(theirs)))
    torch.testing.assert_close(found.model.head(hidden), expected, atol=1e-4, rtol=0)
    checkpoint.write(found.model, found.config, found.vocab_size, tmp_path / "out")
    again = load_file(tmp_path / "out/model.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    save_file({**old, "bert.embeddings.LayerNorm.weight": torch.zeros(24)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="the same tensor under two names"):
        checkpoint.read(tmp_path)


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize(
    ("name", "keys", "told"),
    [
        ("Bert", {"hidden_act": "mish"}, "hidden_act='mish', which is not known"),
        ("Bert", {"is_decoder": True}, "is_decoder=True, an encoder used as a decoder"),
        ("Bert", {"position_embedding_type": "relative_key"}, "only 'absolute' is known"),
        ("Bert", {"num_attention_heads": 5}, "heads=5 does not divide"),
        ("Bert", {"num_hidden_layers": 4}, "lacks bert.encoder.layer.3"),
        ("Bert", {"architectures": ["BertForMultipleChoice"]}, "BertForMultipleChoice"),
        ("Bert", {"architectures": ["BertForTokenClassification"]}, "lacks classifier.weight"),
        ("Bert", {"window": 7}, "window=7"),
        ("Roberta", {"pad_token_id": None}, "pad_token_id=None"),
        ("Roberta", {"pad_token_id": 63}, "whole number from 0 to 62"),
        ("Roberta", {"max_position_embeddings": 10**6}, "is .64, 24., but config.json asks for"),
        (
            "DistilBert",
            {"n_layers": 2},
            "beyond what this model has, transformer.layer.2.* fewer layers than there are .3",
        ),
        ("Albert", {"embedding_size": 24}, "embedding_size=24, the width"),
        ("Albert", {"inner_group_num": 2}, "inner_group_num=2"),
        ("Albert", {"num_hidden_groups": 9}, "a group needs a layer"),
        ("Albert", {"num_hidden_layers": 10**9}, "config.json: times=1000000000 must be at most 4096"),
        ("Electra", {"embedding_size": 12}, "is .53, 10., but config.json asks for .53, 12."),
    ],
)
def test_what_is_not_known_is_named(name: str, keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    options = {"DistilBert": DISTILBERT, "Bert": BERT, "Roberta": BERT}.get(name, ALBERT)
    made(name, "Model", options, tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("Bert", "ForMaskedLM"), ("Electra", "ForPreTraining")])
def test_missing_and_surplus_tensors_are_named(name: str, kind: str, tmp_path: Path) -> None:
    made(name, kind, BERT, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(one for one in tensors if "predictions" in one and one.endswith("dense.bias"))
    save_file({one: x for one, x in tensors.items() if one != lost}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=f"lacks {lost}"):
        checkpoint.read(tmp_path)
    save_file({**tensors, "adapter.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"beyond what this model has, adapter\.weight"):
        checkpoint.read(tmp_path)
