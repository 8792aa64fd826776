import builtins

import pytest
import torch
from torch import nn

from transduce.errors import UserError
from transduce.reproduce.ancestors.digits import digits
from transduce.reproduce.ancestors.pretraining import batches, contrastive, denoising, pretrain


def patterns(rows: int) -> torch.Tensor:
    """Two patterns of 12 bits: there is something to learn."""
    one = torch.tensor([1.0] * 6 + [0.0] * 6)
    return torch.stack([one if i % 2 else 1 - one for i in range(rows)])


@pytest.mark.parametrize("learn", [denoising(epochs=30, batch=8, rate=3e-2), contrastive(epochs=60, batch=8, rate=0.3)])
def test_a_layer_learns_to_restore_what_it_is_given(learn) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 8), nn.Linear(8, 4)]
    before = layers[1].weight.clone()
    losses = pretrain(layers, patterns(32), learn, torch.Generator().manual_seed(0))
    assert losses[0][-1] < 0.5 * losses[0][0]
    assert not torch.equal(before, layers[1].weight)


def test_layers_below_stay_as_they_are() -> None:
    layers = [nn.Linear(12, 8), nn.Linear(8, 4)]
    learnt = []

    def learn(layer: nn.Linear, x: torch.Tensor, generator: torch.Generator) -> list[float]:
        learnt.append((layer, x))
        return [0.0]

    x = patterns(4)
    pretrain(layers, x, learn, torch.Generator())
    assert [layer for layer, _ in learnt] == layers
    torch.testing.assert_close(learnt[1][1], layers[0](x).sigmoid().detach())
    assert not learnt[1][1].requires_grad


def test_contrastive_divergence_of_one_step_is_the_formula() -> None:
    torch.manual_seed(1)
    layer, x = nn.Linear(5, 3), (torch.rand(4, 5) > 0.5).float()
    w, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    contrastive(epochs=1, batch=4, rate=0.1, momentum=0.0)(layer, x, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    v0 = x[torch.randperm(4, generator=generator)]
    h0 = torch.sigmoid(v0 @ w.T + b)
    v1 = torch.sigmoid(torch.bernoulli(h0, generator=generator) @ w)
    h1 = torch.sigmoid(v1 @ w.T + b)
    torch.testing.assert_close(layer.weight.detach(), w + 0.1 * (h0.T @ v0 - h1.T @ v1) / 4)
    torch.testing.assert_close(layer.bias.detach(), b + 0.1 * (h0 - h1).mean(0))


def test_the_visible_bias_moves_towards_the_data() -> None:
    """The second step's answer is made with it, so it shows in the weights."""
    layer, x = nn.Linear(5, 3), torch.ones(4, 5)
    w, b, c = layer.weight.detach().clone(), layer.bias.detach().clone(), torch.zeros(5)
    contrastive(epochs=3, batch=4, rate=0.5, momentum=0.0)(layer, x, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        v0 = x[torch.randperm(4, generator=generator)]
        h0 = torch.sigmoid(v0 @ w.T + b)
        v1 = torch.sigmoid(torch.bernoulli(h0, generator=generator) @ w + c)
        h1 = torch.sigmoid(v1 @ w.T + b)
        w, b, c = (
            w + 0.5 * (h0.T @ v0 - h1.T @ v1) / 4,
            b + 0.5 * (h0 - h1).mean(0),
            c + 0.5 * (v0 - v1).mean(0),
        )
    assert (c > 0).all()  # the data are ones
    torch.testing.assert_close(layer.weight.detach(), w)
    torch.testing.assert_close(layer.bias.detach(), b)


@pytest.mark.parametrize("noise", [0.0, 0.25, 0.9])
def test_denoising_of_one_step_is_the_formula(noise: float) -> None:
    """Input units are set to zero, and what is restored is the input without noise."""
    torch.manual_seed(1)
    layer, x = nn.Linear(6, 3), torch.rand(8, 6)
    w, b = (p.detach().clone().requires_grad_() for p in layer.parameters())
    [told] = denoising(noise=noise, epochs=1, batch=8, rate=1e-2)(layer, x, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    clean = x[torch.randperm(8, generator=generator)]
    mask = torch.rand(8, 6, generator=generator) >= noise
    restored = torch.sigmoid(torch.sigmoid((clean * mask) @ w.T + b) @ w)
    loss = -(clean * restored.log() + (1 - clean) * (1 - restored).log()).mean()
    assert told == pytest.approx(loss.item(), rel=1e-5)
    for was, now, gradient in zip((w, b), layer.parameters(), torch.autograd.grad(loss, (w, b)), strict=True):
        step = was - 1e-2 * gradient / (gradient.abs() + 1e-8)  # Adam's first
        torch.testing.assert_close(now.detach(), step.detach(), atol=2e-5, rtol=0)


def test_an_epoch_is_every_row_once() -> None:
    rows = torch.arange(13)[:, None]
    found = torch.cat(list(batches(rows, 5, torch.Generator().manual_seed(0))))
    assert sorted(found.flatten().tolist()) == list(range(13))
    assert not torch.equal(found, rows)


def test_digits_are_split_by_the_seed() -> None:
    train, test = digits(0)
    assert (len(train.labels), len(test.labels)) == (1297, 500)
    assert train.images.shape == (1297, 1, 8, 8)
    assert 0 == train.images.min() < train.images.max() == 1
    assert torch.equal(digits(0)[1].labels, test.labels)
    assert not torch.equal(digits(1)[1].labels, test.labels)
    together = torch.cat([train.images, test.images]).flatten(1).sum()
    torch.testing.assert_close(torch.cat([d.images for d in digits(1)]).flatten(1).sum(), together)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **more: object) -> object:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'transduce\[digits\]'"):
        digits(0)
