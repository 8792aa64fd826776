"""BART, and mBART, which normalises before each sublayer.

Lewis et al. 2020, arXiv:1910.13461; Liu et al. 2020, arXiv:2001.08210. Pegasus and Marian differ in what is said here
as class variables.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.exchange.families.encoder_decoders import Tower, layers_of, towers
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import FIRST, ROW
from transduce.exchange.table import Extra, Row, Table, layers, pair, row
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig, Sinusoidal, SinusoidalConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.residual.norm_last import PostNormConfig

Tie = Literal["all", "inputs", "output", "none"]
SIDES = ("encoder", "decoder")
MOST = 1 << 17  # positions, whose sines are held in a table
SPENT = """init_std encoder_layerdrop decoder_layerdrop classif_dropout _num_labels output_past
    force_bos_token_to_be_generated extra_pos_embeddings max_length min_length num_beams length_penalty early_stopping
    no_repeat_ngram_size bad_words_ids max_position save_step do_blenderbot_90_layernorm"""


class Bart(Family):
    """pre: norms stand before sublayers, and once at the end. normed: so is the embedding. learned: positions are.

    biased: logits are. activation, scaled: where config.json says nothing.
    """

    model_type: ClassVar[str] = "bart"
    architectures: ClassVar[tuple[str, ...]] = ("BartForConditionalGeneration", "BartModel")
    vocab_size: ClassVar[int] = 50265
    pre: ClassVar[bool] = False
    normed: ClassVar[bool] = True
    learned: ClassVar[bool] = True
    biased: ClassVar[bool] = True
    activation: ClassVar[str] = "gelu"
    scaled: ClassVar[bool] = False

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, limit = fields.whole("d_model", 1024), fields.whole("max_position_embeddings", 1024)
        vocab_size = fields.whole("vocab_size", self.vocab_size)
        activation = fields.one_of("activation_function", ACTIVATIONS, self.activation)
        count, mixer, feed = zip(*(
            (
                fields.whole(f"{side}_layers", 12),
                AttentionConfig(heads=fields.whole(f"{side}_attention_heads", 16)),
                MLPConfig(hidden=fields.whole(f"{side}_ffn_dim", 4096), activation=activation),
            )
            for side in SIDES
        ), strict=True)  # fmt: skip
        tie, rows, other = self.tables(fields, vocab_size)
        bare = fields.architecture == self.architectures[1]
        model = EncoderDecoderConfig(
            width=width,
            layers=count[1],
            mixer=mixer[1],
            feedforward=feed[1],
            residual=PreNormConfig() if self.pre else PostNormConfig(),
            norm=LayerNorm(),
            positions=self.positions(limit, fields.data.get("pad_token_id")),
            init=NormalInit(),
            embedding=TableConfig(norm=self.normed),
            scale_embedding=fields.flag("scale_embedding", self.scaled),
            tie_embeddings=tie,
            source_vocab=other,
            tie_positions=False,
            head=NoHeadConfig() if bare else LinearHeadConfig(bias=self.biased and fields.holds("final_logits_bias")),
        )
        above = layers_of(count[0], mixer[0], feed[0], model)
        usual = {
            "normalize_before": self.pre, "add_final_layer_norm": self.pre, "normalize_embedding": self.normed,
            "static_position_embeddings": not self.learned, "add_bias_logits": False,
        }  # fmt: skip
        for key, value in {**usual, "num_hidden_layers": count[0]}.items():
            fields.only(key, value)
        for key in SPENT.split():
            fields.take(key)
        return (model if above == count[1] else replace(model, encoder_layers=above)), rows

    def tables(self, fields: Fields, vocab_size: int) -> tuple[Tie, int, int | None]:
        """Returns how tables are tied, tokens of the target, and those of the source where they are others."""
        return "all" if fields.flag("tie_word_embeddings", True) else "none", vocab_size, None

    def positions(self, limit: int, pad: int | None) -> LearnedConfig | SinusoidalConfig:
        """Returns the positions. pad: the id of padding, from which some families count."""
        if self.learned:
            return LearnedConfig(limit=limit, offset=2)
        if limit > MOST:
            raise UserError(f"max_position_embeddings={limit:,} are more positions than are read here, {MOST:,}")
        return SinusoidalConfig(limit=limit, order="halves")

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        both, places = towers(model), model.positions
        if both is None or not isinstance(model, EncoderDecoderConfig):
            return None
        if not isinstance(places, LearnedConfig | SinusoidalConfig) or not (self.learned or places.limit <= MOST):
            return None
        above, below = both
        assert below is not None
        tied, feeds = self.tied(model, vocab_size), (above.feedforward, below.feedforward)
        plain = (
            tied is not None
            and all(self.usual(model, one.mixer) for one in both if one is not None)
            and matches(model.residual, PreNormConfig() if self.pre else PostNormConfig())
            and model.norm == LayerNorm()
            and places == self.positions(places.limit, places.offset - 1)
            and model.embedding == TableConfig(norm=self.normed)
            and not (model.tie_positions and (self.normed or self.learned))
            and model.head in (LinearHeadConfig(), LinearHeadConfig(bias=self.biased), NoHeadConfig())
        )
        first, second = feeds
        if not plain or not (isinstance(first, MLPConfig) and isinstance(second, MLPConfig)):
            return None
        if not first.bias or not second.bias or first.activation != second.activation:
            return None
        return {
            "d_model": model.width, "encoder_layers": above.layers, "decoder_layers": below.layers,
            "encoder_attention_heads": above.mixer.heads, "decoder_attention_heads": below.mixer.heads,
            "encoder_ffn_dim": first.hidden or 4 * model.width, "decoder_ffn_dim": second.hidden or 4 * model.width,
            "activation_function": named(ACTIVATIONS, first.activation), "scale_embedding": model.scale_embedding,
            "max_position_embeddings": places.limit, **(tied or {}),
        }  # fmt: skip

    def usual(self, model: ModelConfig, mixer: AttentionConfig) -> bool:
        whole = mixer.heads * mixer.head_dim(model.width) == model.width
        return whole and matches(replace(mixer, size=None), AttentionConfig(heads=mixer.heads))

    def tied(self, model: EncoderDecoderConfig, vocab_size: int) -> dict[str, Any] | None:
        """Returns what config.json says of tables (None: it cannot say this)."""
        if model.tie_embeddings not in ("all", "none") or model.source_vocab not in (None, vocab_size):
            return None
        return {"vocab_size": vocab_size, "tie_word_embeddings": model.tie_embeddings == "all"}

    def architecture(self, model: ModelConfig) -> str:
        return self.architectures[isinstance(model.head, NoHeadConfig)]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderDecoderConfig)
        both, bare = towers(model), isinstance(model.head, NoHeadConfig)
        assert both is not None
        rows, extras = list[Row](), list[Extra]()
        for name, one in zip(SIDES, both, strict=True):
            assert one is not None
            rows += self.stack(one, name)
            positions = f"model.{name}.embed_positions.weight"
            if isinstance(model.positions, SinusoidalConfig):
                extras.append(Extra(positions, partial(sines_of, model.positions, model.width), self.writes(model)))
            else:
                rows.append(row(positions, f"{name}.embed.positions.weight"))
        ends, copies = self.ends(model)
        if isinstance(model.head, LinearHeadConfig) and model.head.bias:
            ends.append(row("final_logits_bias", "decoder.head.bias", ROW))
        elif not bare and self.biased:
            extras.append(Extra("final_logits_bias", no_bias))
        return Table((*ends, *rows), "model.", copies=copies, bare=bare, extras=tuple(extras))

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        """Returns the versions that files hold: of fairseq, from which the weights came."""
        return (r"(^|\.)(encoder|decoder)\.version$",)

    def writes(self, model: ModelConfig) -> bool:
        """Says whether sines stand in a file of this family."""
        return True

    def ends(self, model: EncoderDecoderConfig) -> tuple[list[Row], tuple[tuple[str, str], ...]]:
        """Returns the rows of tables, and which tensors may repeat them."""
        own = [row("lm_head.weight", "decoder.head.weight")] * (not isinstance(model.head, NoHeadConfig))
        shared, (source, target) = "model.shared.weight", (f"model.{x}.embed_tokens.weight" for x in SIDES)
        if model.tie_embeddings == "all":
            return [row(shared, "encoder.embed.weight")], tuple((x, shared) for x in (source, target, "lm_head.weight"))
        # Hugging Face computes with the tables of both stacks; the third is in the file all the same.
        first = row((source, shared), "encoder.embed.weight", FIRST)
        return [first, row(target, "decoder.embed.weight"), *own], ()

    def stack(self, tower: Tower, name: str) -> list[Row]:
        theirs, block = f"model.{name}.layers.{{i}}", f"{name}.stack.blocks.{{i}}"
        mixers = {"mix": "self_attn"} | ({"cross": "encoder_attn"} if name == "decoder" else {})
        rows = list[Row]()
        for role, mixer in mixers.items():
            for x, y in (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"), ("out_proj", "out")):
                rows += pair(f"{theirs}.{mixer}.{x}", f"{block}.{role}.{y}")
            rows += pair(f"{theirs}.{mixer}_layer_norm", f"{block}.{role}_residual.norm")
        for x, y in (("fc1", "up"), ("fc2", "down")):
            rows += pair(f"{theirs}.{x}", f"{block}.feed.{y}")
        rows += pair(f"{theirs}.final_layer_norm", f"{block}.feed_residual.norm")
        out = layers(rows, tower.layers)
        out += pair(f"model.{name}.layernorm_embedding", f"{name}.embed.norm") if self.normed else []
        return out + (pair(f"model.{name}.layer_norm", f"{name}.stack.leave") if self.pre else [])


def sines_of(places: SinusoidalConfig, width: int, parameters: Mapping[str, Tensor]) -> Tensor:
    return Sinusoidal(places, width).table


def no_bias(parameters: Mapping[str, Tensor]) -> Tensor:
    """Returns zeros: Hugging Face adds a bias to all logits, ours has none."""
    table = parameters.get("decoder.embed.weight", parameters["encoder.embed.weight"])
    return torch.zeros(1, table.shape[0])


class MBart(Bart):
    model_type = "mbart"
    architectures = ("MBartForConditionalGeneration", "MBartModel")
    pre = True
