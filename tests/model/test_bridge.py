"""From encoder to decoder without attention, and attention inside a recurrence."""

import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
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
        parameter.data = both.encoder.stack.get_parameter(name.replace("mixer.", "mixer.ahead.")).data
    source, target = torch.tensor([[3, 1, 4, 1], [5, 9, 0, 0]]), torch.tensor([[2, 6, 5], [3, 5, 8]])
    with torch.no_grad():
        found = both.read(target, dense(2, 3), source, right_padded(torch.tensor([4, 2]), 4))
        for row, n in enumerate((4, 2)):
            joined = torch.cat([source[row, :n], target[row]])[None]
            whole, _ = both.encoder(joined, dense(1, n + 3))
            torch.testing.assert_close(found[row], whole[0, n:], atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"cross": "none"}, "cross=none and bridge=none leave the decoder without the source; set bridge=state"),
        (
            {"bridge": "state"},
            "bridge=state needs memories of constant size on both sides, but those of attention grow",
        ),
        (
            {"mixer": "gru", "encoder_mixer": "lstm", "bridge": "state"},
            "bridge=state needs the same mixer on both sides",
        ),
        ({"mixer": "gru", "bridge": "project", "decoder_layers": 3}, "layer 4 has no such partner|layer 3 has no such"),
        ({"encoder_mixer": "lstm", "cross": "bidirectional"}, "bidirectional cannot stand between source and target"),
        ({"mixer": "bidirectional", "cross": "attention"}, "bidirectional cannot stand in a decoder"),
        ({"mixer": "lstm", "positions": "rotary"}, "positions=rotary act on queries and keys, which .* have none of"),
        ({"mixer": "none", "feedforward": "none", "cross": "none", "bridge": "state"}, "nothing in it"),
        ({"layers": "[lstm, attention] * 2", "positions": "none", "cross": "none", "bridge": "state"}, "same mixer"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(EncoderDecoderConfig, {"width": 16, "layers": 2, "positions": "none", **data}).build(7)
