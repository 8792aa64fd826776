import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.optim import OptimizerConfig, grouped, set_rate
from transduce.optim.adadelta import AdadeltaConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.muon import Muon, MuonConfig, orthogonalise
from transduce.optim.sgd import SGDConfig


def test_how_parameters_move() -> None:
    model = EncoderDecoderConfig(width=16, layers=1, tie_embeddings="none").build(11)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {role: [names[id(p)] for r, p in grouped(model) if r == role] for role in ("matrix", "table", "vector")}
    assert found["table"] == ["encoder.embed.weight", "decoder.embed.weight", "decoder.head.weight"]
    assert all(any(f".{child}." in name for child in ("mix", "cross", "feed")) for name in found["matrix"])
    assert all(name.endswith("bias") or "norm" in name or "leave" in name for name in found["vector"])
    assert sum(map(len, found.values())) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", [AdamWConfig, MuonConfig])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(kind: type[AdamWConfig | MuonConfig]) -> None:
    model = DecoderConfig(width=16, layers=2).build(11)
    groups = [g for o in kind(weight_decay=0.5).build(model) for g in o.param_groups]
    there = [id(p) for g in groups for p in g["params"]]
    assert sorted(there) == sorted(id(p) for p in model.parameters())
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(p) for role, p in grouped(model) if role == "matrix"}


def test_adamw_is_its_formula() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, in float64."""
    torch.manual_seed(0)
    model = nn.Linear(3, 4).double()
    w = model.weight.detach().clone()
    config = AdamWConfig(learning_rate=0.1, weight_decay=0.3, betas=(0.8, 0.9), eps=1e-5)
    (optimizer,) = config.build(model)
    m = v = torch.zeros_like(w)
    for t in range(1, 6):
        set_rate([optimizer], factor=t / 10)
        rate = 0.1 * t / 10
        g = torch.randn_like(w)
        model.weight.grad, model.bias.grad = g.clone(), torch.zeros(4, dtype=torch.float64)
        optimizer.step()
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        w = w - rate * 0.3 * w - rate * (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-5)
        torch.testing.assert_close(model.weight.detach(), w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(13, 29), (29, 13), (16, 16), (2, 7, 5)])
def test_orthogonalise_keeps_the_singular_vectors_and_sets_the_values_to_about_one(shape: tuple[int, ...]) -> None:
    g = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(g, full_matrices=False)
    result = orthogonalise(g)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.25
    core = left.mT @ result @ right.mT
    assert (core - torch.diag_embed(core.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-3
    torch.testing.assert_close(orthogonalise(g.mT), result.mT, atol=1e-5, rtol=1e-4)


def test_muon_is_that_of_torch() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(6, 10)), nn.Parameter(torch.randn(6, 10)), nn.Parameter(torch.randn(8, 3))]
    theirs = copy.deepcopy(weights)
    ours = Muon(weights, lr=0.02, momentum=0.9, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(weights, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        ours.step()
        reference.step()
    for a, b in zip(weights, theirs, strict=True):  # theirs multiplies in bfloat16
        torch.testing.assert_close(a, b, atol=4e-3, rtol=0)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"learning_rate": 0}, "learning_rate=0.0 moves nothing"),
        ({"betas": [0.9]}, r"betas=\[0.9\] must be two numbers"),
        ({"learning_rate": math.nan}, "`learning_rate` is not a number"),
        ({"learning_rate": math.inf}, "`learning_rate` is infinite"),
        ({"eps": 0}, "eps=0.0 must be a positive number"),
        ({"eps": math.nan}, "`eps` is not a number"),
        ({"weight_decay": -1}, "weight_decay=-1.0 is negative"),
        ({"weight_decay": math.nan}, "`weight_decay` is not a number"),
        ({"lr": 1}, "unknown key `lr`; did you mean `learning_rate`?"),
    ],
)
def test_refusals(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        from_data(AdamWConfig, values)


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("kind", kinds(OptimizerConfig.folder))
def test_tables_decay_only_if_asked_to_and_vectors_never(kind: str, decays: bool) -> None:
    """With gradients of zero, all that an update does is to decay."""
    model = DecoderConfig(width=16, layers=1).build(11)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    values = {"weight_decay": 0.5, "learning_rate": 0.1, "decay_embeddings": decays}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config: OptimizerConfig = from_data(kinds(OptimizerConfig.folder)[kind], values)  # type: ignore[assignment]
    for optimizer in config.build(model):
        optimizer.step()
    for name, p in model.named_parameters():
        (role,) = (role for role, q in grouped(model) if q is p)
        shrinks = role == "matrix" or (role == "table" and decays)
        if not shrinks:
            assert torch.equal(p, before[name]), name
        elif kind != "adadelta":  # whose steps have a size of their own
            torch.testing.assert_close(p.detach(), before[name] * (1 - 0.1 * 0.5), msg=name)
        else:
            assert p.detach().norm() < before[name].norm(), name


def followed(config: OptimizerConfig, update: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Five updates of a matrix by an optimiser, against `update(weights, gradient)` in float64."""
    torch.manual_seed(0)
    model = nn.Linear(3, 4, bias=False).double()
    w = model.weight.detach().clone()
    (optimizer,) = config.build(model)
    for _ in range(5):
        g = torch.randn_like(w)
        model.weight.grad = g.clone()
        optimizer.step()
        w = update(w, g)
        torch.testing.assert_close(model.weight.detach(), w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sgd_is_its_formula(momentum: float, nesterov: bool) -> None:
    """m <- momentum m + g, w <- w - rate m; Nesterov's looks one step ahead: w <- w - rate (g + momentum m)."""
    if nesterov and not momentum:
        with pytest.raises(UserError, match="nesterov=true needs momentum"):
            from_data(SGDConfig, {"nesterov": True})
        return
    state = torch.zeros(4, 3, dtype=torch.float64)

    def update(w: Tensor, g: Tensor) -> Tensor:
        nonlocal state
        g = g + 0.3 * w
        state = momentum * state + g
        return w - 0.1 * (g + momentum * state if nesterov else state)

    followed(SGDConfig(learning_rate=0.1, weight_decay=0.3, momentum=momentum, nesterov=nesterov), update)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_adadelta_is_its_algorithm(rho: float) -> None:
    """Zeiler 2012, algorithm 1."""
    squares, steps = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)

    def update(w: Tensor, g: Tensor) -> Tensor:
        nonlocal squares, steps
        squares = rho * squares + (1 - rho) * g**2
        step = -(steps + 1e-4).sqrt() / (squares + 1e-4).sqrt() * g
        steps = rho * steps + (1 - rho) * step**2
        return w + 0.7 * step

    followed(AdadeltaConfig(learning_rate=0.7, rho=rho, eps=1e-4), update)
