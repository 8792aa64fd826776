"""Recurrent networks against torch.nn with copied weights, and against the formulas of the papers in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import Layout, dense, packed, right_padded
from transduce.model.mixers.bidirectional import BidirectionalConfig, in_encoder
from transduce.model.mixers.elman import ElmanConfig
from transduce.model.mixers.gru import GRUConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.multiplicative import MultiplicativeConfig
from transduce.model.mixers.recurrent import Recurrent, RecurrentConfig
from transduce.model.ops.recurrent import Cell, gru_step, scan
from transduce.model.positions.position import Positions

B, T, M, S = 3, 13, 7, 5
LENGTHS = torch.tensor([13, 1, 6])
PEERS: dict[str, tuple[RecurrentConfig, Callable[..., nn.RNNBase]]] = {
    "elman": (ElmanConfig(), nn.RNN),
    "relu": (ElmanConfig(activation="relu"), lambda *sizes, **more: nn.RNN(*sizes, nonlinearity="relu", **more)),
    "lstm": (LSTMConfig(), nn.LSTM),
    "gru": (GRUConfig(), nn.GRU),
}
COMMON = list(PEERS)
TOLERANCE = {torch.float32: {"atol": 1e-6, "rtol": 0.0}, torch.float64: {"atol": 1e-12, "rtol": 0.0}}


def built(config: RecurrentConfig, width: int = M, dtype: torch.dtype = torch.float64, seed: int = 0) -> Recurrent:
    """A network with random weights and biases, none at a start value that could hide a mistake, and not chaotic."""
    mixer = config.build(width, Positions())
    assert isinstance(mixer, Recurrent)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.8 * parameter.shape[-1] ** -0.5 * torch.randn(parameter.shape, generator=generator))
    return mixer.to(dtype)


def inputs(dtype: torch.dtype = torch.float64, width: int = M, tokens: int = T) -> Tensor:
    return torch.randn(B, tokens, width, generator=torch.Generator().manual_seed(5), dtype=dtype)


def copied(theirs: nn.RNNBase, layers: list[Recurrent], suffix: str = "") -> nn.RNNBase:
    """torch's module with our weights: of each gate its two biases add up to ours, but for the candidate of a GRU."""
    with torch.no_grad():
        for k, ours in enumerate(layers):
            getattr(theirs, f"weight_ih_l{k}{suffix}").copy_(ours.input.weight)
            getattr(theirs, f"weight_hh_l{k}{suffix}").copy_(ours.hidden.weight)
            getattr(theirs, f"bias_ih_l{k}{suffix}").copy_(ours.input.bias)
            second = getattr(theirs, f"bias_hh_l{k}{suffix}")
            second.copy_(torch.zeros_like(second) if ours.hidden.bias is None else ours.hidden.bias)
    return theirs


def first_state(ours: Recurrent, dtype: torch.dtype) -> Any:
    generator = torch.Generator().manual_seed(8)
    return ours.memory(*(torch.randn(B, ours.size, generator=generator, dtype=dtype) for _ in ours.memory._fields))


def theirs_of(state: Any) -> Any:
    return tuple(s[None] for s in state) if isinstance(state, Cell) else state.h[None]


def unpacked(last: Any) -> list[Tensor]:
    return list(last) if isinstance(last, tuple) else [last]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", COMMON)
