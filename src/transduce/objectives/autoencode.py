"""Pictures through few numbers and back: what a variational autoencoder learns.

Tested in tests/objectives/test_autoencode.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.denoise import noise_of
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted


def reconstruction_loss(learner: Learner, batch: Batch, model: Model, weight: float) -> Loss:
    """Returns the squared error and weight * KL of each picture, over its numbers, summed over pictures."""
    x = batch.inputs
    with collecting() as noted:
        posterior = model.to_latents(x)
        y = model.from_latents(posterior.at(noise_of(batch, posterior.mean, learner.training)))
    kl = posterior.divergence()
    each = (y - x.to(y.dtype)).square().flatten(1).mean(1) + weight * kl / x[0].numel()
    if batch.weights is not None:
        each, kl = each * batch.weights, kl * batch.weights
    count = torch.tensor(len(each)) if batch.weights is None else batch.weights.sum()
    return with_noted(Loss(each.sum(), count, {"nll": each.detach().sum(), "kl": kl.detach().sum()}), noted)


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(ObjectiveConfig):
    """(||x - decoder(z)||^2 + weight KL(q(z | x) || N(0, 1))) / numbers of x, for z of q(z | x).

    Kingma & Welling 2013, arXiv:1312.6114, eq. 10: the bound on -log p(x) times 2 sigma^2 / numbers, where sigma is the
    deviation of a pixel, and weight = 2 sigma^2. Rombach et al. 2022, arXiv:2112.10752, sec. 3.1, take a weight so
    small that latents hold all they can. Their losses that need another network are not here.

    weight: how much the KL counts, which the evaluation shows in nats of a picture.
    """

    kind: ClassVar[str] = "autoencode"
    head: ClassVar[str] = "pixels"
    shows: ClassVar[tuple[str, ...]] = ("kl",)
    weight: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"weight={self.weight} is no weight of the KL; use 0 or more, such as 0.0001")

    def build_for(self, model: Model, tokenizer: object) -> Objective:
        self.require_head(model)
        return partial(reconstruction_loss, model=model, weight=self.weight)

    def require_head(self, model: Model) -> None:
        if model.latent_shape is None:
            what = f"objective={self.kind} makes pictures of the latents of pictures, which this model has none of"
            raise UserError(f"{what}; use model.kind=autoencoder")
