"""From encoder to decoder without attention, and attention inside a recurrence."""

from typing import Any

import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.inspect.combinations import EXACT, built, deviation
from transduce.model.architecture import EncoderDecoderConfig
from transduce.model.layout import dense, right_padded
from transduce.model.models import EncoderDecoder


def model(cell: str, directions: str, **more: object) -> EncoderDecoder:
    encoder = {"kind": "bidirectional", "directions": directions, "mixer": cell}
    data = {"width": 16, "layers": 2, "mixer": cell, "encoder_mixer": encoder, "positions": "none", **more}
    made = built(from_data(EncoderDecoderConfig, data))
    assert isinstance(made, EncoderDecoder)
    return made


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
@pytest.mark.parametrize(
    ("directions", "more"),
    [
        ("forward", {"bridge": "state", "cross": "none"}),
        ("backward", {"bridge": "state", "cross": "attention"}),
        ("both", {"bridge": "project", "cross": {"kind": "attention", "heads": 2}, "cross_place": "inside"}),
        ("both", {"cross": "attention", "cross_place": "inside"}),
        ("backward", {"bridge": "project", "cross": "attention", "cross_place": "before"}),
    ],
    ids=str,
)
def test_it_decodes_step_by_step_padded_packed_and_in_beams(
    cell: str, directions: str, more: dict[str, object]
) -> None:
    assert deviation(model(cell, directions, **more)) < EXACT


def test_a_copied_state_makes_source_and_target_one_sequence() -> None:
    """With the same weights on both sides, the decoder goes on where the encoder stopped, padded or not."""
    plain = {"residual": {"kind": "none", "dropout": 0.0}, "feedforward": "none", "norm": "none"}
    both = model("lstm", "forward", bridge="state", cross="none", tie_embeddings="all", **plain)
    for name, parameter in both.decoder.stack.named_parameters():
        parameter.data = both.encoder.stack.get_parameter(name.replace(".mix.", ".mix.ahead.")).data
    source, target = torch.tensor([[3, 1, 4, 1], [5, 9, 0, 0]]), torch.tensor([[2, 6, 5], [3, 5, 8]])
    with torch.no_grad():
        found = both.read(target, dense(2, 3), source, right_padded(torch.tensor([4, 2]), 4))
        for row, n in enumerate((4, 2)):
            joined = torch.cat([source[row, :n], target[row]])[None]
            whole, _ = both.encoder(joined, dense(1, n + 3))
            torch.testing.assert_close(found[row], whole[0, n:], atol=1e-12, rtol=0)


def test_attention_inside_a_recurrence_is_the_formula_of_rnnsearch() -> None:
    """s_0 = tanh(W s), e_j = v^T tanh(W s_{i-1} + U h_j), c = sum_j alpha_j h_j, s_i = GRU(s_{i-1}, x_i + c)."""
    plain = {"residual": {"kind": "none", "dropout": 0.0}, "feedforward": "none", "norm": "none", "layers": 1}
    cross = {"kind": "additive", "size": 5}
    cell = {"kind": "gru", "reset_after": False}
    over = {
        "mixer": cell,
        "cross": cross,
        "cross_place": "inside",
        "bridge": "project",
        "tie_embeddings": "all",
        **plain,
    }
    one = model("gru", "both", **over)
    block: Any = one.decoder.stack.blocks[0]
    gru, look, bridge = block.mix, block.cross, block.bridge
    source, target = torch.tensor([[3, 1, 4, 1]]), torch.tensor([[2, 6, 5]])
    with torch.no_grad():
        found = one.read(target, dense(1, 3), source, dense(1, 4))[0]
        h, kept = one.encoder(source, dense(1, 4))
        h, x = h[0], one.decoder.embed(target, dense(1, 3))[0]
        states = torch.cat([kept[0].forward.h, kept[0].backward.h], 1)[0]
        s = torch.tanh(bridge.maps[0](states))
        for i in range(3):
            e = torch.stack([look.score(torch.tanh(look.q(s) + look.k(hj)))[0] for hj in h])
            c = look.out((e.softmax(0)[:, None] * h).sum(0))
            a, size = gru.input(x[i] + c), s.shape[0]
            u_r, u_z, u_n = gru.hidden.weight.split(size)
            r, z = torch.sigmoid(a[:size] + u_r @ s), torch.sigmoid(a[size : 2 * size] + u_z @ s)
            s = z * s + (1 - z) * torch.tanh(a[2 * size :] + u_n @ (r * s))
            torch.testing.assert_close(found[i], s + c, atol=1e-12, rtol=0)


def test_the_encoder_runs_once_for_a_generated_sequence() -> None:
    """Vaswani et al. 2017, sec. 3.2.3: what the decoder attends to is made once."""
    one, calls = model("lstm", "both", cross="attention"), list[int]()
    one.encoder.register_forward_hook(lambda *_: calls.append(1))
    decode(one, Vocabulary(), GenerateConfig(max_new_tokens=7), source=[[3, 4, 5]])
    assert len(calls) == 1


class Vocabulary:
    bos, eos = 1, 2

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"cross": "none"}, "no layer of the decoder would learn anything of the source"),
        ({"decoder_layers": [{"times": 2, "cross": "none"}]}, "no layer of the decoder would learn anything"),
        ({"mixer": "none", "cross": "none", "bridge": "state"}, "no layer of the decoder would learn anything"),
        ({"mixer": "none"}, "set model.cross=attention"),
        ({"bridge": "state"}, "bridge=state needs memories of constant size on both sides, but those of attention"),
        (
            {"mixer": "gru", "encoder_mixer": "lstm", "bridge": "state"},
            "bridge=state needs the same mixer on both sides",
        ),
        ({"mixer": "gru", "cross": "none", "bridge": "state"}, "directions: backward"),
        ({"mixer": "gru", "bridge": "project", "decoder_layers": 3}, "the encoder has 2 layers and the decoder more"),
        (
            {"mixer": "gru", "bridge": "project", "residual": "parallel"},
            "needs a mixer of its own in each encoder layer",
        ),
        ({"mixer": "gru", "bridge": "project", "encoder_mixer": "hierarchy"}, "needs an encoder that leaves a memory"),
        ({"mixer": "attention", "cross_place": "inside"}, "cross_place=inside asks a memory of constant size"),
        ({"mixer": "ssm", "cross": "attention", "cross_place": "inside"}, "ssm cannot stand around a cross mixer"),
        ({"encoder_mixer": "lstm", "cross": "bidirectional"}, "bidirectional cannot stand between source and target"),
        ({"mixer": "bidirectional", "cross": "attention"}, "bidirectional cannot stand in a decoder"),
        ({"mixer": "lstm", "positions": "rotary"}, "positions=rotary act on queries and keys, which .* have none of"),
        ({"mixer": "none", "feedforward": "none", "cross": "attention"}, "nothing in it"),
        ({"layers": "[lstm, attention] * 2", "positions": "none", "cross": "none", "bridge": "state"}, "same mixer"),
        ({"layers": "2 * [lstm]"}, "is neither a number nor a list such as"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(EncoderDecoderConfig, {"width": 16, "layers": 2, "positions": "none", **data}).build(7)
