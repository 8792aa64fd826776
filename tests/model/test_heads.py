"""Laws of heads, on every kind that discovery finds with every value of its options: formula, loss, gradients."""

import itertools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.embed.adaptive import AdaptiveEmbeddingConfig
from transduce.model.embed.embedding import Embedding
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.feedforward import ACTIVATIONS
from transduce.model.heads.head import Head, HeadConfig, PooledHead, TokenHead
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.model.heads.pooled import RowHeadConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import dense
from transduce.model.norms.norm import LayerNorm
from transduce.model.ops import loss as ops
from transduce.model.positions.position import Positions
from transduce.objectives.language import NextTokenConfig, TranslationConfig
from transduce.objectives.masked import MaskedConfig
from transduce.objectives.objective import ObjectiveConfig
from transduce.objectives.permutation import PermutationConfig
from transduce.testing.heads import built, laws_of
from transduce.text.byte import Byte

VOCAB, WIDTH, NARROW, ROWS = 23, 12, 5, 11
CUTOFFS = (5, 9, 16)
VALUES: dict[str, tuple[Any, ...]] = {  # of every option of every head; an option that is not here fails the tests
    "bias": (False, True),
    "scale": (1.0, 0.3),
    "softcap": (None, 2.0),
    "activation": ("gelu", "tanh", "relu"),
    "size": (NARROW, WIDTH),
    "cutoffs": (CUTOFFS,),
    "div": (2, 1),
    "map_all": (None, True, False),
    "own_maps": (0, 2),
    "classes": (7,),
    "labels": (7,),
    "dropout": (0.0,),
    "bounded": (False, True),
    "numbers": (2,),
    "bins": (4,),
}
TABLES = {
    "none": None,
    "same": TableConfig(),
    "narrow": TableConfig(size=NARROW),
    "bands": AdaptiveEmbeddingConfig(cutoffs=CUTOFFS, div=2),
}