def test_equals_torch_with_a_state_gradients_included(name: str, dtype: torch.dtype) -> None:
    config, peer = PEERS[name]
    ours = built(config, dtype=dtype)
    theirs = copied(peer(M, M, batch_first=True).to(dtype), [ours])
    near, begun = TOLERANCE[dtype], first_state(ours, dtype)
    a, b = inputs(dtype).requires_grad_(), inputs(dtype).requires_grad_()
    y, state = ours(a, dense(B, T, start=4), begun)  # a position behind the first: the state is gone on from
    z, last = theirs(b, theirs_of(begun))
    torch.testing.assert_close(y, z, **near)
    for mine, other in zip(state, unpacked(last), strict=True):
        torch.testing.assert_close(mine, other[0], **near)
    direction = torch.randn(y.shape, dtype=dtype)
    for result, after in ((y, state), (z, unpacked(last))):
        ((result * direction).sum() + sum(s.sin().sum() for s in after)).backward()
    torch.testing.assert_close(a.grad, b.grad, **near)
    for mine, other in ((ours.input.weight, "weight_ih_l0"), (ours.hidden.weight, "weight_hh_l0")):
        torch.testing.assert_close(mine.grad, getattr(theirs, other).grad, **near)
    torch.testing.assert_close(ours.input.bias.grad, theirs.bias_ih_l0.grad, **near)
    if name == "gru":
        torch.testing.assert_close(ours.hidden.bias.grad, theirs.bias_hh_l0.grad, **near)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_a_stack_in_both_directions_equals_torch_on_packed_rows(name: str, layers: int, dtype: torch.dtype) -> None:
    config, peer = PEERS[name]
    theirs = peer(M, M, layers, batch_first=True, bidirectional=True).to(dtype)
    near, x = TOLERANCE[dtype], inputs(dtype)
    packed_rows = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    ahead, back = list[Recurrent](), list[Recurrent]()
    for k in range(layers):  # two directions of width M side by side are the input of the next layer
        for number, side in enumerate((ahead, back)):
            wide = type(config)(**{**vars(config), "size": M})
            side.append(built(wide, M * (1 if k == 0 else 2), dtype, seed=2 * k + number))
    copied(theirs, ahead)
    copied(theirs, back, "_reverse")
    expected, _ = pad_packed_sequence(theirs(packed_rows)[0], batch_first=True)
    layout, h = right_padded(LENGTHS, T), x
    for k in range(layers):
        both = BidirectionalConfig(mixer=config).build(h.shape[-1], Positions())
        both.ahead, both.back, both.out = ahead[k], back[k], nn.Identity()
        for part in (ahead[k], back[k]):
            part.out = nn.Identity()
        h = both.encode(h, layout)
    torch.testing.assert_close(h[layout.valid], expected[layout.valid], **near)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", COMMON)
def test_a_stack_equals_the_torch_module_of_as_many_layers(name: str, layers: int, dtype: torch.dtype) -> None:
    config, peer = PEERS[name]
    stack = [built(config, dtype=dtype, seed=k) for k in range(layers)]
    theirs = copied(peer(M, M, layers, batch_first=True).to(dtype), stack)
    h, states = inputs(dtype), list[Any]()
    expected, last = theirs(h)
    for ours in stack:
        states.append(ours.write(h, dense(B, T)))
        h, _ = ours(h, dense(B, T))
    torch.testing.assert_close(h, expected, **TOLERANCE[dtype])
    for number, all_layers in enumerate(unpacked(last)):
        mine = torch.stack([state[number] for state in states])
        torch.testing.assert_close(mine, all_layers, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", COMMON)
def test_padded_rows_equal_a_packed_sequence_states_and_gradients(name: str, dtype: torch.dtype) -> None:
    config, peer = PEERS[name]
    ours = built(config, dtype=dtype)
    theirs = copied(peer(M, M, batch_first=True).to(dtype), [ours])
    near, begun, layout = TOLERANCE[dtype], first_state(ours, dtype), right_padded(LENGTHS, T)
    later = layout._replace(positions=torch.where(layout.valid, layout.positions + 2, -1))
    a, b = (torch.where(layout.valid[..., None], inputs(dtype), 100.0).requires_grad_() for _ in range(2))
    y, state = ours(a, later, begun)
    rows = pack_padded_sequence(b, LENGTHS, batch_first=True, enforce_sorted=False)
    sequence, last = theirs(rows, theirs_of(begun))
    z, _ = pad_packed_sequence(sequence, batch_first=True)
    torch.testing.assert_close(y[layout.valid], z[layout.valid], **near)
    for mine, other in zip(state, unpacked(last), strict=True):
        torch.testing.assert_close(mine, other[0], **near)
    for result, after in ((y, state), (z, unpacked(last))):
        (result[layout.valid].sin().sum() + sum(s.sin().sum() for s in after)).backward()
    torch.testing.assert_close(a.grad, b.grad, **near)
    torch.testing.assert_close(ours.hidden.weight.grad, theirs.weight_hh_l0.grad, **near)


def test_a_chunk_that_is_all_padding_leaves_the_state_of_its_row() -> None:
    for name in COMMON:
        ours = built(PEERS[name][0])
        begun, lengths = first_state(ours, torch.float64), torch.tensor([2, 0, 3])
        layout = right_padded(lengths, 3)
        layout = layout._replace(positions=torch.where(layout.valid, layout.positions + 5, -1))
        _, state = ours(inputs(tokens=3), layout, begun)
        for before, after in zip(begun, state, strict=True):
            torch.testing.assert_close(after[1], before[1], atol=0.0, rtol=0.0)
            assert not torch.allclose(after[0], before[0])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", COMMON)
def test_the_kernel_equals_the_loop(name: str, dtype: torch.dtype) -> None:
    ours = built(type(PEERS[name][0])(**{**vars(PEERS[name][0]), "size": S}), dtype=dtype)
    x, begun, near = inputs(dtype), first_state(ours, dtype), dict(TOLERANCE[dtype])
    if dtype == torch.float32:
        near["rtol"] = 1e-5  # gradients are sums over rows and tokens
    for layout in (dense(B, T), dense(B, T, start=3), right_padded(LENGTHS, T)):
        assert ours.direct
        results = list[tuple[Tensor, ...]]()
        for run in (ours.run, lambda x, g, s: scan(ours.step, ours.products(x), g, s)):
            ours.zero_grad()
            y, state = run(x, layout, begun)
            (y[layout.valid].sin().sum() + sum(s.sin().sum() for s in state)).backward()
            gradients = [p.grad.clone() for p in ours.parameters() if p.grad is not None]
            results.append((y[layout.valid], *state, *gradients))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, **near)


