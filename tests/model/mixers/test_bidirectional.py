"""Both directions against each row read alone, and what each direction is left with."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.layout import Layout, dense, left_padded, packed, right_padded
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.bidirectional import BidirectionalConfig, Both
from transduce.model.mixers.gru import GRUConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.mixer import MixerConfig, NoMixerConfig
from transduce.model.positions.position import Positions
from transduce.model.positions.rotary import RotaryConfig

B, T, M = 3, 11, 8
LENGTHS = torch.tensor([11, 1, 6])
GRIDS = {
    "dense": dense(B, T),
    "right": right_padded(LENGTHS, T),
    "left": left_padded(LENGTHS, T),
    "packed": packed([[4, 2, 5], [1, 1], [6]], T),
}
INNER: dict[str, MixerConfig] = {
    "lstm": LSTMConfig(),
    "peephole": LSTMConfig(peephole=True),
    "gru": GRUConfig(),
    "attention": AttentionConfig(heads=2),
}


def built(seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return BidirectionalConfig(**options).build(M, Positions()).double()


def documents(grid: Layout) -> list[tuple[int, Tensor]]:
    """(row, slots) of every document."""
    found = list[tuple[int, Tensor]]()
    for row in range(B):
        places = torch.zeros(T) if grid.segments is None else grid.segments[row]
        for name in places[grid.valid[row]].unique():
            found.append((row, (grid.valid[row] & (places == name)).nonzero()[:, 0]))
    return found


def inputs() -> Tensor:
    return torch.randn(B, T, M, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("inner", INNER)
def test_each_document_is_read_from_its_first_and_from_its_last_token(inner: str, grid: str) -> None:
    ours, x, layout = built(mixer=INNER[inner]), inputs(), GRIDS[grid]
    y = ours.encode(torch.where(layout.valid[..., None], x, 50.0), layout)
    for row, slots in documents(layout):
        alone, plain = x[[row]][:, slots], dense(1, len(slots))
        ahead, _ = ours.ahead(alone, plain)
        back, _ = ours.back(alone.flip(1), plain)
        expected = ours.out(torch.cat([ahead, back.flip(1)], -1))
        torch.testing.assert_close(y[row, slots], expected[0], atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("grid", ["dense", "right", "left"])
@pytest.mark.parametrize("inner", ["lstm", "peephole", "gru"])
def test_the_state_is_what_each_direction_is_left_with(inner: str, grid: str) -> None:
    ours, x, layout = built(mixer=INNER[inner]), inputs(), GRIDS[grid]
    y, state = ours.encode_and_write(x, layout)
    torch.testing.assert_close(y[layout.valid], ours.encode(x, layout)[layout.valid], atol=1e-12, rtol=1e-10)
    assert isinstance(state, Both)
    for row, slots in documents(layout):
        alone, plain = x[[row]][:, slots], dense(1, len(slots))
        for found, expected in (
            (state.forward, ours.ahead.write(alone, plain)), (state.backward, ours.back.write(alone.flip(1), plain)),
        ):  # fmt: skip
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a[row], b[0], atol=1e-12, rtol=1e-10)


def test_of_packed_rows_the_last_document_remains_and_an_empty_row_is_left_empty() -> None:
    ours, x = built(mixer=GRUConfig()), inputs()
    grid = packed([[4, 2, 5], [], [6]], T)
    _, state = ours.encode_and_write(x, grid)
    last = ours.encode_and_write(x[[0], 6:11], dense(1, 5))[1]
    torch.testing.assert_close(state.forward.h[0], last.forward.h[0], atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(state.backward.h[0], last.backward.h[0], atol=1e-12, rtol=1e-10)
    assert not state.forward.h[1].any()
    assert state.backward.h[2].any()


def test_one_direction_is_the_mixer_itself() -> None:
    layout, x = GRIDS["right"], inputs()
    forward, backward = built(directions="forward"), built(directions="backward")
    assert [n for n, _ in forward.named_children()] == ["ahead"]
    assert [n for n, _ in backward.named_children()] == ["back"]
    y, state = forward.encode_and_write(x, layout)
    torch.testing.assert_close(y[layout.valid], forward.ahead(x, layout)[0][layout.valid])
    for a, b in zip(state, forward.ahead.write(x, layout), strict=True):
        torch.testing.assert_close(a, b)
    back = backward.encode_and_write(x, layout)[1]
    for row, n in enumerate(LENGTHS):
        reversed_row = x[[row], :n].flip(1)
        for a, b in zip(back, backward.back.write(reversed_row, dense(1, int(n))), strict=True):
            torch.testing.assert_close(a[row], b[0])


def test_sum_adds_and_concat_projects() -> None:
    x, added = inputs(), built(merge="sum")
    assert added.out is None
    y = added.encode(x, dense(B, T))
    expected = added.ahead(x, dense(B, T))[0] + added.back(x.flip(1), dense(B, T))[0].flip(1)
    torch.testing.assert_close(y, expected)
    assert tuple(built().out.weight.shape) == (M, 2 * M)


def test_no_work_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, calls = built(mixer=GRUConfig()), list[str]()
    for name in ("ahead", "back"):
        part = getattr(ours, name)
        monkeypatch.setattr(part, "run", lambda *given, n=name, run=part.run: calls.append(n) or run(*given))
    for layout in GRIDS.values():
        calls.clear()
        ours.encode_and_write(inputs(), layout)
        assert calls == ["ahead", "back"]


def test_positions_act_inside_the_mixer_that_is_wrapped() -> None:
    config = BidirectionalConfig(mixer=AttentionConfig(heads=2))
    assert config.positions == AttentionConfig.positions
    assert BidirectionalConfig().positions == frozenset()
    assert config.queries(M) == AttentionConfig(heads=2).queries(M)
    assert from_data(BidirectionalConfig, to_data(config)) == config
    rotary = RotaryConfig().build(M, config.queries(M))
    turned = config.build(M, rotary).double()
    for p in turned.parameters():
        torch.nn.init.normal_(p, std=0.5)
    plain = config.build(M, Positions()).double()
    plain.load_state_dict(turned.state_dict(), strict=False)
    x = inputs()
    assert not torch.allclose(turned.encode(x, dense(B, T)), plain.encode(x, dense(B, T)))


@pytest.mark.parametrize("bridge", ["state", "project"])
def test_a_decoder_goes_on_from_it(bridge: str) -> None:
    directions = "backward" if bridge == "state" else "both"
    data = {
        "width": M, "layers": 2, "mixer": "lstm", "cross": "none", "bridge": bridge, "positions": "none",
        "encoder_mixer": {"kind": "bidirectional", "directions": directions},
    }  # fmt: skip
    model = from_data(EncoderDecoderConfig, data).build(13).double().eval()
    ids = torch.randint(0, 13, (B, T), generator=torch.Generator().manual_seed(0))
    a = model.remember(ids, GRIDS["right"])
    changed = torch.where(GRIDS["right"].valid, ids, 12 - ids)
    b = model.remember(changed, GRIDS["right"])
    h, _ = model.step(ids[:, :1], dense(B, 1), model.init_state(B, T), a)
    g, _ = model.step(ids[:, :1], dense(B, 1), model.init_state(B, T), b)
    torch.testing.assert_close(h, g)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="mixer=none has no direction"):
        BidirectionalConfig(mixer=NoMixerConfig())
    with pytest.raises(UserError, match="mixer=bidirectional has no direction"):
        built(mixer=BidirectionalConfig())
    with pytest.raises(UserError, match="merge=sum has no meaning with directions=forward"):
        BidirectionalConfig(merge="sum", directions="forward")
    with pytest.raises(UserError, match="reads the whole sequence; use it in an encoder"):
        from_data(DecoderConfig, {"width": M, "mixer": "bidirectional"}).build(11)
    for call in (built().forward, built().write, lambda x, g: built().read(x, g, None)):
        with pytest.raises(UserError, match="reads the whole sequence"):
            call(inputs(), dense(B, T))
