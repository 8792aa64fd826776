"""GPT-Neo: layers with and without a window, by turns. Black et al. 2021, GPT-Neo (doi:10.5281/zenodo.5297715)."""

from dataclasses import replace
from typing import Any, ClassVar, cast

from transduce.errors import UserError
from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.layered import DEEPEST, One, each, layered
from transduce.exchange.families.matching import matches, named
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.residual.norm_first import PreNormConfig

KINDS = ("global", "local")


class GPTNeo(Classic):
    model_type: ClassVar[str] = "gpt_neo"
    architectures: ClassVar[tuple[str, ...]] = ("GPTNeoForCausalLM", "GPTNeoModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width = fields.whole("hidden_size", 2048)
        depth = classic.either(fields, "num_layers", "num_hidden_layers", default=24)
        heads = classic.either(fields, "num_heads", "num_attention_heads", default=16)
        tied = fields.flag("tie_word_embeddings", True)
        model = DecoderConfig(
            width=width,
            layers=depth,
            mixer=attention(heads, None),
            feedforward=MLPConfig(
                hidden=fields.whole("intermediate_size", 4 * width),
                activation=fields.one_of("activation_function", ACTIVATIONS, "gelu_new"),
            ),
            norm=LayerNorm(eps=fields.number("layer_norm_epsilon", 1e-5)),
            positions=LearnedConfig(limit=classic.most(fields, "max_position_embeddings", default=2048)),
            init=NormalInit(),
            scale_embedding=False,
            head=classic.head_of(fields, "GPTNeoModel", tied),
            tie_embeddings=tied,
        )
        every = One(model.mixer, model.feedforward, model.positions)
        local = every._replace(mixer=attention(heads, fields.whole("window_size", 256)))
        mixers = [local if kind == "local" else every for kind in kinds(fields, depth)]
        for key in ("resid_dropout", "embed_dropout", *classic.SUMMARY):
            fields.take(key)
        return layered(model, mixers), fields.whole("vocab_size", 50257)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        every = each(model) or []
        parts = classic.parts_of(replace(model, layers=len(every) or 1), LearnedConfig)
        if parts is None or parts.positions.offset or not classic.is_affine(parts.norm) or not parts.feedforward.bias:
            return None
        if not every or any(one[1:] != (parts.feedforward, parts.positions) for one in every):
            return None
        mixers = [one.mixer for one in every if isinstance(one.mixer, AttentionConfig)]
        windows = {mixer.window for mixer in mixers} - {None}
        if len(mixers) != len(every) or len(windows) > 1 or not matches(model.residual, PreNormConfig()):
            return None
        if not all(matches(mixer, attention(parts.mixer.heads, mixer.window)) for mixer in mixers):
            return None
        return {
            "hidden_size": model.width, "num_heads": parts.mixer.heads, "num_layers": parts.layers,
            "attention_types": [[[KINDS[mixer.window is not None] for mixer in mixers], 1]],
            "window_size": windows.pop() if windows else 256, "max_position_embeddings": parts.positions.limit,
            "intermediate_size": parts.feedforward.hidden or 4 * model.width, "layer_norm_epsilon": parts.norm.eps,
            "activation_function": named(ACTIVATIONS, parts.feedforward.activation), "tie_word_embeddings": parts.tied,
            "vocab_size": vocab_size,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        names, theirs = classic.names_of(model.residual), "transformer.h.{i}"
        projections = [f"{theirs}.attn.attention.{x}_proj" for x in ("q", "k", "v", "out")]
        block = [
            *pair(f"{theirs}.ln_1", names.norms[0]),
            *classic.projections(projections, names.mixer, bias=False, out_bias=True),
            *pair(f"{theirs}.ln_2", names.norms[1]),
            *pair(f"{theirs}.mlp.c_fc", f"{names.feed}.up"),
            *pair(f"{theirs}.mlp.c_proj", f"{names.feed}.down"),
        ]
        rows = [
            row("transformer.wpe.weight", "embed.positions.weight"),
            *layers(block, len(each(model) or [])),
            *pair("transformer.ln_f", "stack.leave"),
        ]
        return classic.table_of(model, rows, "transformer.wte.weight", "transformer.")

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)attn\.attention\.(masked_)?bias$",)


def attention(heads: int, window: int | None) -> AttentionConfig:
    """Returns attention whose scores are not scaled."""
    return AttentionConfig(heads=heads, window=window, bias=False, out_bias=True, scale=1.0)


def kinds(fields: Fields, depth: int) -> list[str]:
    """Returns the kind of each layer: of [[["global", "local"], 12]], both by turns, twelve times."""
    stated = fields.take("attention_types", [[list(KINDS), 12]])
    message = f"config.json has attention_types={stated!r}, which are not {depth} layers of global or local attention"
    out: list[str] = []
    for item in cast("list[Any]", stated) if isinstance(stated, list) else [None]:
        match item:
            case [[*names], int(times)] if all(name in KINDS for name in names) and times * len(names) <= DEEPEST:
                out += cast("list[str]", names) * times
            case _:
                raise UserError(message)
    if len(out) != depth:
        raise UserError(message)
    fields.only("attention_layers", out)
    return out
