"""Checkpoints of transformers, of every option that changes the numbers: in, the same numbers, and out again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from transduce.catalogue import checkpoint
from transduce.errors import UserError
from transduce.model.layout import Layout, dense, left_padded, right_padded
from transduce.weights.files import Files

transformers = pytest.importorskip("transformers")

LLAMA = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "num_key_value_heads": 2, "initializer_range": 0.2,
}  # fmt: skip
GPT2 = {"n_embd": 24, "n_layer": 3, "n_head": 4, "vocab_size": 53, "n_positions": 64, "initializer_range": 0.2}
LINEAR = {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}}
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
    ("Qwen3", {**LLAMA, "head_dim": 8}),
    ("Qwen3", {**LLAMA, "head_dim": 6, "attention_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 1}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]


def made(name: str, options: dict[str, Any], folder: Path, **how: Any) -> Any:
    """A random model of theirs, saved; its biases and norms random, too."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**options, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    base = {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    model = getattr(transformers, base)._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder, **how)
    return model


@pytest.fixture(params=CASES, ids=IDS)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, checkpoint.Checkpoint, Path]:
    theirs = made(*request.param, tmp_path)
    return theirs, checkpoint.read(tmp_path), tmp_path


def ids(rows: int = 3, tokens: int = 17) -> Tensor:
    return torch.randint(3, 53, (rows, tokens), generator=torch.Generator().manual_seed(1))


def logits(ours: checkpoint.Checkpoint, tokens: Tensor, layout: Layout) -> Tensor:
    hidden, _ = ours.model.step(tokens, layout, None)
    return ours.model.head(hidden)


def test_logits_and_gradients_agree(both: tuple[Any, checkpoint.Checkpoint, Path]) -> None:
    theirs, ours, _ = both
    tokens = ids()
    expected, found = theirs(tokens).logits, logits(ours, tokens, dense(3, 17))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for y in (expected, found):
        torch.nn.functional.cross_entropy(y[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    table = ours.family.table(ours.config)
    gradients = {name: p.grad for name, p in ours.model.named_parameters()}
    back = {name: x for line in table.rows for name, x in
            zip(line.theirs, line.op.write([gradients[n] for n in line.ours]), strict=True)}  # fmt: skip
    wanted = {name: p.grad for name, p in theirs.named_parameters()}
    assert back.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(back[name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_padding_on_either_side_changes_nothing(both: tuple[Any, checkpoint.Checkpoint, Path]) -> None:
    theirs, ours, _ = both
    tokens, lengths = ids(), [17, 9, 1]
    for left in (False, True):
        mask = torch.zeros(3, 17, dtype=torch.long)
        for row, n in enumerate(lengths):
            mask[row, slice(17 - n, None) if left else slice(n)] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        expected = theirs(tokens, attention_mask=mask, position_ids=positions).logits
        found = logits(ours, tokens, (left_padded if left else right_padded)(torch.tensor(lengths), 17))
        real = mask.bool()
        torch.testing.assert_close(found[real], expected[real], atol=1e-4, rtol=1e-4)


def test_greedy_decoding_token_by_token_agrees(both: tuple[Any, checkpoint.Checkpoint, Path]) -> None:
    theirs, ours, _ = both
    prompt = ids(2, 5)
    expected = theirs.generate(prompt, max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=0)
    state, tokens = ours.model.init_state(2, 17), prompt
    layout, fed = dense(2, 5), prompt
    for step in range(12):
        hidden, state = ours.model.step(fed, layout, state)
        y = ours.model.head(hidden)[:, -1]
        y[:, 2] = -torch.inf  # min_new_tokens forbids the end
        fed = y.argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, fed], 1)
        layout = Layout(torch.full((2, 1), 5 + step))
    assert torch.equal(tokens, expected)


def test_out_again_the_same_bytes(both: tuple[Any, checkpoint.Checkpoint, Path], tmp_path: Path) -> None:
    theirs, ours, folder = both
    out = tmp_path / "out"
    family = checkpoint.write(ours.model, ours.config, ours.vocab_size, out)
    before, after = Files(folder), Files(out)
    assert before.where.keys() == after.where.keys()
    for name in before.where:
        (a,), (b,) = before.read(name), after.read(name)
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    again = transformers.AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager")
    torch.testing.assert_close(again(ids()).logits, theirs(ids()).logits, atol=1e-5, rtol=1e-5)
    assert family.model_type == json.loads((out / "config.json").read_text())["model_type"]


def test_several_files_and_a_base_model(tmp_path: Path) -> None:
    theirs = made("GPT2", GPT2, tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    expected = theirs(ids()).logits
    torch.testing.assert_close(logits(checkpoint.read(tmp_path / "sharded"), ids(), dense(3, 17)), expected)
    theirs.transformer.save_pretrained(tmp_path / "base")
    torch.testing.assert_close(logits(checkpoint.read(tmp_path / "base"), ids(), dense(3, 17)), expected)


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
        ({"num_hidden_layers": 10**9}, "only 30 tensors"),
        ({"num_hidden_layers": 2}, "beyond what this model has, model.layers.2"),
        ({"num_hidden_layers": 4}, "lacks model.layers.3"),
        ({"num_hidden_layers": "3"}, "must be a whole number"),
        ({"num_attention_heads": 5}, "heads=5"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings=1,000,000,000,000"),
        ({"head_dim": "8"}, "head_dim='8'; it must be a whole number"),
        ({"scale_of_something": 0}, "scale_of_something=0"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_type='yarn'"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1.0, "odd": 3}}, "odd=3"),
        ({"residual_multiplier": 2.0}, "residual_multiplier=2.0"),
        ({"auto_map": {"AutoModel": "x.py"}}, "never run here"),
        ({"model_type": "llamas"}, "model_type='llamas'; known are gpt2, llama"),
        ({"architectures": ["LlamaForTokenClassification"]}, "LlamaForTokenClassification"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    made("Llama", LLAMA, tmp_path)
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