def build(config: HeadConfig, table: str) -> tuple[Head, Embedding | None]:
    """A head in float64 with start values that hide nothing, and the embedding it is tied to."""
    chosen = TABLES[table]
    tied = None if chosen is None else chosen.build(VOCAB, WIDTH, LayerNorm(), Positions(), scale=1.0, p=0.0)
    head = config.build(VOCAB, WIDTH, LayerNorm(), tied)
    assert head is not None
    both = nn.ModuleList([head] if tied is None else [head, tied])
    XavierInit().apply(both, Sizes(WIDTH, 0, 1), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in both.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    both.double()
    return head, tied


def cases() -> list[Any]:
    """Every kind per token with every value of its options; those per row have laws of their own."""
    out = list[Any]()
    for kind in kinds(HeadConfig.folder).values():
        if kind.kind == "none" or issubclass(kind, RowHeadConfig | PixelsHeadConfig):
            continue
        names = [field.name for field in fields(cast(Any, kind))]
        for values in itertools.product(*(VALUES[name] for name in names)):
            for table in TABLES:
                config = cast(HeadConfig, from_data(cast(Any, kind), dict(zip(names, values, strict=True))))
                try:
                    build(config, table)
                except UserError:  # which tables a head is tied to is tested by what it says
                    continue
                if not (table != "none" and getattr(config, "size", WIDTH) != WIDTH):  # a tied table has its own size
                    out.append(pytest.param(config, table, id=f"{kind.kind}-{table}-{values}"))
    return out


CASES = cases()
TOKENS = [case for case in CASES if isinstance(build(*case.values)[0], TokenHead)]


def hidden(rows: int = ROWS) -> Tensor:
    return 2.0 * torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def targets_for(head: Head) -> Tensor:
    return torch.randint(0, head.size, (ROWS,), generator=torch.Generator().manual_seed(3))


def linear(head: Any, config: Any, h: Tensor) -> Tensor:
    """softcap tanh(W (scale P h) / softcap + b / softcap): T5 and Gemma 2 in one, token by token."""
    rows = list[Tensor]()
    for w, b in zip(head.weight, torch.zeros(VOCAB).double() if head.bias is None else head.bias, strict=True):
        x = h if head.project is None else h @ head.project.weight.T
        logit = config.scale * (x * w).sum(-1) + b
        rows.append(logit if config.softcap is None else config.softcap * torch.tanh(logit / config.softcap))
    return torch.stack(rows, -1)


def transform(head: Any, config: Any, h: Tensor) -> Tensor:
    x = ACTIVATIONS[config.activation](h @ head.dense.weight.T + head.dense.bias)
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * head.norm.weight + head.norm.bias
    return x @ head.weight.T + (0.0 if head.bias is None else head.bias)


def adaptive(head: Any, config: Any, h: Tensor) -> Tensor:
    """log p(band) + log p(token | band), the bands one after the other."""
    sizes, columns, bias_of = head.bands.sizes, list[Tensor](), head.bias
    edges = [0, *CUTOFFS, VOCAB]
    before = None
    for i, (first, last) in enumerate(itertools.pairwise(edges)):
        maps = head.maps if str(i) in head.maps else head.bands.maps
        x = h @ maps[str(i)] if str(i) in maps else h
        logits = x @ head.bands.tables[i].T + (0.0 if bias_of is None else bias_of[first:last])
        if i == 0:
            bands = x @ head.clusters.T + (0.0 if head.clusters_bias is None else head.clusters_bias)
            z = (logits.exp().sum(-1) + bands.exp().sum(-1)).log()
            columns.append(logits - z[:, None])
            before = bands - z[:, None]
        else:
            assert before is not None
            columns.append(before[:, i - 1, None] + logits - logits.exp().sum(-1, keepdim=True).log())
    assert sizes == [b - a for a, b in itertools.pairwise(edges)]
    return torch.cat(columns, -1)


def discriminator(head: Any, config: Any, h: Tensor) -> Tensor:
    return ACTIVATIONS[config.activation](h @ head.dense.weight.T + head.dense.bias) @ head.out.weight.T + head.out.bias


def projection(head: Any, config: Any, h: Tensor) -> Tensor:
    return h @ head.out.weight.T + (0.0 if head.out.bias is None else head.out.bias)


def token_classes(head: Any, config: Any, h: Tensor) -> Tensor:
    return h @ head.output.weight.T + (0.0 if head.output.bias is None else head.output.bias)


def values(head: Any, config: Any, h: Tensor) -> Tensor:
    y = token_classes(head, config, h)
    return y.tanh() if config.bounded else y


FORMULAS: dict[str, Callable[[Any, Any, Tensor], Tensor]] = {
    "linear": linear, "transform": transform, "adaptive": adaptive, "discriminator": discriminator,
    "projection": projection, "token-classes": token_classes, "value": token_classes,
    "values": values, "bins": token_classes, "ctc": token_classes,
}  # fmt: skip


@pytest.mark.parametrize(("config", "table"), CASES)
def test_logits_are_the_formula_of_the_paper(config: HeadConfig, table: str) -> None:
    head, tied = build(config, table)
    h = hidden()
    if tied is not None and config.kind in ("linear", "transform", "adaptive"):
        own = {id(p) for p in head.parameters()}
        assert all(id(p) in own for p in (tied.bands.parameters() if table == "bands" else [tied.weight]))  # type: ignore[union-attr]
    torch.testing.assert_close(head(h), FORMULAS[config.kind](head, config, h), atol=1e-11, rtol=1e-9)
    assert head(h).shape == (ROWS, head.size)
    torch.testing.assert_close(head(h.view(1, ROWS, WIDTH)), head(h)[None], atol=1e-12, rtol=0)


@pytest.mark.parametrize(("config", "table"), TOKENS)
@pytest.mark.parametrize(("smoothing", "rows"), [(0.0, 3), (0.1, 1), (0.3, ROWS + 1)])
def test_the_loss_is_the_cross_entropy_of_its_own_logits(
    config: HeadConfig, table: str, smoothing: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and all gradients, whatever number of rows is taken at a time."""
    head, _ = build(config, table)
    monkeypatch.setattr(ops, "CHUNK_ROWS", 1)
    monkeypatch.setattr(ops, "CHUNK_ELEMENTS", rows * head.size)
    h, targets = hidden().requires_grad_(), targets_for(head)
    leaves = [h, *head.parameters()]
    logp = head(h).log_softmax(-1)
    wanted = -logp.gather(1, targets[:, None]).sum()
    expected = (1 - smoothing) * wanted - smoothing * logp.mean(-1).sum()
    total, nll = head.loss(h, targets, smoothing)
    assert not nll.requires_grad
    torch.testing.assert_close(total.double(), expected, atol=1e-5, rtol=1e-6)  # sums of many chunks are float32
    torch.testing.assert_close(nll.double(), wanted.detach(), atol=1e-5, rtol=1e-6)
    ours = torch.autograd.grad(2.5 * total, leaves, allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(2.5 * expected, leaves, allow_unused=True, materialize_grads=True)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("config", "table"), TOKENS)
def test_the_loss_in_bfloat16_is_that_of_its_logits_there(config: HeadConfig, table: str) -> None:
    head, _ = build(config, table)
    h, targets = hidden(), targets_for(head)
    exact, _ = head.loss(h, targets, 0.1)
    head.float()
    with torch.autocast("cpu", torch.bfloat16):
        total, nll = head.loss(h.bfloat16(), targets, 0.1)
    assert total.dtype == nll.dtype == torch.float32
    torch.testing.assert_close(total.double(), exact.double(), atol=0.3, rtol=0.03)


@pytest.mark.parametrize(("config", "table"), TOKENS)
def test_nothing_to_predict_has_a_loss_and_a_gradient_of_zero(config: HeadConfig, table: str) -> None:
    head, _ = build(config, table)
    h = hidden(0).requires_grad_()
    total, nll = head.loss(h, torch.zeros(0, dtype=torch.int64))
    assert total.item() == nll.item() == 0.0
    total.backward()
    assert h.grad is not None
    assert h.grad.shape == (0, WIDTH)
    assert not any(p.grad.any() for p in head.parameters() if p.grad is not None)


LAWFUL = [
    pytest.param(law, config, dtype, id=f"{law.__name__}-{name}-{i}-{dtype}".replace("torch.", ""))
    for name, kind in kinds(HeadConfig.folder).items()
    for i, config in enumerate(cast(type[HeadConfig], kind).examples())
    if name != "none"
    for law in laws_of(built(config))
    for dtype in (torch.float32, torch.float64)
]


@pytest.mark.parametrize(("law", "config", "dtype"), LAWFUL)
def test_every_head_obeys_the_laws(law: Callable[[Head, int], None], config: HeadConfig, dtype: torch.dtype) -> None:
    law(built(config).to(dtype), WIDTH)


def test_where_the_table_is_tied_its_gradient_is_that_of_both_ends() -> None:
    """d loss / d W of a tied table is what it gets as embedding and what it gets as head, added up."""
    data = {"width": WIDTH, "layers": 1, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}}
    tied = from_data(DecoderConfig, {**data, "tie_embeddings": True}).build(VOCAB).double()
    apart = from_data(DecoderConfig, {**data, "tie_embeddings": False}).build(VOCAB).double()
    weights = tied.state_dict()
    apart.load_state_dict({k: weights.get(k, weights["embed.weight"]) for k in apart.state_dict()})
    ids = torch.randint(0, VOCAB, (3, 7), generator=torch.Generator().manual_seed(4))
    for model in (tied, apart):
        NextTokenConfig().build()(model, Batch(ids, dense(3, 7), ids.roll(-1, 1))).total.backward()
    one, two = (dict(model.named_parameters()) for model in (tied, apart))
    assert one["embed.weight"].grad is not None
    both = cast(Tensor, two["embed.weight"].grad) + cast(Tensor, two["head.weight"].grad)
    torch.testing.assert_close(one["embed.weight"].grad, both, atol=1e-10, rtol=1e-9)


def test_smoothing_compiled_is_smoothing() -> None:
    h, weight, targets = hidden(), torch.randn(VOCAB, WIDTH).double(), torch.randint(0, VOCAB, (ROWS,))
    torch.compiler.reset()
    compiled = torch.compile(ops.cross_entropy, fullgraph=True, backend="eager")
    expected = F.cross_entropy(h @ weight.T, targets, reduction="sum", label_smoothing=0.2)
    torch.testing.assert_close(compiled(h, weight, targets, 0.2)[0], expected)
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("head", "has"),
    [
        ("none", "this model has no head (model.head=none)"),
        ("discriminator", "the head of this model gives 1 number per token"),
        ({"kind": "projection", "size": 7}, "the head of this model gives 7 numbers per token"),
        ({"kind": "token-classes", "classes": 5}, "the head of this model gives 5 numbers per token"),
        ({"kind": "classes", "classes": 2}, "the head of this model gives 2 numbers per row"),
        ("numbers", "the head of this model gives 1 number per row"),
        ("vector", "the head of this model gives 12 numbers per row"),
    ],
)
@pytest.mark.parametrize(
    "objective", [NextTokenConfig(), TranslationConfig(), PermutationConfig(), MaskedConfig()], ids=lambda o: o.kind
)
def test_what_predicts_no_tokens_is_refused_before_it_is_trained(
    head: Any, has: str, objective: ObjectiveConfig
) -> None:
    data = {"width": WIDTH, "layers": 1, "mixer": {"heads": 3}, "head": head}
    model = from_data(EncoderConfig if objective.kind == "masked-lm" else DecoderConfig, data).build(VOCAB)
    with pytest.raises(UserError) as error:
        objective.build_for(model, Byte().train([]))
    best = "transform" if objective.kind == "masked-lm" else "linear"
    assert str(error.value) == f"objective={objective.kind} predicts tokens, but {has}; set model.head={best}"
    with pytest.raises(UserError, match=r"so it predicts no tokens; use model.head=linear"):
        _ = model.token_head
    if isinstance(model.head, PooledHead):
        assert model.pooled_head is model.head
    else:
        with pytest.raises(UserError, match=r"so it predicts nothing of a whole text; use model.head=classes"):
            _ = model.pooled_head
