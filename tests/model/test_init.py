"""Start values: every scheme reaches every parameter, and has the deviations of its formula."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.model.batch import Batch
from transduce.model.init.depth import deep_norm
from transduce.model.init.init import InitConfig, Sizes, XavierInit, declared
from transduce.model.layout import dense
from transduce.model.mixers.delta import rates, slow
from transduce.model.models import Model
from transduce.objectives.language import NextTokenConfig
from transduce.optim import grouped
from transduce.optim.adamw import AdamWConfig
from transduce.optim.muon import MuonConfig

KINDS = sorted(kinds(InitConfig.folder))
FREE: dict[str, Any] = {"scale_embedding": False}  # what mup asks for
MUP_ADAM = AdamWConfig(learning_rate=0.001, mup_base_width=32)
SMALL: dict[str, Any] = {"width": 16, "layers": 2, "mixer": {"heads": 2}}


def scheme(kind: str, **options: Any) -> InitConfig:
    return from_data(DecoderConfig, {"init": {"kind": kind, **options}}).init


def matrix(init: InitConfig, out: int = 1000, into: int = 1000) -> Tensor:
    """A matrix of a model 1000 wide and 6 + 6 layers deep."""
    model = nn.ModuleDict({"w": nn.Linear(into, out, bias=False)})
    init.apply(model, Sizes(1000, 6, 6), seed=0)
    return model["w"].weight.detach()  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("feedforward", "mixer"), [("mlp", "additive"), ("experts", "attention"), ("maxout", "lstm")], ids=str
)
def test_every_scheme_gives_every_parameter_a_value_and_the_same_one_for_a_seed(
    kind: str, feedforward: str, mixer: str
) -> None:
    configs: list[tuple[type[ModelConfig], dict[str, Any]]] = [
        (EncoderDecoderConfig, {"encoder_mixer": "attention", "cross": "attention", "tie_embeddings": "none"}),
        (DecoderConfig, {"tie_embeddings": False}),
    ]
    for config, data in configs:
        model = from_data(
            config, {**data, **FREE, "width": 16, "layers": 2, "mixer": mixer, "feedforward": feedforward, "init": kind,
                     "positions": "learned", "residual": "sandwich"}
        )  # fmt: skip
        one, again, other = model.build(11, seed=3), model.assemble(11), model.build(11, seed=4)
        with torch.no_grad():
            for p in again.parameters():
                p.fill_(float("nan"))  # what is not given a value stays so
        depths = [len(stack.order) for stack in again.stacks()]
        model.init.apply(again, Sizes(16, depths[0] if len(depths) > 1 else 0, depths[-1], model.scale), seed=3)
        for (name, a), b, c in zip(one.named_parameters(), again.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b), name
            if a.ndim > 1 and name not in declared(one) and not (kind == "gaussian" and "score" in name):
                assert a.std() > 0, name
                assert not torch.equal(a, c), name
            if "norm" in name or "leave" in name:
                assert (a == float(name.endswith("weight"))).all(), name


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (scheme("xavier"), math.sqrt(2 / (1000 + 500))),
        (scheme("kaiming"), math.sqrt(2 / 500)),
        (scheme("lecun"), math.sqrt(1 / 500)),
        (scheme("torch"), math.sqrt(1 / 500 / 3)),
        (scheme("uniform"), 0.08 / math.sqrt(3)),
        (scheme("normal"), 0.02),
        (scheme("truncated-normal"), 0.02 * 0.8796),  # of a normal cut at two deviations
        (scheme("gaussian"), 0.01),
        (scheme("orthogonal", gain=2.0), 2 / math.sqrt(500)),
        (scheme("t-fixup"), math.sqrt(2 / (1000 + 500))),
        (scheme("deep-norm"), math.sqrt(2 / (1000 + 500))),
        (scheme("mup"), math.sqrt(1 / 500)),
        (scheme("rules", patterns=[["*.weight", "kaiming", 0.5]]), 0.5 * math.sqrt(2 / 500)),
    ],
    ids=lambda x: x.kind if isinstance(x, InitConfig) else "",
)
def test_deviations_are_those_of_the_formula(init: InitConfig, expected: float) -> None:
    w = matrix(init, 1000, 500)
    assert w.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(w.mean().item()) < 0.02 * expected


@pytest.mark.parametrize("kind", KINDS)
def test_tables_start_with_the_deviation_that_each_scheme_names(kind: str) -> None:
    """width^-1/2, so that sqrt(width) of it is 1, in most; those of published code have one of their own."""
    own = {"torch": 1.0, "normal": 0.02, "truncated-normal": 0.02 * 0.8796, "uniform": 0.08 / math.sqrt(3), "mup": 1.0}
    own |= {"gaussian": 0.01, "t-fixup": 16**-0.5 * (9 * 2) ** -0.25}
    data = {**SMALL, **FREE, "init": kind, "tie_embeddings": False}
    table = from_data(DecoderConfig, data).build(3000).get_parameter("embed.weight")
    assert table.std().item() == pytest.approx(own.get(kind, 16**-0.5), rel=0.03)


def test_decays_start_as_published() -> None:
    """Mamba 2: the rate of forgetting U(1, 16), the step log uniform from 0.001 to 0.1."""
    g = torch.Generator().manual_seed(0)
    rate, step = rates((20_000,), g).exp(), F.softplus(slow((20_000,), g).double())
    assert 1.0 <= rate.min() < 1.01
    assert 15.99 < rate.max() <= 16.0
    assert rate.mean().item() == pytest.approx(8.5, abs=0.1)
    assert 0.001 * 0.999 <= step.min() < 0.00101
    assert 0.099 < step.max() <= 0.1 * 1.001
    assert step.log().mean().item() == pytest.approx(math.log(0.01), abs=0.03)


def test_all_schemes_are_in_the_test_above() -> None:
    assert len(KINDS) == 13


@pytest.mark.parametrize(
    ("init", "activation", "healthy"),
    [
        (scheme("kaiming"), torch.relu, True),
        (scheme("orthogonal", gain=5 / 3), torch.tanh, True),
        (scheme("lecun"), lambda x: x, True),
        (scheme("rules", patterns=[["*", "normal", 1.0]]), torch.relu, False),
        (scheme("rules", patterns=[["*", "normal", 0.001]]), torch.tanh, False),
    ],
    ids=["kaiming", "orthogonal", "lecun", "too large", "too small"],
)
def test_activations_through_fifty_layers(init: InitConfig, activation: Any, healthy: bool) -> None:
    layers = nn.ModuleList(nn.Linear(256, 256, bias=False) for _ in range(50))
    init.apply(layers, Sizes(256, 0, 50), seed=0)
    x = torch.randn(200, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for layer in layers:
            x = activation(layer(x))
    rms = x.square().mean().sqrt().item()
    assert 0.3 < rms < 3 if healthy else not 1e-3 < rms < 1e3


def test_torch_scheme_has_the_bounds_of_torch() -> None:
    """torch.nn.Linear, LSTM and Embedding: the largest of many draws is just below the bound."""
    data = {**SMALL, "width": 64, "mixer": "lstm", "feedforward": {"kind": "mlp", "hidden": 400}, "init": "torch"}
    model = from_data(DecoderConfig, {**data, "tie_embeddings": False, "residual": "add"}).build(500)
    found = {name: p.detach() for name, p in model.named_parameters()}
    block = "stack.blocks.0"
    lstm, linear = nn.LSTM(64, 64), nn.Linear(400, 64)
    for ours, theirs in {
        f"{block}.mix.hidden.weight": lstm.weight_hh_l0,
        f"{block}.mix.input.weight": lstm.weight_ih_l0,
        f"{block}.feed.down.weight": linear.weight,
        f"{block}.feed.down.bias": linear.bias,
        f"{block}.feed.up.bias": nn.Linear(64, 400).bias,
    }.items():
        assert found[ours].shape == theirs.shape
        assert found[ours].abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.15), ours
        assert found[ours].abs().max() <= {64: 0.125, 400: 0.05}[64 if ".mix." in ours or ".up." in ours else 400]
    assert found["embed.weight"].std().item() == pytest.approx(1.0, rel=0.02)
    assert found["head.weight"].std().item() == pytest.approx(0.125 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(("out", "into"), [(6, 6), (18, 6), (6, 18), (7, 5)])
def test_orthogonal_matrices_are_so_block_by_block(out: int, into: int) -> None:
    """Gates stand one above the other: each block keeps lengths, or else the whole matrix does."""
    w = matrix(scheme("orthogonal", gain=2.0), out, into).double() / 2
    blocks = w.split(into) if out % into == 0 else [w]
    for block in blocks:
        product = block @ block.T if block.shape[0] <= block.shape[1] else block.T @ block
        torch.testing.assert_close(product, torch.eye(len(product), dtype=torch.float64), atol=1e-5, rtol=0)
    assert len(blocks) == 1 or not torch.equal(blocks[0], blocks[1])


def test_recurrent_networks_have_the_bound_of_torch_by_their_units() -> None:
    """torch.nn.GRU: all U(-1/sqrt(units), 1/sqrt(units)), also what reads the input, which has another size."""
    data = {**SMALL, "width": 16, "mixer": {"kind": "gru", "size": 144}, "init": "torch"}
    model = from_data(DecoderConfig, data).build(9)
    found = {name.split("mix.")[-1]: p for name, p in model.named_parameters() if ".0.mix." in name}
    theirs = nn.GRU(16, 144)
    pairs = {"input.weight": "weight_ih_l0", "hidden.weight": "weight_hh_l0", "input.bias": "bias_ih_l0"}
    for ours, other in pairs.items():
        bound = theirs.get_parameter(other).abs().max().item()
        assert found[ours].abs().max().item() == pytest.approx(bound, rel=0.02), ours
    assert found["out.weight"].abs().max().item() == pytest.approx(144**-0.5, rel=0.02)


@pytest.mark.parametrize("kind", ["torch", "uniform", "xavier"])
def test_the_forget_bias_is_added_to_what_the_scheme_gives(kind: str) -> None:
    plain, raised = (
        from_data(DecoderConfig, {**SMALL, "mixer": {"kind": "lstm", "forget_bias": b}, "init": kind}).build(9)
        for b in (0.0, 3.0)
    )
    name = "stack.blocks.0.mix.input.bias"
    difference = raised.get_parameter(name) - plain.get_parameter(name)
    torch.testing.assert_close(difference, torch.tensor([0.0, 3.0, 0.0, 0.0]).repeat_interleave(16))
    assert plain.get_parameter(name).any() == (kind != "xavier")


def test_a_vector_that_no_part_speaks_for_is_an_error() -> None:
    model = nn.Module()
    model.gain = nn.Parameter(torch.ones(3))
    with pytest.raises(UserError, match=r"`gain` of Module is not a matrix.*start\(\)"):
        XavierInit().apply(model, Sizes(3, 0, 1), seed=0)


def encoder_decoder(kind: str) -> Model:
    data = {**SMALL, "width": 120, "encoder_layers": 4, "decoder_layers": 2, "init": kind, "tie_embeddings": "none"}
    return from_data(EncoderDecoderConfig, {**data, "feedforward": "gated"}).build(2000)


def relative(model: Model, name: str) -> float:
    """The deviation of a matrix over that of Xavier."""
    w = model.get_parameter(name)
    return w.std().item() / math.sqrt(2 / (w.shape[0] + w.shape[1]))


@pytest.mark.parametrize("kind", ["deep-norm", "t-fixup"])
def test_what_adds_to_the_stream_is_scaled_by_the_depth(kind: str) -> None:
    model = encoder_decoder(kind)
    above = deep_norm(4, 2, encoder=True).beta if kind == "deep-norm" else 0.67 * 4**-0.25
    below = deep_norm(2, 4, encoder=False).beta if kind == "deep-norm" else 18**-0.25
    for side, layer, factor in (("encoder", 3, above), ("decoder", 1, below)):
        block = f"{side}.stack.blocks.{layer}"
        for name in ["v", "out"]:
            assert relative(model, f"{block}.mix.{name}.weight") == pytest.approx(factor, rel=0.02)
        for name in ["up", "gate", "down"]:
            assert relative(model, f"{block}.feed.{name}.weight") == pytest.approx(factor, rel=0.02)
        for name in ["q", "k"]:
            assert relative(model, f"{block}.mix.{name}.weight") == pytest.approx(1, rel=0.02)
    assert relative(model, "decoder.stack.blocks.0.cross.v.weight") == pytest.approx(below, rel=0.02)
    factor = 18**-0.25 if kind == "t-fixup" else 1.0
    for name in ("encoder.embed.weight", "decoder.embed.weight"):
        assert model.get_parameter(name).std().item() == pytest.approx(factor * 120**-0.5, rel=0.02)


def test_gpt2_divides_what_is_added_to_the_stream_by_the_root_of_its_summands() -> None:
    """Radford et al. 2019, sec. 2.3: two additions per layer."""
    model = from_data(DecoderConfig, {"width": 240, "layers": 6, "mixer": {"heads": 4}, "init": "normal"}).build(9)
    for name, p in model.named_parameters():
        if p.ndim == 2 and ".blocks." in name:
            last = name.endswith((".out.weight", ".down.weight"))
            assert p.std().item() == pytest.approx(0.02 / math.sqrt(12) if last else 0.02, rel=0.02), name


def test_additive_attention_begins_with_equal_weights_as_published() -> None:
    model = from_data(DecoderConfig, {**SMALL, "width": 96, "mixer": "additive", "init": "gaussian"}).build(9)
    found = {name.split("mix.")[-1]: p for name, p in model.named_parameters() if ".0.mix." in name}
    assert not found["score.weight"].any()
    assert found["q.weight"].std().item() == pytest.approx(0.001, rel=0.03)
    assert found["k.weight"].std().item() == pytest.approx(0.001, rel=0.03)
    assert found["out.weight"].std().item() == pytest.approx(0.01, rel=0.03)


def test_uniform_draws_biases_too_but_not_those_of_norms() -> None:
    model = from_data(DecoderConfig, {**SMALL, "init": {"kind": "uniform", "bound": 0.1}}).build(9)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert bool(p.any()) != ("norm" in name or "leave" in name), name
        if p.ndim > 1:
            assert 0.05 < p.abs().max() <= 0.1


def test_mup_keeps_activations_and_shrinks_logits_with_the_width() -> None:
    """Table 3 of the paper: matrices 1 / in, embeddings constant, the head base / width^2."""
    for width in (64, 256):
        data = {**SMALL, **FREE, "width": width, "mixer": {"heads": width // 8}, "init": "mup", "tie_embeddings": False}
        model = from_data(DecoderConfig, data).build(300)
        assert model.get_parameter("embed.weight").std().item() == pytest.approx(1.0, rel=0.03)
        assert model.head.weight.std().item() == pytest.approx(8 / width, rel=0.03)
        v = model.get_parameter("stack.blocks.0.mix.v.weight")
        assert v.std().item() == pytest.approx(width**-0.5, rel=0.03)


MUP: dict[str, Any] = {**FREE, "tie_embeddings": False, "residual": {"dropout": 0.0}}


def test_mup_divides_the_rate_of_matrices_and_of_the_head_by_the_width() -> None:
    model = from_data(DecoderConfig, {**SMALL, **MUP, "width": 64}).build(11)
    for kind in (AdamWConfig, MuonConfig):
        optimizers = kind(learning_rate=0.1, weight_decay=0.2, mup_base_width=16).build(model)
        peaks = {p: g["peak"] for o in optimizers for g in o.param_groups for p in g["params"]}
        decays = {p: g["weight_decay"] for o in optimizers for g in o.param_groups for p in g["params"]}
        for role, p in grouped(model):
            wide = role == "matrix" or p is model.head.weight
            assert peaks[p] == pytest.approx(0.025 if wide else 0.1)
            assert decays[p] == pytest.approx(0.8 if role == "matrix" else 0.0)


def moved(width: int, data: dict[str, Any], optimizer: AdamWConfig) -> float:
    """How far three updates move the logits, as root mean square."""
    model = from_data(DecoderConfig, {**SMALL, **MUP, "width": width, "mixer": {"heads": width // 16}, **data}).build(
        31
    )
    ids = torch.randint(0, 31, (4, 12), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, dense(4, 12), ids.roll(-1, 1))
    (adam,), before = optimizer.build(model), model.head(model.features(batch)).detach()
    for _ in range(3):
        adam.zero_grad()
        loss = NextTokenConfig().build()(model, batch)
        (loss.total / loss.count).backward()
        adam.step()
    return (model.head(model.features(batch)).detach() - before).square().mean().sqrt().item()


def test_mup_moves_logits_alike_at_every_width() -> None:
    """The coordinate check of the paper, fig. 5: without it they move the more the wider the model is."""
    narrow, wide = (moved(w, {"init": {"kind": "mup", "base_width": 32}}, MUP_ADAM) for w in (32, 256))
    assert 0.5 < wide / narrow < 1.5
    narrow, wide = (moved(w, {"init": "lecun"}, AdamWConfig(learning_rate=0.001)) for w in (32, 256))
    assert wide / narrow > 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"init": "mup", **FREE}, "they share one table"),
        ({"init": "mup", "tie_embeddings": False}, "embeddings are multiplied by its root"),
        ({"init": {"kind": "mup", "base_width": 0}}, "base_width=0 must be at least 1"),
        ({"init": {"kind": "uniform", "bound": 0}}, "bound=0.0 must be a positive number"),
        ({"init": {"kind": "rules", "patterns": [["*", "normal"]]}}, r"write \[pattern, name, value\]"),
        ({"init": {"kind": "rules", "patterns": [[1, "normal", 1]]}}, r"write \[pattern, name, value\]"),
        ({"init": {"kind": "rules", "patterns": [["*", "normal", "1"]]}}, r"write \[pattern, name, value\]"),
        ({"init": {"kind": "rules", "patterns": [["*", "gaussian", 1]]}}, "no start values 'gaussian'"),
        ({"init": {"kind": "rules", "patterns": [["*", "orthogonl", 1]]}}, "did you mean orthogonal"),
        ({"init": {"kind": "rules", "patterns": [["*.query.*", "normal", 1]]}}, "matches no parameter"),
    ],
    ids=str,
)
def test_refusals(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(DecoderConfig, {**SMALL, **data}).build(9)


def test_rules_of_the_user_come_first_in_their_order() -> None:
    patterns = [["*.q.weight", "constant", 0.5], ["*.0.mix.*.weight", "uniform", 0.01]]
    model = from_data(DecoderConfig, {**SMALL, "init": {"kind": "rules", "patterns": patterns}}).build(9)
    mixer: Any = model.get_submodule("stack.blocks.0.mix")
    assert (mixer.q.weight == 0.5).all()
    assert 0.005 < mixer.k.weight.abs().max() <= 0.01
    assert not mixer.k.bias.any()
    up = model.get_parameter("stack.blocks.0.feed.up.weight")
    assert up.std().item() == pytest.approx(math.sqrt(2 / 80), rel=0.1)


@pytest.mark.parametrize("scaled", [True, False])
def test_learned_positions_start_as_large_as_the_tokens_they_are_added_to(scaled: bool) -> None:
    model = from_data(
        DecoderConfig, {"width": 64, "layers": 1, "positions": "learned", "scale_embedding": scaled}
    ).build(500)  # fmt: skip
    tokens, places = model.embed.weight.detach(), model.embed.positions.weight.detach()
    assert math.isclose(float(places.std()), float(tokens.std()) * (8 if scaled else 1), rel_tol=0.03)
