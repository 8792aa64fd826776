"""T5, BART and their line, of every option that changes the numbers: in, the same numbers, and out again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from transduce.config import from_data, merge, to_data
from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.exchange.families.family import Fields, families
from transduce.model.architecture import EncoderDecoderConfig
from transduce.testing.families import check_bytes, check_greedy, check_logits, check_padding, saved

pytest.importorskip("transformers")

T5 = {
    "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4, "vocab_size": 53,
    "decoder_start_token_id": 0, "initializer_factor": 1.0,
}  # fmt: skip
NARROW = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 11}
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def untied(theirs: Any) -> None:
    """Their head gets a table of its own, which T5 knows by the file alone."""
    theirs.lm_head.weight = torch.nn.Parameter(torch.randn_like(theirs.lm_head.weight))
    theirs.all_tied_weights_keys.pop("lm_head.weight")


def biased(theirs: Any) -> None:
    theirs.final_logits_bias.normal_()


def alike(theirs: Any) -> None:
    """The table that stands beside those of both sides, and that nothing computes with, repeats the first of them."""
    model = getattr(theirs, "model", theirs)
    with torch.no_grad():
        model.shared.weight.copy_(model.encoder.embed_tokens.weight)


def repeated(theirs: Any) -> None:
    biased(theirs)
    alike(theirs)


BART = {
    "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "vocab_size": 53, "max_position_embeddings": 30, "init_std": 0.3,
    "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
UNEVEN = {
    "encoder_layers": 1, "decoder_layers": 3, "encoder_attention_heads": 3, "decoder_ffn_dim": 36,
    "scale_embedding": True, "activation_function": "relu",
}  # fmt: skip
SWITCH = {
    **T5, "num_layers": 4, "num_decoder_layers": 3, "num_experts": 4, "num_sparse_encoder_layers": 2,
    "num_sparse_decoder_layers": 1,
}  # fmt: skip
APART = {"share_encoder_decoder_embeddings": False}

WRITERS: list[tuple[str, dict[str, Any], Any]] = [
    ("T5ForConditionalGeneration", T5, None),
    ("T5ForConditionalGeneration", {**T5, **NARROW, "d_kv": 5, "layer_norm_epsilon": 1e-3}, None),
    ("T5ForConditionalGeneration", {**T5, **GATED, "num_decoder_layers": 1}, untied),
    ("T5ForConditionalGeneration", {**T5, **GATED, "feed_forward_proj": "gated-silu"}, None),
    ("MT5ForConditionalGeneration", {**T5, **NARROW}, untied),
    ("MT5ForConditionalGeneration", {**T5, "feed_forward_proj": "relu"}, None),
    ("BartForConditionalGeneration", BART, biased),
    ("BartForConditionalGeneration", {**BART, **UNEVEN}, None),
    ("BartForConditionalGeneration", {**BART, "tie_word_embeddings": False}, repeated),
    ("MBartForConditionalGeneration", BART, biased),
    ("MBartForConditionalGeneration", {**BART, **UNEVEN, "tie_word_embeddings": False}, repeated),
    ("PegasusForConditionalGeneration", BART, biased),
    ("PegasusForConditionalGeneration", {**BART, **UNEVEN, "tie_word_embeddings": False}, repeated),
    ("MarianMTModel", {**BART, "activation_function": "swish", "scale_embedding": True}, biased),
    ("MarianMTModel", {**BART, **UNEVEN, **APART, "decoder_vocab_size": 47}, biased),
    ("MarianMTModel", {**BART, **APART, "tie_word_embeddings": False}, biased),
    ("M2M100ForConditionalGeneration", BART, None),
    ("M2M100ForConditionalGeneration", {**BART, **UNEVEN, "tie_word_embeddings": False, "pad_token_id": 1}, alike),
    ("SwitchTransformersForConditionalGeneration", SWITCH, None),
    (
        "SwitchTransformersForConditionalGeneration",
        {
            **SWITCH,
            "expert_capacity": 2,
            "router_bias": True,
            "tie_word_embeddings": False,
            "dense_act_fn": "gelu",
            "num_sparse_encoder_layers": 4,
            "num_sparse_decoder_layers": 0,
        },
        alike,
    ),
]
BARE: list[tuple[str, dict[str, Any], Any]] = [
    ("T5Model", {**T5, **GATED, "num_decoder_layers": 3}, None),
    ("T5EncoderModel", {**T5, **NARROW}, None),
    ("MT5EncoderModel", {**T5, **GATED}, None),
    ("BartModel", {**BART, **UNEVEN}, None),
    ("MBartModel", BART, None),
    ("PegasusModel", BART, None),
    ("MarianModel", BART, None),
    ("M2M100Model", {**BART, "scale_embedding": False}, None),
    ("SwitchTransformersModel", {**SWITCH, "num_sparse_decoder_layers": 5}, None),
    ("SwitchTransformersEncoderModel", {**SWITCH, "expert_capacity": 1}, None),
    ("MarianModel", {**BART, **APART, "decoder_vocab_size": 47}, None),
]


def config_of(model: str) -> str:
    stems = ("T5", "MT5", "Bart", "MBart", "Pegasus", "Marian", "M2M100", "SwitchTransformers")
    return next(f"{stem}Config" for stem in stems if model.startswith(stem))


def made(model: str, options: dict[str, Any], change: Any, folder: Path) -> Any:
    return saved(config_of(model), model, options, folder, **({} if change is None else {"change": change}))


def named(cases: list[tuple[str, dict[str, Any], Any]]) -> list[str]:
    return [f"{name}-{i}" for i, (name, *_) in enumerate(cases)]


@pytest.fixture(params=WRITERS + BARE, ids=named(WRITERS + BARE))
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(*request.param, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_of_the_source_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    check_padding(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("case", WRITERS, ids=named(WRITERS))
def test_greedy_decoding_token_by_token_agrees(case: tuple[str, dict[str, Any], Any], tmp_path: Path) -> None:
    check_greedy(made(*case, tmp_path), tmp_path)


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


HOSTILE = [
    ("T5ForConditionalGeneration", {"feed_forward_proj": "plain-gelu"}, "feed_forward_proj='plain-gelu'"),
    ("T5ForConditionalGeneration", {"dense_act_fn": "mish"}, "dense_act_fn='mish', which is not known"),
    ("T5ForConditionalGeneration", {"is_gated_act": True}, "lacks .*DenseReluDense.wi_0"),
    ("T5ForConditionalGeneration", {"num_decoder_layers": 3}, "lacks decoder.block.2"),
    ("T5ForConditionalGeneration", {"num_layers": 1}, "beyond what this model has, encoder.block.1"),
    ("T5ForConditionalGeneration", {"relative_attention_num_buckets": 2}, "buckets=2"),
    ("T5ForConditionalGeneration", {"relative_attention_num_buckets": 10**9}, "leaves nothing to the wider half"),
    ("T5ForConditionalGeneration", {"d_kv": 7}, "is .24, 24., but config.json asks for .28, 24."),
    ("T5ForConditionalGeneration", {"architectures": ["T5ForTokenClassification"]}, "T5ForTokenClassification"),
    ("T5ForConditionalGeneration", {"model_type": "umt5"}, "model_type='umt5'; known are"),
    ("BartForConditionalGeneration", {"normalize_before": True}, "normalize_before=True, but only False"),
    ("BartForConditionalGeneration", {"tie_word_embeddings": False}, "lacks .*model.encoder.embed_tokens.weight"),
    ("BartForConditionalGeneration", {"max_position_embeddings": 10**12}, "embed_positions.weight in .* is .32, 24."),
    ("BartForConditionalGeneration", {"decoder_attention_heads": 5}, "heads=5"),
    ("BartForConditionalGeneration", {"layer_norm_eps": 1e-3}, "layer_norm_eps=0.001"),
    ("PegasusForConditionalGeneration", {"max_position_embeddings": 10**12}, "more positions than"),
    ("PegasusForConditionalGeneration", {"max_position_embeddings": 31}, "embed_positions.weight holds other numbers"),
    ("M2M100ForConditionalGeneration", {"pad_token_id": 10**9}, "pad_token_id=1000000000"),
    ("MarianMTModel", {"decoder_vocab_size": 47}, "decoder_vocab_size=47 and vocab_size=53"),
    ("MarianMTModel", {"num_hidden_layers": 3}, "num_hidden_layers=3, but only 2"),
    ("SwitchTransformersForConditionalGeneration", {"router_dtype": "bfloat16"}, "router_dtype='bfloat16'"),
    ("SwitchTransformersForConditionalGeneration", {"encoder_sparse_step": -1}, "encoder_sparse_step=-1"),
    ("SwitchTransformersForConditionalGeneration", {"encoder_sparse_step": 1}, "lacks .*experts.expert_0"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "keys", "told"), HOSTILE)
def test_what_is_not_known_is_named(model: str, keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    stem = config_of(model).removesuffix("Config")
    made(model, {"T5": T5, "SwitchTransformers": SWITCH}.get(stem, BART), None, tmp_path)
    changed(tmp_path, **keys)
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


OLD = {
    "_num_labels": 3, "add_bias_logits": False, "classif_dropout": 0.0, "early_stopping": True, "length_penalty": 2.0,
    "max_length": 142, "min_length": 56, "no_repeat_ngram_size": 3, "num_beams": 4, "num_hidden_layers": 2,
    "output_past": True, "prefix": " ", "torchscript": False,
}  # fmt: skip
PRE = {"normalize_before": True, "add_final_layer_norm": True}
SINES = {"normalize_embedding": False, "static_position_embeddings": True}


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("T5ForConditionalGeneration", {"n_positions": 512, "output_past": True, "task_specific_params": {"a": 1}}),
        ("BartForConditionalGeneration", {**OLD, "normalize_before": False, "force_bos_token_to_be_generated": True}),
        ("MBartForConditionalGeneration", {**OLD, **PRE, "normalize_embedding": True}),
        ("PegasusForConditionalGeneration", {**OLD, **PRE, **SINES, "extra_pos_embeddings": 1}),
        ("MarianMTModel", {**OLD, **SINES, "bad_words_ids": [[52]], "decoder_vocab_size": 53}),
    ],
)
def test_what_files_of_old_say_besides_is_known(model: str, keys: dict[str, Any], tmp_path: Path) -> None:
    made(model, T5 if model.startswith("T5") else BART, None, tmp_path)
    changed(tmp_path, **keys)
    checkpoint.read(tmp_path)


def without(folder: Path, *names: str, **more: torch.Tensor) -> None:
    tensors = {name: x for name, x in load_file(folder / "model.safetensors").items() if name not in names}
    save_file({**tensors, **more}, folder / "model.safetensors")


def test_positions_by_formula_must_be_those(tmp_path: Path) -> None:
    theirs = made("PegasusForConditionalGeneration", BART, None, tmp_path)
    name = "model.decoder.embed_positions.weight"
    without(tmp_path, name)
    checkpoint.read(tmp_path)
    without(tmp_path, **{name: theirs.model.decoder.embed_positions.weight + 1e-2})
    with pytest.raises(UserError, match=f"{name} holds other numbers"):
        checkpoint.read(tmp_path)


def test_a_model_without_bias_is_written_with_zeros_and_read_again(tmp_path: Path) -> None:
    theirs = made("BartForConditionalGeneration", BART, None, tmp_path / "a")
    without(tmp_path / "a", "final_logits_bias")
    found = checkpoint.read(tmp_path / "a")
    assert not [name for name, _ in found.model.named_parameters() if name.endswith("head.bias")]
    checkpoint.write(found.model, found.config, found.vocab_size, tmp_path / "b")
    assert torch.equal(load_file(tmp_path / "b" / "model.safetensors")["final_logits_bias"], torch.zeros(1, 53))
    check_logits(theirs, tmp_path / "b")


def test_the_shared_table_may_stand_under_another_of_its_names(tmp_path: Path) -> None:
    theirs = made("BartForConditionalGeneration", BART, None, tmp_path)
    table = theirs.model.shared.weight.detach()
    without(tmp_path, "model.shared.weight", **{"lm_head.weight": table})
    assert torch.equal(checkpoint.read(tmp_path).model.encoder.embed.weight, table)
    without(tmp_path, **{"model.shared.weight": table + 1})
    with pytest.raises(UserError, match=r"lm_head\.weight should repeat model\.shared\.weight"):
        checkpoint.read(tmp_path)


def test_a_missing_and_a_surplus_tensor_are_named(tmp_path: Path) -> None:
    made("MarianMTModel", BART, None, tmp_path)
    without(tmp_path, "model.decoder.layers.1.encoder_attn.k_proj.bias")
    with pytest.raises(UserError, match=r"lacks model\.decoder\.layers\.1\.encoder_attn\.k_proj\.bias"):
        checkpoint.read(tmp_path)
    made("MarianMTModel", BART, None, tmp_path)
    without(tmp_path, **{"model.decoder.odd": torch.zeros(2)})
    with pytest.raises(UserError, match=r"beyond what this model has, model\.decoder\.odd"):
        checkpoint.read(tmp_path)


def test_t5_of_their_defaults_is_t5_small() -> None:
    """Table 14 of the paper says 60 million."""
    family = next(one for one in families() if one.model_type == "t5")
    config, vocab_size = family.read(Fields({}, "T5ForConditionalGeneration"))
    with torch.device("meta"):
        assert sum(p.numel() for p in config.assemble(vocab_size).parameters()) == 60_506_624


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": "none"}, {"norm": {"kind": "rms-norm", "offset": 1.0}}, {"scale_embedding": True},
        {"mixer": {"kind": "attention", "scale": 0.5}}, {"tie_embeddings": "output"},
        {"cross": {"kind": "attention", "heads": 2, "scale": 1.0, "bias": False}}, {"cross_place": "before"},
        {"feedforward": {"kind": "mlp", "bias": True}}, {"residual": {"kind": "pre-norm", "final_norm": False}},
        {"embedding": {"kind": "table", "norm": True}}, {"head": {"kind": "linear", "scale": 0.5}},
    ],
)  # fmt: skip
def test_a_model_that_t5_cannot_express_is_not_written(changes: dict[str, Any]) -> None:
    family = next(one for one in families() if one.model_type == "t5")
    config, _ = family.read(Fields(dict(T5), "T5ForConditionalGeneration"))
    other = from_data(EncoderDecoderConfig, merge(to_data(config), changes))
    assert family.write(config, 53) is not None
    assert family.write(other, 53) is None


def test_switch_cannot_say_that_a_source_has_its_own_tokens() -> None:
    family = next(one for one in families() if one.model_type == "switch_transformers")
    untied = {**SWITCH, "tie_word_embeddings": False}
    config, _ = family.read(Fields(untied, "SwitchTransformersForConditionalGeneration"))
    assert family.write(config, 53) is not None
    other = from_data(EncoderDecoderConfig, merge(to_data(config), {"source_vocab": 7}))
    assert family.write(other, 53) is None
