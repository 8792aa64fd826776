"""Checks of every combination of an encoder, a cross mixer and a decoder.

Steps give the same hidden states as all tokens at once, padding of the source changes nothing, and packed pairs give
the same as each pair alone. The result is the largest difference, in float64, where a mistake is many orders of
magnitude larger than rounding.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from transduce.config import kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, packed, right_padded
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.model.state import select

WIDTH, VOCAB = 16, 11
EXACT = 1e-10  # float64
SOURCES, TARGETS = (3, 7, 5), (6, 4, 5)  # tokens of each row


def mixers() -> dict[str, MixerConfig]:
    """Returns a small configuration of every kind of mixer."""
    of_mixers = ((name, kind) for name, kind in kinds(MixerConfig.folder).items() if issubclass(kind, MixerConfig))
    return {name: kind.examples()[0] for name, kind in of_mixers if not kind.absent}


def combination(encoder: MixerConfig, cross: MixerConfig, decoder: MixerConfig, **more: object) -> ModelConfig:
    """Returns a small encoder-decoder of three mixers. Raises UserError where one of them cannot do its part."""
    return EncoderDecoderConfig(
        width=WIDTH, layers=1, mixer=decoder, encoder_mixer=encoder, cross=cross, **more  # type: ignore[arg-type]
    )  # fmt: skip


def built(config: ModelConfig, seed: int = 0) -> Model:
    """Returns a model in float64, with start values that hide no mistake, such as biases of 0."""
    model = config.build(VOCAB, seed).double().eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def rows(lengths: tuple[int, ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, VOCAB, (n,), generator=generator) for n in lengths]


@torch.no_grad()
def deviation(model: Model) -> float:
    """Returns the largest difference of hidden states that must be equal: whole, alone, in steps, packed, in beams."""
    sources, targets = rows(SOURCES, 2), rows(TARGETS, 3)
    alone = [model.features(pair(model, [s], [t]))[0] for s, t in zip(sources, targets, strict=True)]
    together = model.features(pair(model, sources, targets))
    ways = [together, stepped(model, sources, targets, 1), stepped(model, sources, targets, 2)]
    worst = [(way[b, : len(y)] - y).abs().max() for way in ways for b, y in enumerate(alone)]
    worst.append(
        (model.features(in_one_row(model, sources, targets))[0, : sum(TARGETS)] - torch.cat(alone)).abs().max()
    )
    return float(torch.stack(worst).max())


def padded(texts: list[Tensor]) -> tuple[Tensor, Layout]:
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    return ids, right_padded(torch.tensor([len(text) for text in texts]), ids.shape[1])


def pair(model: Model, sources: list[Tensor], targets: list[Tensor]) -> Batch:
    source, target = padded(sources), padded(targets)
    return model.given(*target, *source)


def in_one_row(model: Model, sources: list[Tensor], targets: list[Tensor]) -> Batch:
    there, here = (packed([lengths], sum(lengths)) for lengths in (SOURCES, TARGETS))
    target, source = torch.cat(targets)[None], torch.cat(sources)[None]
    return model.given(target, here, source, there)


def stepped(model: Model, sources: list[Tensor], targets: list[Tensor], beams: int) -> Tensor:
    """Returns the hidden states of decoding token by token, with so many equal beams for each row.

    A row that has ended repeats its last position.
    """
    batch = pair(model, sources, targets)
    ids, layout = batch.inputs, batch.layout
    memory = model.remember(batch.source, batch.source_layout)
    copies = torch.arange(len(targets)).repeat_interleave(beams)
    state, parts = select(model.init_state(len(targets), ids.shape[1]), copies), list[Tensor]()
    for t in range(ids.shape[1]):
        position = torch.where(layout.valid[:, t], t, layout.positions.amax(1))[copies, None]
        hidden, state = model.step(ids[copies, t : t + 1], Layout(position), state, memory)
        parts.append(hidden[::beams])
    return torch.cat(parts, 1)


def matrix() -> Iterator[tuple[str, str, str, float | str]]:
    """Yields every (encoder, cross, decoder) with its deviation, or with the message that refuses it."""
    examples = mixers()
    for above, encoder in examples.items():
        for between, cross in examples.items():
            for below, decoder in examples.items():
                try:
                    yield above, between, below, deviation(built(combination(encoder, cross, decoder)))
                except UserError as error:
                    yield above, between, below, str(error)


def language_model(mixer: MixerConfig) -> ModelConfig:
    return DecoderConfig(width=WIDTH, layers=2, mixer=mixer)


def page(results: Iterator[tuple[str, str, str, float | str]]) -> str:
    """Returns the matrix as Markdown: for each cross and decoder, the worst deviation over all encoders."""
    worst: dict[tuple[str, str], float] = {}
    refused: dict[str, set[str]] = {}
    encoders, count = dict[str, None](), 0
    for encoder, cross, decoder, result in results:
        if isinstance(result, str):
            kind, _, reason = result.partition(" (the key is ")[0].partition(" cannot stand ")
            refused.setdefault(reason, set()).add(kind)
            continue
        encoders[encoder], count = None, count + 1
        worst[cross, decoder] = max(worst.get((cross, decoder), 0.0), result)
    crosses, decoders = (list(dict.fromkeys(pair[i] for pair in worst)) for i in (0, 1))
    lines = [
        "# Every encoder, cross and decoder", "",
        f"Made by `transduce parts check --out docs/combinations.md`. {count:,} models of one layer, in float64: every",
        f"decoder and cross below with every encoder ({', '.join(encoders)}). A cell is the largest difference, over",
        "all encoders, between hidden states that must be equal: all at once with padded sources, each pair alone,",
        "token by token, with two beams to a source, and three pairs packed in a row. Hidden states are of size 1.", "",
        "| decoder \\ cross | " + " | ".join(crosses) + " |", "| --- |" + " --- |" * len(crosses),
    ]  # fmt: skip
    lines += [f"| {d} | " + " | ".join(f"{worst[c, d]:.0e}" for c in crosses) + " |" for d in decoders]
    lines += ["", "What has no meaning is refused with a sentence:", ""]
    lines += [f"* {', '.join(sorted(names))}: cannot stand {reason}" for reason, names in sorted(refused.items())]
    return "\n".join(lines) + "\n"
