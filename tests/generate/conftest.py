"""Tiny models whose distributions are tables, a vocabulary to go with them, and tiny real models."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.generate.hypothesis import Hypothesis
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.models import Model
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_last import PostNormConfig


class Letters:
    """Ids 0 to 3 are special; the others are letters, some of them two at a time."""

    bos, eos = 1, 2
    texts = ("", "", "", "?", "a", "b", "c", "ab", "bc", "d")

    def decode(self, ids: list[int], /) -> str:
        return "".join(self.texts[i] for i in ids)


class Last(NamedTuple):
    """What a Markov model remembers: the last two ids, and how many it has read."""

    ids: Tensor  # (B, 2)
    count: Tensor  # (B,)


class Identity(nn.Module):
    """A head for hidden states that are logits."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


class Markov(nn.Module):
    """p(token | the last two tokens), and if it `reads`, given the sum of the source's ids as well."""

    def __init__(self, vocab_size: int = 6, seed: int = 0, reads: bool = False, sharp: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = sharp * torch.randn(vocab_size, vocab_size, vocab_size, generator=generator)
        self.of_source = sharp * torch.randn(7, vocab_size, vocab_size, generator=generator)
        self.takes_source, self.limit, self.head, self.device = reads, None, Identity(), torch.device("cpu")
        self.token_head = self.head
        self.steps: list[tuple[int, int]] = []  # the rows and tokens of every step

    def require_source(self, source: object) -> None:
        if (source is not None) != self.takes_source:
            raise UserError("this model reads no source" if source is not None else "give it a source")

    def init_state(self, batch: int, max_len: int) -> Last:
        return Last(torch.zeros(batch, 2, dtype=torch.int64), torch.zeros(batch, dtype=torch.int64))

    def remember(self, source: Tensor | None, layout: Layout | None) -> tuple[Tensor] | None:
        return None if source is None else (self.of_source[(source * layout.valid).sum(1) % 7],)

    def step(
        self, ids: Tensor, layout: Layout, state: Last, memory: tuple[Tensor] | None = None
    ) -> tuple[Tensor, Last]:
        self.steps.append((ids.shape[0], ids.shape[1]))
        (last, count), out = state, []
        rows = torch.arange(ids.shape[0])
        for t in range(ids.shape[1]):
            real = layout.positions[:, t] >= 0
            last = torch.where(real[:, None], torch.stack([last[:, 1], ids[:, t]], 1), last)
            count = count + real
            logits = self.table[last[:, 0], last[:, 1]]
            if memory is not None:
                logits = logits + memory[0][rows // (len(rows) // memory[0].shape[0]), last[:, 1]]
            out.append(logits)
        return torch.stack(out, 1), Last(last, count)

    def features(self, batch: Batch) -> Tensor:
        memory = None if batch.source is None else self.remember(batch.source, batch.source_layout)
        return self.step(batch.inputs, batch.layout, self.init_state(*batch.inputs.shape), memory)[0]


@pytest.fixture(scope="session")
def letters() -> Letters:
    return Letters()


@pytest.fixture(scope="session")
def markov() -> type[Markov]:
    return Markov


MIXER = AttentionConfig(heads=2)
DECODERS = {
    "rotary": DecoderConfig(width=16, layers=2, mixer=AttentionConfig(heads=4, kv_heads=2), positions=RotaryConfig()),
    "window": DecoderConfig(width=16, layers=2, mixer=AttentionConfig(heads=2, window=3, sinks=1)),
    "learned": DecoderConfig(width=16, layers=1, mixer=MIXER, positions=LearnedConfig(limit=32), tie_embeddings=False),
}
TRANSLATORS = {
    "pre-norm": EncoderDecoderConfig(width=16, layers=2, mixer=MIXER),
    "post-norm": EncoderDecoderConfig(
        width=16, layers=1, mixer=MIXER, residual=PostNormConfig(), tie_embeddings="none"
    ),
}


def build(config: DecoderConfig | EncoderDecoderConfig) -> Model:
    """The model with a head so large that no two tokens are nearly equal."""
    model = config.build(10, seed=3)
    with torch.no_grad():
        model.head.weight.mul_(6)
    return model.train()


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Model:
    return build(DECODERS[request.param])


@pytest.fixture(params=TRANSLATORS)
def translator(request: pytest.FixtureRequest) -> Model:
    return build(TRANSLATORS[request.param])


@pytest.fixture(params=["markov", "markov of a source", *DECODERS, *TRANSLATORS])
def model(request: pytest.FixtureRequest) -> Model | Markov:
    """Any of them."""
    if request.param.startswith("markov"):
        return Markov(seed=4, reads="source" in request.param)
    return build({**DECODERS, **TRANSLATORS}[request.param])


def next_log_p(model: Model, prompt: list[int], source: list[int] | None) -> Tensor:
    """log p (V,) of the next token, by reading everything from the start."""
    rows = (torch.tensor([source]), dense(1, len(source))) if source is not None else (None, None)
    batch = Batch(torch.tensor([prompt]), dense(1, len(prompt)), torch.tensor([prompt]), *rows)
    training = model.training
    with torch.no_grad():
        found = model.eval().head(model.features(batch)[0, -1]).log_softmax(-1)
    model.train(training)
    return found


@pytest.fixture(scope="session")
def log_p() -> Callable[[Model, list[int], list[int] | None], Tensor]:
    return next_log_p


@pytest.fixture(scope="session")
def everything() -> Callable[..., list[Hypothesis]]:
    """Every possible output of at most `most` tokens, with its score, the best first."""

    def all_outputs(model: Model, prompt: list[int], source: list[int] | None, most: int, a: float) -> list[Hypothesis]:
        found, size = [], len(next_log_p(model, prompt, source))
        for n in range(most + 1):
            for ids in product([i for i in range(size) if i != Letters.eos], repeat=n):
                p = [next_log_p(model, prompt + list(ids[:i]), source) for i in range(n + 1)]
                score = sum(float(p[i][token]) for i, token in enumerate(ids))
                end = 0.0 if n == most else float(p[n][Letters.eos])
                found.append(Hypothesis(list(ids), score + end, n < most))
        return sorted(found, key=lambda h: -h.normalised(a))

    return all_outputs
