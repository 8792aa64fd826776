"""An autoencoder of pictures: its posterior by the formula, alone as in a batch, any mixer, what does not fit."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture.autoencoder import AutoencoderConfig
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.autoencoder import Autoencoder
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.posterior import Posterior

SIZES: dict[str, Any] = {
    "width": 12, "layers": 1, "decoder_layers": 2, "latent_channels": 5, "mixer": {"kind": "attention", "heads": 3},
    "embedding": {"kind": "patches", "patch": 2, "picture": [6, 4]},
}  # fmt: skip


def model(**more: Any) -> Autoencoder:
    own = cast(Autoencoder, from_data(AutoencoderConfig, {**SIZES, **more}).build(3).double().eval())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in own.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return own


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_divergence_and_the_draw_are_those_of_gaussians() -> None:
    mean, log_variance = (numbers(3, 2, 3, 5, seed=seed).requires_grad_() for seed in (1, 2))
    posterior, noise = Posterior(mean, log_variance), numbers(3, 2, 3, 5, seed=4)
    gaussian = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(gaussian, Normal(torch.zeros_like(mean), 1.0)).sum((1, 2, 3))
    torch.testing.assert_close(posterior.divergence(), expected)
    torch.testing.assert_close(posterior.at(noise), gaussian.loc + gaussian.scale * noise)
    ours = torch.autograd.grad((posterior.divergence() * numbers(3)).sum(), (mean, log_variance))
    theirs = torch.autograd.grad((expected * numbers(3)).sum(), (mean, log_variance))
    torch.testing.assert_close(ours, theirs)
    zero = torch.zeros(1, 2, 2, 2)
    assert Posterior(zero, zero).divergence().item() == 0


@pytest.mark.parametrize("mixer", ["attention", "lstm", "gated-delta"])
def test_alone_is_in_a_batch_gradients_too(mixer: str) -> None:
    own, x, weights = model(mixer={"kind": mixer}), numbers(3, 3, 6, 4), numbers(3, 5, 3, 2, seed=5)

    def through(some: Tensor, noise: Tensor) -> Tensor:
        posterior = own.to_latents(some)
        return own.from_latents(posterior.at(noise)).square().flatten(1).sum(1) + posterior.divergence()

    together = through(x, weights)
    together.sum().backward()
    gradients = {name: p.grad.clone() for name, p in own.named_parameters() if p.grad is not None}
    assert gradients.keys() == dict(own.named_parameters()).keys()
    own.zero_grad()
    for row in range(3):
        alone = through(x[row : row + 1], weights[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-10, rtol=1e-9)
        alone.sum().backward()
    for name, p in own.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], atol=1e-9, rtol=1e-7)


def test_as_a_model_it_gives_the_reconstruction_from_the_means() -> None:
    own, x = model(), numbers(2, 3, 6, 4)
    batch = Batch(x, dense(2, 1), x)
    assert own.latent_shape == (5, 3, 2)
    assert own.to_latents(x).mean.shape == (2, 5, 3, 2)
    assert own.head is not None
    flat = own.head(own.features(batch), own.arranged(batch.layout))
    torch.testing.assert_close(flat.view(2, 3, 6, 4), own.from_latents(own.to_latents(x).mean))


def test_convolutions_make_a_grid_as_patches_do() -> None:
    stem = {"kind": "convolutions", "widths": [4, 6], "strides": [1, 2], "picture": [6, 4]}
    own = model(embedding=stem, mixer="none")
    assert own.latent_shape == (5, 3, 2)
    assert own.from_latents(numbers(2, 5, 3, 2)).shape == (2, 3, 6, 4)
    with_token = model(embedding={**cast("dict[str, Any]", SIZES["embedding"]), "class_token": True})
    assert with_token.to_latents(numbers(2, 3, 6, 4)).mean.shape == (2, 5, 3, 2)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"embedding": {"kind": "table"}}, "makes pictures of pictures; use model.embedding=patches"),
        ({"head": "linear"}, "makes pictures of pictures; .*model.head=pixels"),
        ({"embedding": {"kind": "convolutions", "strides": [2, 2], "picture": [6, 4]}}, "6 x 4 .* are not 2 x 1 whole"),
        ({"latent_channels": 0}, "latent_channels=0 must be at least 1"),
        ({"decoder_layers": 0}, "decoder_layers"),
    ],
    ids=lambda one: "" if isinstance(one, dict) else one[:20],
)  # fmt: skip
def test_what_does_not_fit_gets_a_sentence(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises((UserError, ValueError), match=sentence):
        model(**more)


def test_others_make_no_latents() -> None:
    plain = EncoderConfig(width=8, layers=1).build(11)
    for call in (plain.to_latents, plain.from_latents):
        with pytest.raises(UserError, match=r"makes no latents of pictures; use model\.kind=autoencoder"):
            call(numbers(1, 3, 6, 4))
    ids = torch.ones(1, 3, dtype=torch.int64)
    with pytest.raises(UserError, match="makes pictures of pictures, and reads no ids"):
        model().features(Batch(ids, dense(1, 3), ids))
