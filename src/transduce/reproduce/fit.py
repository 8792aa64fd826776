"""The one training loop of the experiments, and what is measured of a model on a batch."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.heads.projection import ProjectionHeadConfig
from transduce.model.layout import dense
from transduce.model.models import Decoder, EncoderOnly, Model
from transduce.model.norms.norm import LayerNorm


def fit(
    model: nn.Module,
    loss: Callable[[], Tensor],
    steps: int,
    optimizer: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    schedule: Callable[[int], float] | None = None,
    until: Callable[[], bool] | None = None,
) -> list[float]:
    """Minimises `loss()`, which draws a batch each time. Returns the loss before every update.

    schedule: update, from 0 -> learning rate. until: called after every update; true ends the training.
    """
    losses = list[float]()
    model.train()
    for step in range(steps):
        if schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(float(value.detach()))
        if until is not None and until():
            break
    model.eval()
    return losses


def adam(model: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), rate, betas=betas)


class Score(NamedTuple):
    loss: Tensor  # mean cross entropy of the targets, nats
    accuracy: float  # share of targets that are the likeliest token


def graded(logits: Tensor, targets: Tensor) -> Score:
    """Returns the score of logits (..., V) for targets (...), of which -1 are left out."""
    logits, targets = logits[targets >= 0], targets[targets >= 0]
    return Score(F.cross_entropy(logits, targets), float((logits.argmax(-1) == targets).float().mean()))


def score(model: Model, batch: Batch) -> Score:
    """Returns the loss of a batch, and how often the model is right."""
    return graded(model.token_head(model.features(batch)), batch.targets)


class Learning(NamedTuple):
    losses: list[float]
    accuracies: list[float]


def learn(
    model: nn.Module,
    ask: Callable[[], Score],
    steps: int,
    optimizer: torch.optim.Optimizer,
    *,
    enough: float | None = None,
    window: int = 10,
    clip: float | None = None,
) -> Learning:
    """Runs `fit` on batches that are always new, so that the accuracy before an update is that on unseen examples.

    ask: draws a batch and scores it. enough: stop when the accuracy of the last `window` batches reaches it.
    """
    accuracies = list[float]()

    def loss() -> Tensor:
        outcome = ask()
        accuracies.append(outcome.accuracy)
        return outcome.loss

    def done() -> bool:
        return enough is not None and reached(accuracies[-window:], enough, window) is not None

    return Learning(fit(model, loss, steps, optimizer, clip=clip, until=done), accuracies)


def reached(values: Sequence[float], level: float, window: int = 10) -> int | None:
    """Returns the first update after which the mean of the last `window` values is at least `level` (None: never)."""
    for end in range(window, len(values) + 1):
        if sum(values[end - window : end]) / window >= level:
            return end
    return None


def late(values: Sequence[float], window: int = 50) -> float:
    """Returns the mean of the last values."""
    last = values[-window:]
    return sum(last) / len(last)


PLAIN = {"residual": {"kind": "pre-norm", "dropout": 0.0}}
# A mixer and nothing around it, from the start values of torch.nn: the networks before the Transformer.
BARE = {
    "residual": {"kind": "none", "dropout": 0.0}, "feedforward": "none", "norm": "none", "positions": "none",
    "init": "torch", "scale_embedding": False,
}  # fmt: skip


def decoder(symbols: int, seed: int, **changes: Any) -> Model:
    """Returns a language model without dropout, Pre-LN unless `changes` say otherwise."""
    return from_data(DecoderConfig, {**PLAIN, **changes}).build(symbols, seed)


def translator(symbols: int, seed: int, **changes: Any) -> Model:
    """Returns an encoder and a decoder without dropout, Pre-LN unless `changes` say otherwise."""
    return from_data(EncoderDecoderConfig, {**PLAIN, **changes}).build(symbols, seed)


Tagger = Decoder | EncoderOnly  # its head gives every token logits of its own


def tagger(symbols: int, classes: int, seed: int, *, causal: bool, mixer: Any = "attention", **changes: Any) -> Tagger:
    """Returns a model that gives each token a class; every token sees those before it, or all of them."""
    torch.manual_seed(seed)
    if causal:
        kind, built = Decoder, decoder(symbols, seed, mixer=mixer, head="none", **changes)
    else:
        kind, built = EncoderOnly, translator(symbols, seed, encoder_mixer=mixer, cross="attention", **changes)
    tower = built.towers()[0]
    model, width = kind(tower.embed, tower.stack, None), tower.embed.weight.shape[1]
    model.head = ProjectionHeadConfig(size=classes, bias=True).build(symbols, width, LayerNorm(), None)
    return model


def tags(model: Tagger, ids: Tensor) -> Tensor:
    """Returns logits (B, T, classes) of ids (B, T)."""
    assert model.head is not None
    return model.head(model.features(Batch(ids, dense(ids.shape[0], ids.shape[1]), ids)))


def size(model: nn.Module) -> int:
    """Returns the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def gradients(y: Tensor, *xs: Tensor) -> list[Tensor]:
    """Returns dy / dx for each x; y is one number."""
    return list(torch.autograd.grad(y, xs))


def norms(xs: Iterable[Tensor]) -> list[float]:
    """Returns the length of each."""
    return [math.sqrt(float(x.square().sum())) for x in xs]