def rows(ours: Recurrent, x: Tensor, step: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """The outputs of a formula (x_t, h, c) -> (h, c), run on one row and one token after the other."""
    parts = list[Tensor]()
    for row in x:
        h = c = torch.zeros(ours.size, dtype=x.dtype)
        for token in row:
            h, c = step(token, h, c)
            parts.append(h)
    return torch.stack(parts).view(len(x), -1, ours.size)


def check(config: RecurrentConfig, formula: Callable[[Recurrent], Callable[..., tuple[Tensor, Tensor]]]) -> None:
    """Outputs and gradients, with an output projection."""
    ours, x = built(config), inputs()
    assert config.size == S
    assert isinstance(ours.out, nn.Linear)
    results = list[list[Tensor]]()
    for y in (ours(x, dense(B, T))[0], ours.out(rows(ours, x, formula(ours)))):
        ours.zero_grad()
        y.sin().sum().backward()
        results.append([y.detach(), *(p.grad.clone() for p in ours.parameters() if p.grad is not None)])
    assert len(results[0]) == len(list(ours.parameters())) + 1
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE[torch.float64])


def sigma(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("forget_gate", [False, True])
def test_the_cells_of_1997_and_of_2000_are_their_formulas(forget_gate: bool, peephole: bool) -> None:
    def formula(ours: Any) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        names = "ifgo" if forget_gate else "igo"

        def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            def net(gate: str) -> Tensor:
                k = slice(names.index(gate) * S, (names.index(gate) + 1) * S)
                return ours.input.weight[k] @ x + ours.hidden.weight[k] @ h + ours.input.bias[k]

            see = dict(zip(names.replace("g", ""), ours.peepholes, strict=True)) if peephole else {}
            kept = sigma(net("f") + see.get("f", 0.0) * c) * c if forget_gate else c
            new = kept + sigma(net("i") + see.get("i", 0.0) * c) * torch.tanh(net("g"))
            return sigma(net("o") + see.get("o", 0.0) * new) * torch.tanh(new), new

        return step

    check(LSTMConfig(size=S, forget_gate=forget_gate, peephole=peephole), formula)


def gate(ours: Recurrent, k: int) -> tuple[Tensor, Tensor, Tensor]:
    part = slice(k * S, (k + 1) * S)
    return ours.input.weight[part], ours.hidden.weight[part], ours.input.bias[part]


def test_the_gru_of_cho_is_its_formula() -> None:
    def formula(ours: Recurrent) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        (Wr, Ur, br), (Wz, Uz, bz), (W, U, b) = (gate(ours, k) for k in range(3))

        def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            r, z = sigma(Wr @ x + Ur @ h + br), sigma(Wz @ x + Uz @ h + bz)
            return z * h + (1 - z) * torch.tanh(W @ x + U @ (r * h) + b), c

        return step

    check(GRUConfig(size=S, reset_after=False), formula)


def test_sigmoid_units_and_factors_are_their_formulas() -> None:
    def elman(ours: Recurrent) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        return lambda x, h, c: (sigma(ours.input.weight @ x + ours.hidden.weight @ h + ours.input.bias), c)

    def factored(ours: Any) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            turn = ours.hidden.weight @ torch.diag(ours.factor_input.weight @ x) @ ours.factor_hidden.weight
            return torch.tanh(ours.input.weight @ x + turn @ h + ours.input.bias), c

        return step

    check(ElmanConfig(size=S, activation="sigmoid"), elman)
    check(MultiplicativeConfig(size=S, factors=4), factored)


def test_a_multiplicative_step_is_a_bilinear_map_of_token_and_state() -> None:
    ours, x = built(MultiplicativeConfig(size=S, factors=4)), inputs(tokens=1)
    h = torch.randn(B, S, dtype=torch.float64)
    with torch.no_grad():
        ours.input.weight.zero_()
        second_order = nn.Bilinear(M, S, S).double()
        matrices = (ours.hidden.weight, ours.factor_input.weight, ours.factor_hidden.weight)
        second_order.weight.copy_(torch.einsum("if,fj,fk->ijk", *matrices))
        second_order.bias.copy_(ours.input.bias)
        found = ours.step(ours.products(x)[:, 0], ours.memory(h)).h
        torch.testing.assert_close(found, second_order(x[:, 0], h).tanh(), **TOLERANCE[torch.float64])


def test_the_two_conventions_of_the_update_gate_are_mirror_images() -> None:
    """z of one is 1 - z of the other: the rows of z, negated."""
    ours, x = built(GRUConfig(size=S)), inputs()
    a, u, h = ours.products(x)[:, 0], ours.recur(torch.ones(B, S).double()), torch.randn(B, S).double()
    negated = torch.cat([torch.ones(S), -torch.ones(S), torch.ones(S)]).double()
    r, z, _ = (a + u).sigmoid().chunk(3, -1)
    n = torch.tanh(a[:, 2 * S :] + r * u[:, 2 * S :])
    torch.testing.assert_close(gru_step(a, u, h).h, z * h + (1 - z) * n, **TOLERANCE[torch.float64])
    torch.testing.assert_close(gru_step(negated * a, negated * u, h).h, (1 - z) * h + z * n, atol=1e-12, rtol=1e-10)


def test_start_values() -> None:
    mixer = LSTMConfig(size=S, forget_bias=3.0, peephole=True).build(M, Positions())
    XavierInit().apply(mixer, Sizes(M, 0, 1), seed=0)
    assert isinstance(mixer, Recurrent)
    expected = torch.tensor([0.0, 3.0, 0.0, 0.0]).repeat_interleave(S)
    assert torch.equal(mixer.input.bias.detach(), expected)
    for k in range(4):  # the matrix of every gate
        block = mixer.hidden.weight[k * S : (k + 1) * S].detach()
        torch.testing.assert_close(block @ block.T, torch.eye(S), atol=1e-5, rtol=0.0)
    model = from_data(DecoderConfig, {"width": 8, "layers": 1, "mixer": "lstm"}).build(11)
    assert model.stacks()[0].blocks[0].mix.input.bias[8:16].eq(1.0).all()  # type: ignore[union-attr]
    for config in (LSTMConfig(forget_gate=False), LSTMConfig(bias=False), GRUConfig(), ElmanConfig(bias=False)):
        XavierInit().apply(config.build(M, Positions()), Sizes(M, 0, 1), seed=0)


@pytest.mark.parametrize(
    ("name", "forget_bias", "least", "most"),
    [("elman", 0.0, -1.0, -0.15), ("lstm", 0.0, -1.0, -0.15), ("lstm", 3.0, -0.02, 0.1), ("1997", 0.0, -0.02, 0.1)],
)
def test_the_gradient_vanishes_unless_the_cell_keeps_it(
    name: str, forget_bias: float, least: float, most: float
) -> None:
    """Slope, per token, of log10 of the gradient of h_T with respect to x_t, over lags 10 to 60."""
    size, tokens, generator = 64, 61, torch.Generator().manual_seed(0)
    config = {"elman": ElmanConfig(), "lstm": LSTMConfig(), "1997": LSTMConfig(forget_gate=False)}[name]
    ours = config.build(size, Positions()).double()
    assert isinstance(ours, Recurrent)
    with torch.no_grad():
        for parameter in ours.parameters():
            nn.init.uniform_(parameter, -(size**-0.5), size**-0.5, generator=generator)
        if name == "lstm":
            ours.input.bias[size : 2 * size] = forget_bias
    x = torch.randn(16, tokens, size, generator=generator, dtype=torch.float64).requires_grad_()
    h = ours.write(x, dense(16, tokens)).h
    h.backward(torch.randn(h.shape, generator=generator, dtype=torch.float64))
    assert x.grad is not None
    norms = x.grad.norm(dim=(0, 2)).log10().flip(0)
    assert least <= (norms[60] - norms[10]) / 50 <= most


@pytest.mark.parametrize("name", COMMON)
def test_under_autocast_the_state_stays_float32_and_near(name: str) -> None:
    ours, layout = built(PEERS[name][0], 16, torch.float32), right_padded(LENGTHS, T)
    x = inputs(torch.float32, 16)
    anywhere = Layout(layout.positions, segments=torch.zeros_like(layout.positions))
    exact = ours.write(x, layout)
    expected, _ = ours(x, dense(B, T))
    slope = torch.autograd.grad(expected.sin().sum(), ours.hidden.weight)[0]
    for given in (x, x.bfloat16()):
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = ours(given, dense(B, T))
            state = ours.write(given, layout)
            looped = ours.write(given, anywhere)
        assert y.dtype == given.dtype
        assert all(s.dtype == torch.float32 for s in (*state, *looped))
        torch.testing.assert_close(y.float(), expected, atol=0.1, rtol=0.1)
        assert (torch.autograd.grad(y.float().sin().sum(), ours.hidden.weight)[0] - slope).norm() < 0.05 * slope.norm()
        for one, other, right in zip(state, looped, exact, strict=True):
            torch.testing.assert_close(one, right, atol=0.1, rtol=0.1)
            torch.testing.assert_close(other, right, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("layout", [dense(2, 2000), right_padded(torch.tensor([2000, 1500]), 2000)])
def test_a_cell_adds_up_small_steps_under_autocast(layout: Layout) -> None:
    """Each step adds 0.005; in bfloat16 the sum would stop at 1, where it is lost."""
    ours = LSTMConfig(size=4).build(4, Positions())
    assert isinstance(ours, Recurrent)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
        ours.input.bias.copy_(torch.tensor([0.0, 30.0, 0.01, 0.0]).repeat_interleave(4))
        with torch.autocast("cpu", torch.bfloat16):
            state = ours.write(torch.randn(2, 2000, 4), layout)
    sums = 0.005 * layout.valid.sum(1).float()
    torch.testing.assert_close(state.c, sums[:, None].expand(2, 4), atol=0.0, rtol=5e-3)


def test_gradients_do_not_need_training_mode() -> None:
    ours, x = built(LSTMConfig()).eval(), inputs().requires_grad_()
    ours(x, dense(B, T))[0].sum().backward()
    assert x.grad is not None


def test_packed_documents_leave_the_state_of_the_last_one() -> None:
    ours, x = built(LSTMConfig()), inputs()
    state = ours.write(x, packed([[4, 2], [7], [1, 1, 9]], T))
    for row, (start, stop) in enumerate([(4, 6), (0, 7), (2, 11)]):
        alone = ours.write(x[[row], start:stop], dense(1, stop - start))
        for a, b in zip(state, alone, strict=True):
            torch.testing.assert_close(a[row], b[0], **TOLERANCE[torch.float64])


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="size=0 must be at least 1"):
        GRUConfig(size=0)
    with pytest.raises(UserError, match="factors=0"):
        MultiplicativeConfig(factors=0)
    with pytest.raises(UserError, match=r"forget_bias=3\.0 has no meaning with forget_gate=false"):
        LSTMConfig(forget_gate=False, forget_bias=3.0)
    with pytest.raises(UserError, match=r"forget_bias=3\.0 has no meaning with bias=false"):
        LSTMConfig(bias=False, forget_bias=3.0)
    with pytest.raises(UserError, match="wrap it in bidirectional"):
        built(GRUConfig()).encode(inputs(), dense(B, T))
    assert in_encoder(ElmanConfig()) == BidirectionalConfig(mixer=ElmanConfig())
