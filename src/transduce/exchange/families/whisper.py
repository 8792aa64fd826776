"""Whisper. Radford et al. 2022, arXiv:2212.04356."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from transduce.exchange.families.encoder_decoders import layers_of
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import Windows
from transduce.exchange.table import Row, Table, layers, pair, row
from transduce.model.architecture import Layers, ModelConfig
from transduce.model.architecture.layers import LayerConfig, runs
from transduce.model.architecture.listener import ListenerConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.unbiased_keys import UnbiasedKeysConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.fixed import FixedConfig
from transduce.model.residual.norm_first import PreNormConfig

SIDES = ("encoder", "decoder")
STEM = FramesConfig()  # two convolutions of three frames, of which the second takes every other one
# What acts in training alone, what is read with the settings of decoding, and what the class never looks at.
SPENT = """init_std encoder_layerdrop decoder_layerdrop scale_embedding suppress_tokens begin_suppress_tokens
    forced_decoder_ids classifier_proj_size apply_spec_augment mask_time_prob mask_time_length mask_time_min_masks
    mask_feature_prob mask_feature_length mask_feature_min_masks median_filter_width max_length num_beams
    early_stopping length_penalty no_repeat_ngram_size min_length alignment_heads"""


class Whisper(Family):
    model_type: ClassVar[str] = "whisper"
    architectures: ClassVar[tuple[str, ...]] = ("WhisperForConditionalGeneration",)
    hears: ClassVar[bool] = True

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        activation = fields.one_of("activation_function", ACTIVATIONS, "gelu")
        count, mixer, feed = zip(*(
            (
                fields.whole(f"{side}_layers", 4),
                UnbiasedKeysConfig(heads=fields.whole(f"{side}_attention_heads", 6)),
                MLPConfig(hidden=fields.whole(f"{side}_ffn_dim", 1536), activation=activation),
            )
            for side in SIDES
        ), strict=True)  # fmt: skip
        model = ListenerConfig(
            width=fields.whole("d_model", 384), layers=count[1], mixer=mixer[1], feedforward=feed[1],
            residual=PreNormConfig(dropout=0.0), norm=LayerNorm(), init=NormalInit(), embedding=STEM,
            positions=LearnedConfig(limit=fields.whole("max_target_positions", 448)),
            source_positions=FixedConfig(limit=fields.whole("max_source_positions", 1500)),
            source_vocab=fields.whole("num_mel_bins", 80),
            tie_embeddings="output" if fields.flag("tie_word_embeddings", True) else "none",
        )  # fmt: skip
        fields.only("num_hidden_layers", count[0])
        fields.only("use_weighted_layer_sum", False)
        for key in SPENT.split():
            fields.take(key)
        above = layers_of(count[0], mixer[0], feed[0], model)
        return (model if above == count[1] else replace(model, encoder_layers=above)), fields.whole("vocab_size", 51865)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        if not isinstance(model, ListenerConfig) or model.bridge != "none" or model.cross_place != "after":
            return None
        above, below = side(model, model.upper, model.encoder_mixer), side(model, model.lower, None)
        plain = (
            above is not None and below is not None and above[2].activation == below[2].activation
            and all(model.width % one[1].heads == 0 and matches(one[2], MLPConfig(
                hidden=one[2].hidden, activation=one[2].activation)) for one in (above, below))
            and below[2].activation in ACTIVATIONS.values()
            and all(matches(run.cross or model.reads, below[1]) for run in runs(model.lower))
            and matches(model.residual, PreNormConfig()) and model.norm == LayerNorm()
            and model.embedding == STEM and model.decoder_embedding == TableConfig() and not model.scale_embedding
            and isinstance(model.positions, LearnedConfig)
            and model.positions == LearnedConfig(limit=model.positions.limit)
            and isinstance(model.source_positions, FixedConfig) and model.source_vocab is not None
            and not model.tie_positions and model.head == LinearHeadConfig()
        )  # fmt: skip
        if not plain or above is None or below is None or model.tie_embeddings not in ("output", "none"):
            return None
        return {
            "vocab_size": vocab_size, "num_mel_bins": model.source_vocab, "d_model": model.width,
            "activation_function": named(ACTIVATIONS, below[2].activation),
            "max_source_positions": getattr(model.source_positions, "limit", None),
            "max_target_positions": getattr(model.positions, "limit", None),
            "tie_word_embeddings": model.tie_embeddings == "output",
            **{
                f"{name}_{key}": value
                for name, (count, mixer, feed) in zip(SIDES, (above, below), strict=True)
                for key, value in (
                    ("layers", count), ("attention_heads", mixer.heads), ("ffn_dim", feed.hidden or 4 * model.width)
                )
            },
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, ListenerConfig)
        target = "model.decoder.embed_tokens.weight"
        rows = [
            *(
                line for n in range(len(STEM.strides))
                for line in pair(f"model.encoder.conv{n + 1}", f"encoder.embed.stages.{n}", Windows(STEM.kernel))
            ),
            row(target, "decoder.embed.weight"),
        ]  # fmt: skip
        for name, stack in zip(SIDES, (model.upper, model.lower), strict=True):
            theirs, ours = f"model.{name}", f"{name}.stack"
            count = stack if isinstance(stack, int) else sum(run.times for run in stack)
            rows += [
                row(f"{theirs}.embed_positions.weight", f"{name}.embed.positions.weight"),
                *layers(block(f"{theirs}.layers.{{i}}", f"{ours}.blocks.{{i}}", name), count),
                *pair(f"{theirs}.layer_norm", f"{ours}.leave"),
            ]
        if model.tie_embeddings == "none":
            return Table((*rows, row("proj_out.weight", "decoder.head.weight")), "model.")
        return Table(tuple(rows), "model.", copies=(("proj_out.weight", target),))


def side(
    model: ListenerConfig, stack: Layers, usual: Any
) -> tuple[int, UnbiasedKeysConfig, MLPConfig] | None:  # fmt: skip
    """Returns how many equal layers a stack has, and of which parts (None: they differ, or are of other kinds)."""
    some = runs(stack)
    parts = [(run.mixer or usual or model.mixer, run.feedforward or model.feedforward) for run in some]
    mixer, feed = parts[0]
    alike = all(
        plain(run, model) and matches(a, mixer) and matches(b, feed) for run, (a, b) in zip(some, parts, strict=True)
    )
    if not alike or not isinstance(mixer, UnbiasedKeysConfig) or not isinstance(feed, MLPConfig):
        return None
    return sum(run.times for run in some), mixer, feed


def plain(run: LayerConfig, model: ListenerConfig) -> bool:
    """Says whether layers have nothing of their own but a mixer and a feed-forward."""
    own = run.residual is None or matches(run.residual, model.residual)
    return own and not run.tied and run.beside is None and run.positions in (None, model.positions)


def block(theirs: str, ours: str, name: str) -> Iterable[Row]:
    """Returns the rows of a layer."""
    mixers = {"mix": "self_attn", **({"cross": "encoder_attn"} if name == "decoder" else {})}
    for role, mixer in mixers.items():
        for x, y in (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"), ("out_proj", "out")):
            yield from pair(f"{theirs}.{mixer}.{x}", f"{ours}.{role}.{y}", bias=y != "k")
        yield from pair(f"{theirs}.{mixer}_layer_norm", f"{ours}.{role}_residual.norm")
    for x, y in (("fc1", "up"), ("fc2", "down")):
        yield from pair(f"{theirs}.{x}", f"{ours}.feed.{y}")
    yield from pair(f"{theirs}.final_layer_norm", f"{ours}.feed_residual.norm")
