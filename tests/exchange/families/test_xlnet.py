"""XLNet of transformers: both kinds of attention, types of tokens, both streams under random orders, strange files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.model.layout import Marks, dense, left_padded, right_padded
from transduce.model.models import EncoderOnly
from transduce.objectives.permutation import two_streams
from transduce.testing.families import ROWS, TOKENS, check_bytes, check_logits, check_padding, ids, saved

pytest.importorskip("transformers")

SMALL = {"d_model": 24, "n_layer": 3, "n_head": 4, "d_inner": 40, "vocab_size": 53, "initializer_range": 0.2}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("XLNetLMHeadModel", SMALL),
    ("XLNetLMHeadModel", {**SMALL, "attn_type": "uni", "ff_activation": "relu", "layer_norm_eps": 1e-3}),
    ("XLNetLMHeadModel", {**SMALL, "tie_word_embeddings": False, "ff_activation": "silu"}),
    ("XLNetModel", {**SMALL, "mem_len": 5, "ff_activation": "gelu_new"}),
    ("XLNetModel", {**SMALL, "attn_type": "uni"}),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].get('attn_type', 'bi')}")
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name, options = request.param
    return saved("XLNetConfig", name, options, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_padding_changes_nothing(theirs: Any, tmp_path: Path) -> None:
    if theirs.config.attn_type == "bi":
        return check_padding(theirs, tmp_path)
    model, tokens, lengths = checkpoint.read(tmp_path).model, ids(theirs), (TOKENS, 9, 1)  # theirs takes one row only
    for make in (right_padded, left_padded):
        layout = make(torch.tensor(lengths), TOKENS)
        with torch.no_grad():
            hidden = model.stack(model.embed(tokens, layout), layout)[0]
            for row, h in enumerate(hidden):
                real = layout.valid[row]
                expected = theirs(tokens[row][real][None])[0][0]
                y = h[real] if expected.shape[-1] == 24 else model.head(h[real])
                torch.testing.assert_close(y, expected, atol=1e-4, rtol=0)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


def test_types_of_tokens_count(theirs: Any, tmp_path: Path) -> None:
    model, tokens = checkpoint.read(tmp_path).model, ids(theirs)
    types = torch.randint(0, 3, tokens.shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = theirs(tokens, token_type_ids=types)[0]
        layout = dense(ROWS, TOKENS)._replace(marks=Marks(types))
        hidden = model.stack(model.embed(tokens, layout), layout)[0]
        y = hidden if expected.shape[-1] == 24 else model.head(hidden)
        plain = theirs(tokens)[0]
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=0)
    assert (expected - plain).abs().max() > 1e-2


def test_memory_is_the_state_of_a_decoder(tmp_path: Path) -> None:
    theirs = saved("XLNetConfig", "XLNetLMHeadModel", {**SMALL, "attn_type": "uni", "mem_len": 64}, tmp_path)
    model, tokens = checkpoint.read(tmp_path).model, ids(theirs)
    state, mems, start = model.init_state(ROWS, TOKENS), None, 0
    with torch.no_grad():
        for size in (5, 1, 7, 4):
            part = tokens[:, start : start + size]
            given = theirs(part, mems=mems, use_mems=True)
            hidden, state = model.step(part, dense(ROWS, size, start), state)
            torch.testing.assert_close(model.head(hidden), given.logits, atol=1e-4, rtol=0)
            mems, start = given.mems, start + size


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("typed", [False, True])
def test_both_streams_agree_under_any_order(padded: bool, typed: bool, tmp_path: Path) -> None:
    theirs = saved("XLNetConfig", "XLNetLMHeadModel", SMALL, tmp_path)
    found, tokens, generator = checkpoint.read(tmp_path), ids(theirs), torch.Generator().manual_seed(5)
    lengths = torch.tensor([TOKENS, 12, 9]) if padded else torch.full((ROWS,), TOKENS)
    order = torch.zeros(ROWS, TOKENS, dtype=torch.int64)
    wanted = torch.stack([torch.randperm(9, generator=generator)[:4] for _ in range(ROWS)])
    order.scatter_(1, wanted, torch.arange(1, 5).expand(ROWS, -1))
    types = torch.randint(0, 2, tokens.shape, generator=generator) if typed else None
    layout = (right_padded(lengths, TOKENS) if padded else dense(ROWS, TOKENS))._replace(marks=Marks(types))
    queries = order > 0  # what is predicted does not see itself, and none that comes later
    hidden_from = queries[:, None, :] & (order[:, :, None] <= order[:, None, :])
    mapping = torch.nn.functional.one_hot(wanted, TOKENS).float()
    real = layout.valid.float()
    expected = theirs(
        tokens, attention_mask=real, perm_mask=hidden_from.float(), target_mapping=mapping, token_type_ids=types
    ).logits
    assert isinstance(found.model, EncoderOnly)
    y = found.model.head(two_streams(found.model, tokens, layout, order, wanted))
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=0)
    goal = tokens.gather(1, wanted)
    for logits in (expected, y):
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), goal.flatten()).backward()
    table, ours = found.family.table(found.config), dict(found.model.named_parameters())
    given = dict(theirs.named_parameters())
    for line in table.rows:
        for name, x in zip(line.theirs, line.op.write([ours[one].grad for one in line.ours]), strict=True):
            if given[name].grad is not None:
                torch.testing.assert_close(x, given[name].grad, atol=1e-4, rtol=1e-3)
    assert given["transformer.mask_emb"].grad.abs().max() > 0


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"clamp_len": 5}, "clamp_len above 0"),
        ({"same_length": True}, "same_length=True"),
        ({"bi_data": True}, "bi_data=True"),
        ({"attn_type": "both"}, "attn_type='both'"),
        ({"ff_activation": "mish"}, "ff_activation='mish'"),
        ({"n_layer": 4}, r"lacks transformer\.layer\.3"),
        ({"n_head": 3}, "d_head=6, but only 8"),
        ({"d_inner": 41}, "config.json asks for"),
        ({"residual_scale": 2.0}, "residual_scale=2.0"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    saved("XLNetConfig", "XLNetLMHeadModel", SMALL, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


def test_a_surplus_tensor_and_one_of_other_dimensions_are_named(tmp_path: Path) -> None:
    theirs = saved("XLNetConfig", "XLNetLMHeadModel", SMALL, tmp_path)
    tensors = {name: x.clone() for name, x in theirs.state_dict().items() if name != "lm_loss.weight"}
    save_file({**tensors, "transformer.layer.0.odd": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"beyond what this model has, transformer\.layer\.0\.odd"):
        checkpoint.read(tmp_path)
    for shape in ((24,), (24, 24), (1, 2, 24)):
        save_file({**tensors, "transformer.mask_emb": torch.zeros(shape)}, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=r"mask_emb in .* is"):
            checkpoint.read(tmp_path)
    name = "transformer.layer.1.rel_attn.o"
    for x in (tensors[name].flatten(1), tensors[name].unflatten(1, (2, 2)).flatten(2)):
        save_file({**tensors, name: x.contiguous()}, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=r"rel_attn\.o in .* is"):
            checkpoint.read(tmp_path)
