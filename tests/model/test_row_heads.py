"""Heads of rows: those of the classifiers of transformers, dropout, and more than one head in a model."""

from typing import Any

import pytest
import torch
from torch import nn

from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.heads.head import PooledHead, TokenHead
from transduce.model.heads.pooled import RowHead
from transduce.model.layout import dense, right_padded
from transduce.model.norms.norm import LayerNorm
from transduce.plain_yaml import read_file

ENCODER = {
    "vocab_size": 31, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 16,
    "max_position_embeddings": 40, "pad_token_id": 0, "num_labels": 3,
}  # fmt: skip
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {  # class: its options, our head, its maps
    "Bert": (ENCODER, {"pool": "first", "hidden": True, "dropout": 0.1}, ("bert.pooler.dense", "classifier")),
    "Roberta": (
        {**ENCODER, "max_position_embeddings": 41},
        {"pool": "first", "hidden": True, "pool_dropout": 0.1, "dropout": 0.1},
        ("classifier.dense", "classifier.out_proj"),
    ),
    "DistilBert": (
        {"vocab_size": 31, "dim": 12, "n_layers": 1, "n_heads": 3, "hidden_dim": 16, "num_labels": 3},
        {"pool": "first", "hidden": True, "activation": "relu", "dropout": 0.2},
        ("pre_classifier", "classifier"),
    ),
    "Electra": (
        {**ENCODER, "embedding_size": 8},
        {"pool": "first", "hidden": True, "activation": "gelu", "pool_dropout": 0.1, "dropout": 0.1},
        ("classifier.dense", "classifier.out_proj"),
    ),
    "GPT2": (
        {"vocab_size": 31, "n_embd": 12, "n_layer": 1, "n_head": 3, "n_positions": 40, "pad_token_id": 0,
         "num_labels": 3},
        {"pool": "last", "bias": False},
        ("", "score"),
    ),
    "Llama": ({**ENCODER, "num_labels": 5}, {"pool": "last", "bias": False}, ("", "score")),
    "Bart": (
        {
            "vocab_size": 31, "d_model": 12, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 3,
            "decoder_attention_heads": 3, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_labels": 3,
            "max_position_embeddings": 40, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1,
            "decoder_start_token_id": 2,
        },
        {"pool": "last", "hidden": True, "dropout": 0.1},
        ("classification_head.dense", "classification_head.out_proj"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_classifier_of_transformers(name: str) -> None:
    """Rows of 9 tokens and of 5, padded on the right."""
    import transformers

    options, head, (dense_map, output) = CASES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**options)
    theirs = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    layout = right_padded(torch.tensor([9, 5]), 9)
    ids = torch.randint(3, 31, (2, 9)).masked_fill(~layout.valid, 0)
    ids[0, 8] = ids[1, 4] = 2  # what ends a text, of which BART takes the last
    given = theirs(ids, attention_mask=layout.valid.long(), output_hidden_states=True)
    hidden = (given.decoder_hidden_states if name == "Bart" else given.hidden_states)[-1]
    config = ClassesHeadConfig(**{"classes": options["num_labels"], **head, "pool": (head["pool"],)})
    ours = config.build(31, 12, LayerNorm(), None)
    assert isinstance(ours, RowHead)
    ours.eval()
    for mine, other in ((ours.dense, dense_map), (ours.output, output)):
        if mine is None:
            assert not other
        else:
            mine.load_state_dict(theirs.get_submodule(other).state_dict())
    torch.testing.assert_close(ours(hidden, layout), given.logits, atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_alone_and_where_it_is_said() -> None:
    torch.manual_seed(0)
    x, layout = torch.ones(1, 4, 1000), dense(1, 4)
    for key in ("dropout", "pool_dropout"):
        data = {"classes": 1000, "hidden": key == "dropout" and 1000, key: 0.25}
        head = from_data(ClassesHeadConfig, data).build(5, 1000, LayerNorm(), None)
        assert isinstance(head, RowHead)
        assert head.output is not None
        with torch.no_grad():
            head.output.weight.copy_(torch.eye(1000))
            head.output.bias.zero_()
            if head.dense is not None:
                nn.init.zeros_(head.dense.weight)
                nn.init.constant_(head.dense.bias, 10.0)  # tanh(10) = 1
        y = head.train()(x, layout)
        dropped = (y.abs() < 1e-3).double().mean().item()
        assert dropped == pytest.approx(0.25, abs=0.05), key
        assert y.max().item() == pytest.approx(1 / 0.75, rel=1e-3)
        assert head.eval()(x, layout).min().item() == pytest.approx(1.0, rel=1e-3)


SMALL: dict[str, Any] = {"width": 12, "layers": 1, "mixer": {"heads": 3}, "feedforward": {"hidden": 8}}
HEADS = {
    "pair": {"kind": "classes", "classes": 2, "pool": "first", "hidden": True},
    "value": {"kind": "projection", "size": 1, "bias": True},
    "again": {"kind": "linear", "bias": True},
}


@pytest.mark.parametrize("kind", [DecoderConfig, EncoderConfig, EncoderDecoderConfig])
def test_a_model_has_several_heads(kind: type[ModelConfig]) -> None:
    config = from_data(kind, {**SMALL, "heads": HEADS})
    assert from_data(kind, to_data(config)) == config
    assert isinstance(hash(config), int)
    model, plain = config.build(23), from_data(kind, SMALL).build(23)
    ids, layout = torch.randint(0, 23, (2, 7)), dense(2, 7)
    hidden = model.features(model.given(ids, layout, ids, layout))
    pair, value, again = (model.heads[name] for name in HEADS)
    assert isinstance(pair, PooledHead)
    assert isinstance(again, TokenHead)
    assert [tuple(x.shape) for x in (pair(hidden, layout), value(hidden), again(hidden))] == [
        (2, 2),
        (2, 7, 1),
        (2, 7, 23),
    ]
    assert not any(p.any() for name, p in model.heads.named_parameters() if name.endswith("bias"))
    names = [name for name, _ in model.named_parameters()]
    assert names[: len(list(plain.parameters()))] == [name for name, _ in plain.named_parameters()]
    for name, parameter in plain.named_parameters():  # heads beside it do not change what a model starts from
        assert torch.equal(parameter, model.get_parameter(name)), name
    assert set(model.state_dict()) - set(plain.state_dict()) == {
        *(f"heads.pair.{part}.{x}" for part in ("dense", "output") for x in ("weight", "bias")),
        "heads.value.out.weight", "heads.value.out.bias", "heads.again.weight", "heads.again.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("heads", "says"),
    [
        ("{pair: classes}", "how many classes"),
        ("{pair: none}", "heads.pair has the kind none"),
        ("{values: numbers}", "heads.values cannot have that name"),
        ("{a-b: numbers}", "heads.a-b cannot have that name"),
        ("{pair: {kind: numbers, siz: 3}}", "did you mean `heads.pair.size`"),
        ("{pair: {kind: vectr}}", "did you mean `vector`"),
        ("{pair: {kind: vector, pool: [mean, lst]}}", "did you mean `last`"),
        ("{pair: {kind: vector, pool: []}}", "pool is empty"),
        ("{pair: {kind: numbers, size: 0}}", "size=0 must be at least 1"),
        ("{pair: {kind: classes, classes: 0}}", "classes=0 must be at least 1"),
        ("{pair: {kind: classes, classes: 2, hidden: -1}}", "hidden=-1 must be at least 0"),
        ("{pair: {kind: classes, classes: 2, dropout: 1.0}}", "dropout=1.0 is not a probability"),
        ("8", "did you mean `model.mixer.heads`"),
    ],
)
def test_heads_that_cannot_be_are_refused_in_a_sentence(heads: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        from_data(DecoderConfig, {**SMALL, **read_file(f"heads: {heads}", "a file")}).build(23)


def test_true_is_the_width_and_a_number_that_many() -> None:
    for hidden, size in ((True, 12), (7, 7), (False, None), (0, None)):
        config = from_data(ClassesHeadConfig, {"classes": 2, "pool": ["mean", "max"], "hidden": hidden})
        head = config.build(5, 12, LayerNorm(), None)
        assert isinstance(head, RowHead)
        assert (None if head.dense is None else head.dense.out_features) == size
        assert head.output is not None
        assert head.output.in_features == (size or 24)
