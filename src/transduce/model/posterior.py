"""The latents of a variational autoencoder: a Gaussian for each.   Kingma & Welling 2013, arXiv:1312.6114.

Tested in tests/model/test_autoencoder.py.
"""

from typing import NamedTuple

from torch import Tensor


class Posterior(NamedTuple):
    """q(z | x) = N(mean, exp(log_variance)), both (B, c, h, w)."""

    mean: Tensor
    log_variance: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """z = mean + sigma e, with a gradient to both.   Sec. 2.4. noise: e, (B, c, h, w)."""
        return self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self) -> Tensor:
        """KL(q || N(0, 1)) = sum of (mean^2 + sigma^2 - 1 - log sigma^2) / 2, (B,) nats.   Appendix B."""
        each = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return each.flatten(1).sum(1) / 2
