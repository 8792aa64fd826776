"""Bands of tokens: against torch's adaptive softmax, the formula in float64, published sizes, and training."""

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.embed.adaptive import AdaptiveEmbedding, AdaptiveEmbeddingConfig
from transduce.model.heads.adaptive import AdaptiveHead, AdaptiveHeadConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import dense
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.position import Positions
from transduce.objectives.objective import token_loss
from transduce.optim import grouped

VOCAB, WIDTH, CUTOFFS = 23, 12, (5, 9, 16)


def built(tied: bool, **keys: Any) -> tuple[AdaptiveEmbedding, AdaptiveHead]:
    own = {key: keys.pop(key) for key in ("bias", "own_maps") if key in keys}
    norm = LayerNorm()
    shape: dict[str, Any] = {"cutoffs": CUTOFFS, "div": 2, **keys}
    embed = AdaptiveEmbeddingConfig(**shape).build(VOCAB, WIDTH, norm, Positions(), scale=3.0, p=0.0)
    head = AdaptiveHeadConfig(**({} if tied else shape), **own).build(VOCAB, WIDTH, norm, embed if tied else None)
    assert isinstance(embed, AdaptiveEmbedding)
    assert isinstance(head, AdaptiveHead)
    both = nn.ModuleDict({"embed": embed, "head": head})
    XavierInit().apply(both, Sizes(WIDTH, 0, 1), seed=0)
    with torch.no_grad():
        for p in both.parameters():
            p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    both.double()
    return embed, head


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


OPTIONS: list[dict[str, Any]] = [
    {"tied": False},
    {"tied": False, "bias": True, "map_all": False},
    {"tied": True, "bias": True, "own_maps": 1},
    {"tied": True, "own_maps": 4, "bias": True},
    {"tied": True, "div": 1, "bias": True},
    {"tied": True, "div": 1, "map_all": True},
]


def formula(embed: AdaptiveEmbedding, head: AdaptiveHead, h: Tensor, y: int) -> Tensor:
    """log p(y), one token, one hidden state (M,), written as in the papers."""
    edges = [0, *CUTOFFS, VOCAB]

    def scores(band: int) -> Tensor:
        maps = head.maps if str(band) in head.maps else head.bands.maps
        x = maps[str(band)].T @ h if str(band) in maps else h
        out = head.bands.tables[band] @ x
        out = out if head.bias is None else out + head.bias[edges[band] : edges[band + 1]]
        if band == 0:
            c = head.clusters @ x
            out = torch.cat([out, c if head.clusters_bias is None else c + head.clusters_bias])
        return out.exp() / out.exp().sum()

    band = sum(y >= edge for edge in CUTOFFS)
    if band == 0:
        return scores(0)[y].log()
    return (scores(0)[CUTOFFS[0] + band - 1] * scores(band)[y - edges[band]]).log()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_head_is_its_formula_and_a_distribution(options: dict[str, Any]) -> None:
    embed, head = built(**options)
    h, targets = numbers(7, WIDTH), torch.tensor([0, 4, 5, 8, 9, 16, 22])
    logp = head(h)
    torch.testing.assert_close(logp.exp().sum(-1), torch.ones(7, dtype=torch.float64))
    expected = torch.stack([formula(embed, head, x, int(y)) for x, y in zip(h, targets, strict=True)])
    torch.testing.assert_close(logp.gather(1, targets[:, None])[:, 0], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_all_logits_and_so_are_its_gradients(options: dict[str, Any], smoothing: float) -> None:
    embed, head = built(**options)
    both = nn.ModuleList([embed, head])
    h, targets = numbers(40, WIDTH).requires_grad_(), torch.randint(0, VOCAB, (40,))
    parameters = [h, *(p for name, p in both.named_parameters() if name.startswith("1."))]
    expected = F.cross_entropy(head(h), targets, reduction="sum", label_smoothing=smoothing)
    total, nll = head.loss(h, targets, smoothing)
    torch.testing.assert_close(total.double(), expected, atol=1e-5 if smoothing else 1e-10, rtol=1e-6)
    torch.testing.assert_close(nll.double(), F.cross_entropy(head(h), targets, reduction="sum"), rtol=1e-6, atol=1e-5)
    assert not nll.requires_grad
    a, b = (torch.autograd.grad(x, parameters) for x in (expected, total))
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 if smoothing else 1e-10, rtol=1e-6)


