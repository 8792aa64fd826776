"""OPT. Zhang et al. 2022, arXiv:2205.01068; without biases and gains also Galactica (arXiv:2211.09085)."""

from typing import Any, ClassVar

from transduce.errors import UserError
from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.residual.norm_last import PostNormConfig

OFFSET, EPS = 2, 1e-5  # rows before the first position, and in every norm: what config.json cannot say


class OPT(Classic):
    model_type: ClassVar[str] = "opt"
    architectures: ClassVar[tuple[str, ...]] = ("OPTForCausalLM", "OPTModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width = fields.whole("hidden_size", 768)
        bias, gain = fields.flag("enable_bias", True), fields.flag("layer_norm_elementwise_affine", True)
        first, final = fields.flag("do_layer_norm_before", True), not fields.flag("_remove_final_layer_norm", False)
        tied, size = fields.flag("tie_word_embeddings", True), fields.whole("word_embed_proj_dim", width)
        if size != width and not tied:
            raise UserError(
                f"config.json has word_embed_proj_dim={size} with tie_word_embeddings=False, which is not known here"
            )
        model = DecoderConfig(
            width=width,
            layers=fields.whole("num_hidden_layers", 12),
            mixer=AttentionConfig(heads=fields.whole("num_attention_heads", 12), bias=bias),
            feedforward=MLPConfig(
                hidden=fields.whole("ffn_dim", 3072),
                activation=fields.one_of("activation_function", ACTIVATIONS, "relu"),
                bias=bias,
            ),
            residual=PreNormConfig(final_norm=final) if first else PostNormConfig(),
            norm=LayerNorm(eps=EPS, bias=gain, gain=gain),
            positions=LearnedConfig(
                limit=classic.most(fields, "max_position_embeddings", default=2048),
                offset=OFFSET,
            ),
            init=NormalInit(),
            embedding=TableConfig() if size == width else TableConfig(size=size, bias=False, project_first=True),
            scale_embedding=False,
            head=classic.head_of(fields, "OPTModel", tied),
            tie_embeddings=tied,
        )
        fields.only("learned_embeddings", True)
        fields.take("init_std")
        return model, fields.whole("vocab_size", 50272)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        size = model.embedding.size if isinstance(model.embedding, TableConfig) else None
        narrow = TableConfig() if size is None else TableConfig(size=size, bias=False, project_first=True)
        parts = classic.parts_of(model, LearnedConfig, embedding=narrow)
        if parts is None or parts.positions.offset != OFFSET or (size is not None and not parts.tied):
            return None
        bias, norm, first = parts.mixer.bias, parts.norm, isinstance(model.residual, PreNormConfig)
        if not classic.plain(parts.mixer, bias=bias) or parts.feedforward.bias != bias:
            return None
        if norm != LayerNorm(eps=EPS, bias=norm.gain, gain=norm.gain):
            return None
        final = isinstance(model.residual, PreNormConfig) and model.residual.final_norm
        if not matches(model.residual, PreNormConfig(final_norm=final) if first else PostNormConfig()):
            return None
        return {
            "hidden_size": model.width, "num_attention_heads": parts.mixer.heads, "num_hidden_layers": parts.layers,
            "ffn_dim": parts.feedforward.hidden or 4 * model.width, "enable_bias": bias, "do_layer_norm_before": first,
            "activation_function": named(ACTIVATIONS, parts.feedforward.activation), "vocab_size": vocab_size,
            "layer_norm_elementwise_affine": norm.gain, "_remove_final_layer_norm": first and not final,
            "max_position_embeddings": parts.positions.limit, "word_embed_proj_dim": size or model.width,
            "tie_word_embeddings": parts.tied,
        }  # fmt: skip

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        """Returns the version: that of fairseq, from which the weights came."""
        return (r"(^|\.)decoder\.version$",)

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.norm, LayerNorm)
        assert isinstance(model.layers, int)
        names, bias = classic.names_of(model.residual), model.mixer.bias
        top, theirs = "model.decoder", "model.decoder.layers.{i}"
        block = [
            *classic.projections(
                [f"{theirs}.self_attn.{x}_proj" for x in ("q", "k", "v", "out")], names.mixer, bias=bias
            ),
            *pair(f"{theirs}.fc1", f"{names.feed}.up", bias=bias),
            *pair(f"{theirs}.fc2", f"{names.feed}.down", bias=bias),
        ]
        rows = [row(f"{top}.embed_positions.weight", "embed.positions.weight")]
        if model.norm.gain:
            block += pair(f"{theirs}.self_attn_layer_norm", names.norms[0])
            block += pair(f"{theirs}.final_layer_norm", names.norms[1])
            final = isinstance(model.residual, PreNormConfig) and model.residual.final_norm
            rows += pair(f"{top}.final_layer_norm", "stack.leave") if final else []
        if model.embedding != TableConfig():
            rows.append(row(f"{top}.project_in.weight", "embed.project.weight"))
            rows += [] if classic.headless(model) else [row(f"{top}.project_out.weight", "head.project.weight")]
        return classic.table_of(model, [*rows, *layers(block, model.layers)], f"{top}.embed_tokens.weight", "model.")
