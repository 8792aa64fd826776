"""The encoder and decoder of encoder-decoders whose layers are alike, and the rows that all of them have."""

from typing import NamedTuple

from transduce.exchange.families.matching import matches
from transduce.model.architecture import EncoderConfig, EncoderDecoderConfig, Layers, ModelConfig
from transduce.model.architecture.layers import LayerConfig, runs
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig


class Tower(NamedTuple):
    """A stack: how many layers, and what each is made of."""

    layers: int
    mixer: AttentionConfig
    feedforwards: tuple[FeedForwardConfig, ...]  # one per layer

    @property
    def feedforward(self) -> FeedForwardConfig | None:
        """Returns that of all layers (None: they differ)."""
        return self.feedforwards[0] if all(matches(one, self.feedforwards[0]) for one in self.feedforwards) else None


def tower(model: ModelConfig, layers: Layers, encodes: bool) -> Tower | None:
    """Returns a stack of attention, if nothing but feed-forwards differs from layer to layer."""
    usual = model.encoder_mixer if encodes and isinstance(model, EncoderDecoderConfig) else None
    mixers = [run.mixer or usual or model.mixer for run in runs(layers)]
    plain = all(
        not run.tied
        and run.beside is None
        and (run.residual is None or matches(run.residual, model.residual))
        and run.positions in (None, model.positions)
        and matches(mixer, mixers[0])
        for run, mixer in zip(runs(layers), mixers, strict=True)
    )
    if not plain or not isinstance(mixers[0], AttentionConfig):
        return None
    feeds = tuple(run.feedforward or model.feedforward for run in runs(layers) for _ in range(run.times))
    return Tower(len(feeds), mixers[0], feeds)


def towers(model: ModelConfig) -> tuple[Tower, Tower | None] | None:
    """Returns encoder and decoder, or an encoder alone (None: another model, or a decoder that reads differently)."""
    if isinstance(model, EncoderConfig):
        alone = tower(model, model.layers, encodes=True)
        return None if alone is None else (alone, None)
    if not isinstance(model, EncoderDecoderConfig) or model.bridge != "none" or model.cross_place != "after":
        return None
    if model.decoder_embedding not in (None, model.embedding):
        return None
    above, below = tower(model, model.upper, encodes=True), tower(model, model.lower, encodes=False)
    if above is None or below is None:
        return None
    reads = all(matches(run.cross or model.reads, below.mixer) for run in runs(model.lower))
    return (above, below) if reads else None


def layers_of(count: int, mixer: MixerConfig, feed: FeedForwardConfig, model: ModelConfig) -> Layers:
    """Returns equal layers, of which no more is said than differs from the model's."""
    if mixer == model.mixer and feed == model.feedforward:
        return count
    return (LayerConfig(
        times=count, mixer=None if mixer == model.mixer else mixer,
        feedforward=None if feed == model.feedforward else feed,
    ),)  # fmt: skip
