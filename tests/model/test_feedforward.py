"""Feed-forwards against their formulas: each position alone."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.block import Block
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.feedforward.feedforward import ACTIVATIONS, FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.feedforward.maxout import MaxoutConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.feedforward.sigma_pi import SigmaPi, SigmaPiConfig, products
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import dense
from transduce.model.norms.norm import NoNorm
from transduce.model.residual.norm_free import AddConfig
from transduce.model.sublayers import Feed
from transduce.testing.sharding import ranks, shard

WIDTH = 7
EVERY = [
    MLPConfig(), GatedConfig(), MaxoutConfig(), MaxoutConfig(hidden=5, pieces=3), MaxoutConfig(down=False),
    SigmaPiConfig(), SigmaPiConfig(order=3), SigmaPiConfig(order=3, rank=4), ExpertsConfig(experts=3, shared=1),
]  # fmt: skip


def made(config: FeedForwardConfig, width: int = WIDTH) -> nn.Module:
    module = config.build(width).double()
    XavierInit().apply(module, Sizes(width, 0, 1), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return module


def sample(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def run(module: nn.Module, x: Tensor) -> Tensor:
    block = Block([(AddConfig(dropout=0.0).build(x.shape[-1], NoNorm()), Feed())], {"feed": module})
    return Feed()(block, x, dense(*x.shape[:2]), None, None)[0]


def test_every_kind_is_here() -> None:
    assert {c.kind for c in EVERY} | {"none"} == set(kinds(FeedForwardConfig.folder))


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_ranks_with_a_share_of_the_features_add_up_to_one(config: FeedForwardConfig) -> None:
    module, x = made(config, 8), sample(2, 3, 8)
    if not getattr(module, "tp_plan", {}):
        assert config in (MaxoutConfig(down=False), *EVERY[5:]), "of these a rank needs all"
        return
    count = ranks(module)
    assert count > 1
    parts = [shard(module, rank, count) for rank in range(count)]
    torch.testing.assert_close(torch.stack([part(x) for part in parts]).sum(0), module(x), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("config", EVERY, ids=str)
def test_each_position_alone_with_right_gradients(config: FeedForwardConfig) -> None:
    module, x = made(config), sample(1, 3, WIDTH)
    jacobian = torch.autograd.functional.jacobian(lambda x: run(module, x), x)[0, :, :, 0]  # type: ignore[index]
    for t, s in product(range(3), range(3)):
        assert bool(jacobian[t, :, s].any()) == (t == s)  # type: ignore[index]
    assert torch.autograd.gradcheck(lambda x: run(module, x), x.requires_grad_())


def test_an_mlp_is_two_convolutions_of_size_one() -> None:
    mlp: Any = made(MLPConfig(activation="gelu", hidden=11))
    x = sample(2, 5, WIDTH)
    up = F.conv1d(x.mT, mlp.up.weight[..., None], mlp.up.bias)
    down = F.conv1d(F.gelu(up), mlp.down.weight[..., None], mlp.down.bias)
    torch.testing.assert_close(mlp(x), down.mT)


def test_activations_are_their_formulas() -> None:
    x = sample(100)
    expected = {
        "relu": x.clamp(min=0),
        "gelu": x * (1 + torch.erf(x / math.sqrt(2))) / 2,
        "gelu-tanh": x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        "silu": x / (1 + torch.exp(-x)),
        "squared-relu": x.clamp(min=0) ** 2,
        "sigmoid": 1 / (1 + torch.exp(-x)),
        "tanh": (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1),
        "identity": x,
    }
    assert expected.keys() == ACTIVATIONS.keys()
    for name, y in expected.items():
        torch.testing.assert_close(ACTIVATIONS[name](x), y, atol=1e-12, rtol=1e-12, msg=name)


@pytest.mark.parametrize("activation", ["sigmoid", "gelu", "silu"])
def test_gated_is_its_formula(activation: Any) -> None:
    gated: Any = made(GatedConfig(activation=activation, bias=True, hidden=9))
    x = sample(2, 3, WIDTH)
    gate, up = (x @ m.weight.T + m.bias for m in (gated.gate, gated.up))
    expected = (ACTIVATIONS[activation](gate) * up) @ gated.down.weight.T + gated.down.bias
    torch.testing.assert_close(gated(x), expected)


@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout_is_its_formula(pieces: int) -> None:
    maxout: Any = made(MaxoutConfig(hidden=5, pieces=pieces))
    x = sample(2, WIDTH)
    z = x @ maxout.up.weight.T + maxout.up.bias
    h = torch.stack([torch.stack([z[:, pieces * i + j] for j in range(pieces)]).max(0).values for i in range(5)], 1)
    torch.testing.assert_close(maxout(x), h @ maxout.down.weight.T + maxout.down.bias)
    plain: Any = made(MaxoutConfig(down=False))
    assert plain(x).shape == (2, WIDTH)
    assert plain.up.out_features == 2 * WIDTH


def test_maxout_of_two_signs_is_the_absolute_value() -> None:
    maxout: Any = made(MaxoutConfig(down=False, bias=False))
    with torch.no_grad():
        eye = torch.eye(WIDTH, dtype=torch.float64)
        maxout.up.weight.copy_(torch.stack([eye, -eye], 1).flatten(0, 1))
    x = sample(4, WIDTH)
    torch.testing.assert_close(maxout(x), x.abs())


def test_sigma_pi_of_two_inputs_is_bilinear() -> None:
    torch.manual_seed(0)
    theirs = nn.Bilinear(5, 4, 3)
    ours = SigmaPi(5, 4, out=3)
    with torch.no_grad():
        ours.sum.weight.copy_(theirs.weight.flatten(1))
        ours.sum.bias.copy_(theirs.bias)
    a, b = torch.randn(2, 6, 5), torch.randn(2, 6, 4)
    torch.testing.assert_close(ours(a, b), theirs(a, b), atol=1e-6, rtol=1e-6)


def test_products_of_three_inputs() -> None:
    a, b, c = sample(4, 2), sample(4, 3), sample(4, 5)
    torch.testing.assert_close(products(a, b, c), torch.einsum("bi,bj,bk->bijk", a, b, c).flatten(1))


def test_sigma_pi_of_a_rank_is_one_with_all_products() -> None:
    few: Any = made(SigmaPiConfig(order=3, rank=4))
    every: Any = made(SigmaPiConfig(order=3))
    first, second, third = few.up.weight.split([4, 8, 12])
    u = few.down.weight.split(4, 1)
    weights = [
        u[0] @ first,
        torch.einsum("or,rj,rk->ojk", u[1], *second.view(2, 4, WIDTH)).flatten(1),
        torch.einsum("or,rj,rk,rl->ojkl", u[2], *third.view(3, 4, WIDTH)).flatten(1),
    ]
    with torch.no_grad():
        every.down.weight.copy_(torch.cat(weights, 1))
        every.down.bias.copy_(few.down.bias)
    x = sample(2, 3, WIDTH)
    torch.testing.assert_close(few(x), every(x), atol=1e-10, rtol=1e-10)


def test_products_of_three_solve_the_parity_that_no_linear_layer_does() -> None:
    x = torch.tensor(list(product([-1.0, 1.0], repeat=3)))
    parity = x.prod(1, keepdim=True)

    def accuracy(features: Tensor) -> float:
        features = torch.cat([torch.ones(8, 1), features], 1)
        fitted = features @ torch.linalg.lstsq(features, parity, driver="gelsd").solution
        return (fitted.sign() == parity).float().mean().item()

    assert accuracy(torch.cat([x, products(x, x), products(x, x, x)], 1)) == 1.0
    assert accuracy(x) <= 0.75
    assert accuracy(torch.cat([x, products(x, x)], 1)) <= 0.75


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "maxout", "pieces": 1}, "pieces=1 must be at least 2"),
        ({"kind": "maxout", "down": False, "hidden": 5}, "hidden=5 units do not join a stream of width=32"),
        ({"kind": "sigma-pi", "order": 0}, "order=0 must be at least 1"),
        ({"kind": "sigma-pi", "order": 6}, "34,359,738,368 weights; give feedforward.rank=32"),
        ({"kind": "experts", "top": 9}, "top=9 of experts=8 cannot be taken"),
        ({"kind": "experts", "inner": "none"}, "an expert cannot be of kind none"),
        ({"kind": "experts", "inner": "experts"}, "an expert cannot be of kind experts"),
        ({"kind": "experts", "balance": -1}, "balance=-1.0 is negative"),
        ({"kind": "mlp", "activation": "swish"}, "must be one of relu, gelu"),
    ],
    ids=str,
)
def test_refusals(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(DecoderConfig, {"width": 32, "feedforward": data}).build(9)