def test_bands_without_targets_still_have_gradients() -> None:
    """So that ranks whose tokens are all frequent take part in every sum."""
    _, head = built(False, bias=True)
    head.loss(numbers(3, WIDTH), torch.tensor([0, 1, 4]))[0].backward()
    gradients: list[Tensor | None] = [p.grad for p in head.parameters()]
    assert all(x is not None and x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("div", [1, 2])
def test_the_head_is_that_of_torch(div: int) -> None:
    theirs = nn.AdaptiveLogSoftmaxWithLoss(WIDTH, VOCAB, CUTOFFS, div_value=div).double()
    _, head = built(False, div=div, map_all=False)
    with torch.no_grad():
        theirs.head.weight.copy_(torch.cat([head.bands.tables[0], head.clusters]))
        for i, tail in enumerate(theirs.tail, 1):
            down, up = (cast(nn.Linear, x) for x in tail.children())
            down.weight.copy_(head.bands.maps[str(i)].T if div > 1 else torch.eye(WIDTH))
            up.weight.copy_(head.bands.tables[i])
    h, targets = numbers(50, WIDTH), torch.randint(0, VOCAB, (50,))
    torch.testing.assert_close(head(h), theirs.log_prob(h), atol=1e-12, rtol=0)
    torch.testing.assert_close(head.loss(h, targets)[0], -theirs(h, targets).output.sum(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", [{}, {"div": 1}, {"map_all": False}, {"div": 5}], ids=str)
def test_the_embedding_is_its_formula(options: dict[str, Any]) -> None:
    embed, _ = built(True, **options)
    ids, edges = torch.arange(VOCAB)[None], [0, *CUTOFFS, VOCAB]
    y = embed(ids, dense(1, VOCAB))[0]
    for token in range(VOCAB):
        band = sum(token >= edge for edge in CUTOFFS)
        row, matrix = embed.bands.tables[band][token - edges[band]], embed.bands.map(band)
        expected = 3.0 * (row if matrix is None else matrix @ row)
        torch.testing.assert_close(y[token], expected, atol=1e-12, rtol=0)
    only = torch.autograd.grad(embed(ids[:, :5], dense(1, 5)).sum(), list(embed.bands.tables))
    assert [bool(g.any()) for g in only] == [True, False, False, False]


def transformer_xl(width: int, heads: int, size: int, hidden: int, **ends: Any) -> DecoderConfig:
    own = {key: ends.pop(key) for key in ("own_maps",) if key in ends}
    return from_data(
        DecoderConfig,
        {
            "width": width, "layers": ends.pop("layers"), "positions": {"kind": "transformer-xl", "lean": "stack"},
            "mixer": {"heads": heads, "size": size, "bias": False}, "residual": "post-norm",
            "feedforward": {"hidden": hidden, "activation": "relu"}, "embedding": {"kind": "adaptive", **ends},
            "head": {"kind": "adaptive", "bias": True, **own},
        },
    )  # fmt: skip


WIKI, WORDS = [20_000, 40_000, 200_000], [60_000, 100_000, 640_000]
PUBLISHED = [
    (transformer_xl(410, 10, 41, 2100, layers=16, cutoffs=WIKI, div=1), 267735, 151107538),
    (transformer_xl(1024, 16, 64, 4096, layers=18, cutoffs=WIKI, div=4, own_maps=1), 267735, 285170506),
    (transformer_xl(1280, 16, 80, 8192, layers=24, cutoffs=WORDS, div=4, own_maps=4), 793471, 841295982),
]  # fmt: skip


@pytest.mark.parametrize(("config", "vocab", "expected"), PUBLISHED, ids=["standard", "large", "one billion words"])
def test_transformer_xl_has_the_published_size(config: DecoderConfig, vocab: int, expected: int) -> None:
    with torch.device("meta"):
        model = config.assemble(vocab)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_trains_and_knows_its_tables(tied: bool) -> None:
    shape = {"cutoffs": list(CUTOFFS), "div": 2}
    data = {
        "width": WIDTH, "layers": 1, "mixer": {"heads": 2}, "tie_embeddings": tied, "residual": {"dropout": 0.0},
        "embedding": {"kind": "adaptive", **shape}, "head": {"kind": "adaptive", **({} if tied else shape)},
    }  # fmt: skip
    model = from_data(DecoderConfig, data).build(VOCAB, seed=0)
    tables = [p for group, p in grouped(model) if group == "table"]
    assert len(tables) == (4 if tied else 8)
    ids = torch.arange(VOCAB)[None]
    batch, moves = Batch(ids, dense(1, VOCAB), ids.roll(-1, 1)), torch.optim.Adam(model.parameters(), lr=0.02)
    losses = list[float]()
    for _ in range(60):
        loss = token_loss(model, batch, 0.0)
        loss.total.backward()
        moves.step()
        moves.zero_grad()
        losses.append(loss.total.item() / VOCAB)
    assert losses[-1] < losses[0] / 4


def test_an_encoder_decoder_shares_all_bands() -> None:
    data = {
        "width": WIDTH, "encoder_layers": 1, "decoder_layers": 1, "mixer": {"heads": 2}, "tie_embeddings": "all",
        "embedding": {"kind": "adaptive", "cutoffs": [7]}, "head": "adaptive",
    }  # fmt: skip
    model = from_data(EncoderDecoderConfig, data).build(VOCAB)
    assert sum("bands.tables" in name for name, _ in model.named_parameters()) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"embedding": {"kind": "adaptive", "cutoffs": [9, 5]}}, r"cutoffs=\[9, 5\] must rise"),
        ({"embedding": {"kind": "adaptive", "cutoffs": [0, 5]}}, r"cutoffs=\[0, 5\] must rise"),
        ({"embedding": {"kind": "adaptive", "cutoffs": []}}, "without cutoffs is one band"),
        ({"embedding": {"kind": "adaptive", "div": 0}}, "div=0 must be at least 1"),
        ({"embedding": {"kind": "adaptive", "cutoffs": [23]}, "head": "adaptive"}, "leave nothing to the last band"),
        ({"embedding": {"kind": "adaptive", "cutoffs": [9]}}, "head=linear cannot be tied"),
        ({"head": "adaptive"}, "head=adaptive can be tied to embedding=adaptive only"),
        ({"head": "adaptive", "tie_embeddings": False}, "head=adaptive has no cutoffs"),
        (
            {"embedding": {"kind": "adaptive", "cutoffs": [9]}, "head": {"kind": "adaptive", "cutoffs": [8]}},
            r"differ from those of the embedding, \[9\]",
        ),
        (
            {"embedding": {"kind": "adaptive", "cutoffs": [9]}, "head": {"kind": "adaptive", "own_maps": 3}},
            "own_maps=3, but there are 2 bands",
        ),
        (
            {"embedding": {"kind": "adaptive", "cutoffs": [9]}, "head": "adaptive", "init": "mup"},
            "init=mup does not say how tables of several widths",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(DecoderConfig, {"width": WIDTH, "mixer": {"heads": 2}, **data}).build(VOCAB)
