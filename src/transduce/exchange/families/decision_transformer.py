"""The Decision Transformer. Chen et al. 2021, arXiv:2106.01345."""

from typing import Any, ClassVar

import torch

from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import TRANSPOSED, Split, Then
from transduce.exchange.table import Extra, Table, Unread, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.trajectory import TrajectoryConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.values import ValuesHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.position import NoPositionsConfig
from transduce.model.residual.norm_first import PreNormConfig

STATE, RETURN = "state", "returned"  # the heads of what follows an action, which the paper does not train


class DecisionTransformer(Family):
    """A GPT-2 on three vectors a step, for actions that are numbers. Every vector has the first of its positions."""

    model_type: ClassVar[str] = "decision_transformer"
    architectures: ClassVar[tuple[str, ...]] = ("DecisionTransformerModel",)
    more_heads: ClassVar[bool] = True
    acts: ClassVar[bool] = True

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, states, actions = (fields.whole(key, n) for key, n in (("hidden_size", 128), ("state_dim", 17),
                                                                       ("act_dim", 4)))  # fmt: skip
        for key in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
            fields.only(key, False)
        fields.only("layer_norm_epsilon", 1e-5)  # that of the norm of the vectors is fixed
        fields.take("vocab_size")  # of a table that nothing reads
        for key in ("n_ctx", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
                    "summary_first_dropout"):  # fmt: skip
            fields.take(key)
        model = DecoderConfig(
            width=width, layers=fields.whole("n_layer", 3),
            mixer=AttentionConfig(
                heads=fields.whole("n_head", 1), scale=None if fields.flag("scale_attn_weights", True) else 1.0
            ),
            feedforward=MLPConfig(
                hidden=fields.whole("n_inner", 4 * width),
                activation=fields.one_of("activation_function", ACTIVATIONS, "relu"),
            ),
            norm=LayerNorm(),
            embedding=TrajectoryConfig(
                actions=actions, classes=False, steps=fields.whole("max_ep_len", 4096), still=True
            ),
            positions=LearnedConfig(limit=fields.whole("n_positions", 1024)),
            head=ValuesHeadConfig(size=actions, bounded=fields.flag("action_tanh", True)),
            heads={STATE: ValuesHeadConfig(size=states), RETURN: ValuesHeadConfig(size=1)},
            init=NormalInit(), scale_embedding=False, tie_embeddings=False,
        )  # fmt: skip
        return model, states

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        if not isinstance(model, DecoderConfig) or not isinstance(model.layers, int):
            return None
        a, f, e, p, h = model.mixer, model.feedforward, model.embedding, model.positions, model.head
        if not (isinstance(a, AttentionConfig) and isinstance(f, MLPConfig) and isinstance(e, TrajectoryConfig)):
            return None
        if not isinstance(h, ValuesHeadConfig) or e.actions is None:
            return None
        heads = {STATE: ValuesHeadConfig(size=vocab_size), RETURN: ValuesHeadConfig(size=1)}
        placed = isinstance(p, LearnedConfig) and p == LearnedConfig(limit=p.limit) and e.still
        alike = (
            matches(a, AttentionConfig(heads=a.heads, scale=a.scale)) and a.scale in (None, 1.0)
            and f == MLPConfig(hidden=f.hidden, activation=f.activation, dropout=f.dropout)
            and f.activation in ACTIVATIONS.values() and matches(model.residual, PreNormConfig())
            and model.norm == LayerNorm() and e.norm and not e.classes and (placed or p == NoPositionsConfig())
            and h == ValuesHeadConfig(size=e.actions, bounded=h.bounded) and model.heads in ({}, heads)
        )  # fmt: skip
        if not alike:
            return None
        return {
            "hidden_size": model.width, "state_dim": vocab_size, "act_dim": e.actions, "max_ep_len": e.steps,
            "n_layer": model.layers, "n_head": a.heads, "n_inner": f.hidden or 4 * model.width, "vocab_size": 1,
            "n_positions": p.limit if isinstance(p, LearnedConfig) else 1, "action_tanh": h.bounded,
            "activation_function": named(ACTIVATIONS, f.activation), "scale_attn_weights": a.scale is None,
            "bos_token_id": None, "eos_token_id": None,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.layers, int)
        theirs, ours, split = "encoder.h.{i}", "stack.blocks.{i}", Split((model.width,) * 3)
        qkv = [(f"{ours}.mix.q.{x}", f"{ours}.mix.k.{x}", f"{ours}.mix.v.{x}") for x in ("weight", "bias")]
        block = [
            *pair(f"{theirs}.ln_1", f"{ours}.mix_residual.norm"),
            row(f"{theirs}.attn.c_attn.weight", qkv[0], Then(TRANSPOSED, split)),
            row(f"{theirs}.attn.c_attn.bias", qkv[1], split),
            *pair(f"{theirs}.attn.c_proj", f"{ours}.mix.out", TRANSPOSED),
            *pair(f"{theirs}.ln_2", f"{ours}.feed_residual.norm"),
            *pair(f"{theirs}.mlp.c_fc", f"{ours}.feed.up", TRANSPOSED),
            *pair(f"{theirs}.mlp.c_proj", f"{ours}.feed.down", TRANSPOSED),
        ]
        rows = [
            row("embed_timestep.weight", "embed.time"),
            *(line for x in ("return", "state", "action") for line in pair(f"embed_{x}", f"embed.{x}s")),
            *pair("embed_ln", "embed.norm"),
            *layers(block, model.layers),
            *pair("encoder.ln_f", "stack.leave"),
            *pair("predict_action.0", "head.output"),
        ]
        width = model.width
        extras: list[Extra] = [Unread("encoder.wte.weight", lambda _: torch.zeros(1, width))]
        if isinstance(model.positions, LearnedConfig):
            rows.append(row("encoder.wpe.weight", "embed.positions.weight"))
        else:
            extras.append(Extra("encoder.wpe.weight", lambda _: torch.zeros(1, width)))
        for name, head in (("state", STATE), ("return", RETURN)):
            if model.heads:
                rows += pair(f"predict_{name}", f"heads.{head}.output")
                continue
            for kind in ("weight", "bias"):
                extras.append(nothing(f"predict_{name}.{kind}", None if name == "state" else 1, kind, width))
        return Table(tuple(rows), extras=tuple(extras))

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)(cross)?(attn|attention)\.(masked_)?bias$",)


def nothing(name: str, size: int | None, kind: str, width: int) -> Extra:
    """Returns zeros in the place of a head that a model lacks. size: of its output; None: that of a state."""

    def zeros(parameters: Any) -> torch.Tensor:
        outputs = parameters["embed.states.weight"].shape[1] if size is None else size
        return torch.zeros(outputs, width) if kind == "weight" else torch.zeros(outputs)

    return Extra(name, zeros)
