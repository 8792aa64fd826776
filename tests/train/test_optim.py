import copy
import math

import pytest
import torch
from torch import nn

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.train.optim import roles, set_rate
from transduce.train.optim.adamw import AdamWConfig
from transduce.train.optim.muon import Muon, MuonConfig, orthogonalise


def test_roles_by_name_and_shape() -> None:
    model = EncoderDecoderConfig(width=16, layers=1, tie_embeddings="none").build(11)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {role: [names[id(p)] for r, p in roles(model) if r == role] for role in ("matrix", "table", "vector")}
    assert found["table"] == ["encoder.embed.weight", "decoder.embed.weight", "decoder.head.weight"]
    assert all(".mixer." in name or ".feedforward." in name for name in found["matrix"])
    assert all(name.endswith("bias") or "norm" in name or "leave" in name for name in found["vector"])
    assert sum(map(len, found.values())) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", [AdamWConfig, MuonConfig])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(kind: type[AdamWConfig | MuonConfig]) -> None:
    model = DecoderConfig(width=16, layers=2).build(11)
    groups = [g for o in kind(weight_decay=0.5).build(model) for g in o.param_groups]
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(p) for role, p in roles(model) if role == "matrix"}


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
        ({"learning_rate": math.nan}, "learning_rate=nan moves nothing"),
        ({"learning_rate": math.inf}, "learning_rate=inf moves nothing, or nowhere"),
        ({"eps": 0}, "eps=0.0 must be a positive number"),
        ({"eps": math.nan}, "eps=nan must be a positive number"),
        ({"weight_decay": -1}, "weight_decay=-1.0 is negative"),
        ({"weight_decay": math.nan}, "weight_decay=nan is negative or no number"),
        ({"lr": 1}, "unknown key `lr`; did you mean `learning_rate`?"),
    ],
)
def test_refusals(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        from_data(AdamWConfig, values)
