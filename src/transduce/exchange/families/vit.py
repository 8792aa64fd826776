"""The Vision Transformer. Dosovitskiy et al. 2020, arXiv:2010.11929."""

from typing import Any, ClassVar, cast

from transduce.errors import UserError
from transduce.exchange.families.encoding import NO_HEAD, POOLER, heads_of, pooler_of
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import FLAT, INNER, Kernel
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.residual.norm_first import PreNormConfig

FIRST = ("first",)


def sides(fields: Fields, key: str, default: int) -> tuple[int, int]:
    """Returns a height and a width. Raises UserError."""
    value: Any = fields.take(key, default)
    both = [value, value] if isinstance(value, int) else list(cast("list[Any]", value)) if value else []
    if len(both) != 2 or not all(isinstance(x, int) and not isinstance(x, bool) and x > 0 for x in both):
        raise UserError(f"config.json has {key}={value!r}; it must be a side, or a height and a width")
    return both[0], both[1]


class ViT(Family):
    """ViT. Its class token, its learned positions, and Pre-LN blocks; the class is told from the first vector."""

    model_type: ClassVar[str] = "vit"
    architectures: ClassVar[tuple[str, ...]] = ("ViTForImageClassification", "ViTModel")
    more_heads: ClassVar[bool] = True
    sees: ClassVar[bool] = True

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        picture, patches = sides(fields, "image_size", 224), sides(fields, "patch_size", 16)
        if patches[0] != patches[1] or picture[0] % patches[0] or picture[1] % patches[1]:
            what = f"config.json has image_size={list(picture)} and patch_size={list(patches)}"
            raise UserError(f"{what}; only square patches that leave no rest are read")
        width = fields.whole("hidden_size", 768)
        fields.take("encoder_stride")  # of the decoder of masked pictures alone
        fields.only("pooler_act", "tanh")
        fields.only("pooler_output_size", width)
        bias, labels = fields.flag("qkv_bias", True), fields.data.get("id2label")
        classes = len(cast("dict[str, Any]", labels)) if isinstance(labels, dict) else fields.data.get("num_labels", 2)
        classifies = fields.architecture != self.architectures[1]
        model = EncoderConfig(
            width=width, layers=fields.whole("num_hidden_layers", 12),
            mixer=AttentionConfig(
                heads=fields.whole("num_attention_heads", 12), bias=bias, out_bias=None if bias else True
            ),
            feedforward=MLPConfig(
                hidden=fields.whole("intermediate_size", 3072),
                activation=fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
            ),
            residual=PreNormConfig(dropout=0.0), norm=LayerNorm(eps=fields.number("layer_norm_eps", 1e-12)),
            embedding=PatchesConfig(picture=picture, patch=patches[0], class_token=True),
            positions=LearnedConfig(limit=(picture[0] // patches[0]) * (picture[1] // patches[0]) + 1),
            head=ClassesHeadConfig(classes=classes, pool=FIRST) if classifies else NO_HEAD,
            heads=heads_of(fields.holds("pooler.dense.weight"), pairs=False),
            scale_embedding=False, init=NormalInit(),
        )  # fmt: skip
        return model, fields.whole("num_channels", 3)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        if not isinstance(model, EncoderConfig) or model.scale_embedding or not isinstance(model.layers, int):
            return None
        a, f, n, p, e, h = (
            model.mixer, model.feedforward, model.norm, model.positions, model.embedding, model.head
        )  # fmt: skip
        if not (isinstance(a, AttentionConfig) and isinstance(f, MLPConfig) and isinstance(n, LayerNorm)):
            return None
        if not (isinstance(e, PatchesConfig) and isinstance(p, LearnedConfig)) or e.picture is None:
            return None
        patch, stride = e.pixels(e.sides())
        out_bias = a.bias if a.out_bias is None else a.out_bias
        usual = AttentionConfig(heads=a.heads, bias=a.bias, out_bias=a.out_bias)
        slots = (e.picture[0] // patch) * (e.picture[1] // patch) + 1
        alike = (
            matches(a, usual) and out_bias and matches(model.residual, PreNormConfig()) and f == MLPConfig(
                hidden=f.hidden, activation=f.activation, dropout=f.dropout
            )
            and n.bias and f.activation in ACTIVATIONS.values()
            and e == PatchesConfig(picture=e.picture, patch=e.patch, stride=e.stride, class_token=True)
            and stride == patch and p == LearnedConfig(limit=slots)
            and (h == NO_HEAD or matches(h, ClassesHeadConfig(classes=getattr(h, "classes", None), pool=FIRST)))
            and (not model.heads or (h == NO_HEAD and pooler_of(model) is not None))
        )  # fmt: skip
        if not alike or (model.heads and not matches(next(iter(model.heads.values())), POOLER)):
            return None
        height, width = e.sides()
        return {
            "hidden_size": model.width, "num_hidden_layers": model.layers, "num_attention_heads": a.heads,
            "intermediate_size": f.hidden or 4 * model.width, "hidden_act": named(ACTIVATIONS, f.activation),
            "layer_norm_eps": n.eps, "image_size": height if height == width else [height, width],
            "patch_size": patch, "num_channels": vocab_size, "qkv_bias": a.bias,
            **({} if h == NO_HEAD else {"num_labels": getattr(h, "classes", None)}),
        }  # fmt: skip

    def architecture(self, model: ModelConfig) -> str:
        return self.architectures[1 if model.head == NO_HEAD else 0]

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.embedding, PatchesConfig)
        assert isinstance(model.layers, int)
        base, theirs, ours = "vit.embeddings", "vit.encoder.layer.{i}", "stack.blocks.{i}"
        bias, patch = model.mixer.bias, model.embedding.pixels(model.embedding.sides())[0]
        block = [
            *pair(f"{theirs}.layernorm_before", f"{ours}.mix_residual.norm"),
            *(
                one for x in ("query", "key", "value")
                for one in pair(f"{theirs}.attention.attention.{x}", f"{ours}.mix.{x[0]}", bias=bias)
            ),
            *pair(f"{theirs}.attention.output.dense", f"{ours}.mix.out"),
            *pair(f"{theirs}.layernorm_after", f"{ours}.feed_residual.norm"),
            *pair(f"{theirs}.intermediate.dense", f"{ours}.feed.up"),
            *pair(f"{theirs}.output.dense", f"{ours}.feed.down"),
        ]  # fmt: skip
        rows = [
            row(f"{base}.cls_token", "embed.first", FLAT),
            row(f"{base}.position_embeddings", "embed.positions.weight", INNER),
            *pair(f"{base}.patch_embeddings.projection", "embed.project", Kernel(patch)),
            *layers(block, model.layers),
            *pair("vit.layernorm", "stack.leave"),
        ]
        if (pooler := pooler_of(model)) is not None:
            rows += pair("vit.pooler.dense", f"heads.{pooler}.dense")
        if model.head != NO_HEAD:
            rows += pair("classifier", "head.output")
        return Table(tuple(rows), "vit.", bare=model.head == NO_HEAD)
