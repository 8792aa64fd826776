"""Whose vectors u and w are, types of tokens in scores, and the published sizes of Transformer-XL, Gopher and XLNet."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Marks, dense
from transduce.model.models import Decoder
from transduce.model.positions.transformer_xl import RelativeTerms, TransformerXLConfig
from transduce.model.state import over

DATA: dict[str, Any] = {"width": 12, "layers": 2, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}}


def decoder(**positions: Any) -> Decoder:
    keys = {"mixer": positions.pop("mixer", DATA["mixer"])}
    data = {**DATA, **keys, "positions": {"kind": "transformer-xl", **positions}}
    model = from_data(DecoderConfig, data).build(7).double()
    assert isinstance(model, Decoder)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype)
    return model


def terms_of(model: nn.Module) -> list[RelativeTerms]:
    return [module for module in model.modules() if isinstance(module, RelativeTerms)]


def test_u_and_w_are_of_a_mixer_of_a_stack_or_of_nobody() -> None:
    each, shared, none = (terms_of(decoder(lean=kind)) for kind in ("mixer", "stack", "none"))
    assert each[0].u is not each[1].u
    assert shared[0].u is shared[1].u
    assert shared[0].w is shared[1].w
    assert none[0].u is None
    sizes = [sum(p.numel() for p in decoder(lean=kind).parameters()) for kind in ("mixer", "stack", "none")]
    assert [sizes[0] - sizes[1], sizes[1] - sizes[2]] == [24, 24]
    both = from_data(EncoderDecoderConfig, {**DATA, "positions": {"kind": "transformer-xl", "lean": "stack"}}).build(7)
    assert len({id(one.u) for one in terms_of(both)}) == 2, "one of the encoder, one of the decoder"


def test_what_is_shared_starts_small_and_learns_from_every_layer() -> None:
    data = {**DATA, "positions": {"kind": "transformer-xl", "lean": "stack"}}
    model, ids = from_data(DecoderConfig, data).build(7), torch.randint(0, 7, (2, 6))
    u = terms_of(model)[0].u
    assert u is not None
    assert 0 < u.std() < 0.1, "the published start values, not a scheme's for matrices"
    model.features(Batch(ids, dense(2, 6), ids)).square().sum().backward()
    assert u.grad is not None
    assert u.grad.any()


@pytest.mark.parametrize("lean", ["mixer", "none"])
@pytest.mark.parametrize("causal", [True, False])
def test_scores_are_their_formula_with_types(lean: str, causal: bool) -> None:
    """S_ij = ((q_i + u) k_j + (q_i + w) W_R R_{i-j} + (q_i + s) e_{type_i != type_j}) / sqrt(D), in float64."""
    model, tokens, heads, size = decoder(lean=lean, segments=True), 9, 3, 4
    mixer, types = model.stack.blocks[0].mix, torch.tensor([0, 0, 1, 1, 1, 0, 2, 2, 0])
    terms, x = mixer.positions, torch.randn(tokens, 12, dtype=torch.float64)
    q, k, v = (f(x).view(tokens, heads, size) for f in (mixer.q, mixer.k, mixer.v))
    u, w = (0.0, 0.0) if terms.u is None else (terms.u, terms.w)
    rate = 10_000.0 ** (-torch.arange(0, 12, 2, dtype=torch.float64) / 12)
    scores = torch.full((heads, tokens, tokens), -math.inf, dtype=torch.float64)
    for i in range(tokens):
        for j in range(i + 1 if causal else tokens):
            r = terms.r(torch.cat([((i - j) * rate).sin(), ((i - j) * rate).cos()])).view(heads, size)
            e = terms.segments[int(types[i] != types[j])]
            scores[:, i, j] = ((q[i] + u) * k[j] + (q[i] + w) * r + (q[i] + terms.s) * e).sum(-1) / 2
    expected = mixer.out(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1))
    layout = dense(1, tokens)._replace(marks=Marks(types[None]))
    y = mixer(x[None], layout)[0] if causal else mixer.encode(x[None], layout)
    torch.testing.assert_close(y[0], expected, atol=1e-11, rtol=0)


def test_types_of_earlier_tokens_are_not_known() -> None:
    model, layout = decoder(segments=True), dense(1, 3)._replace(marks=Marks(torch.zeros(1, 3, dtype=torch.int64)))
    with pytest.raises(UserError, match="do not know the types of earlier tokens"):
        model.step(torch.zeros(1, 3, dtype=torch.int64), layout, model.init_state(1, 5))


@pytest.mark.parametrize("lean", ["mixer", "stack"])
def test_segments_with_memory_are_one_pass_with_a_band(lean: str) -> None:
    """Layer by layer: what is seen of the last segment is what was computed when it was the present one."""
    model, ids = decoder(lean=lean, mixer={"heads": 3, "window": 6}), torch.randint(0, 7, (2, 20))
    whole, state, parts = model.features(Batch(ids, dense(2, 20), ids)), model.init_state(2, 20), list[Tensor]()
    for start in range(0, 20, 5):
        y, state = model.step(ids[:, start : start + 5], dense(2, 5, start), over(state, torch.Tensor.detach))
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-10, rtol=0)


def xl(width: int, layers: int, heads: int, size: int, hidden: int, **keys: Any) -> dict[str, Any]:
    return {
        "width": width, "layers": layers, "mixer": {"heads": heads, "size": size, "bias": False},
        "feedforward": {"hidden": hidden}, "positions": {"kind": "transformer-xl", "lean": "stack"}, **keys,
    }  # fmt: skip


XLNET = {
    "residual": "post-norm", "head": {"kind": "linear", "bias": True}, "embedding": {"kind": "table", "blank": True},
    "positions": {"kind": "transformer-xl", "segments": True},
}  # fmt: skip
POST = {"residual": "post-norm", "head": {"kind": "linear", "bias": True}}
GOPHER = {"norm": "rms-norm", "feedforward": {"hidden": 2048, "bias": False}}
SIZES: list[tuple[str, dict[str, Any], int, int]] = [
    ("decoder", xl(512, 12, 8, 64, 2048, **POST), 204, 41055436),
    ("decoder", xl(1024, 24, 8, 128, 3072, **POST), 204, 277231820),
    ("decoder", {**xl(512, 8, 16, 32, 2048), **GOPHER}, 32000, 43656704),
    ("encoder", {**xl(768, 12, 12, 64, 3072), **XLNET}, 32000, 116750336),
    ("encoder", {**xl(1024, 24, 16, 64, 4096), **XLNET}, 32000, 360300800),
]


@pytest.mark.parametrize(("kind", "data", "vocab", "expected"), SIZES, ids=lambda x: x if isinstance(x, int) else "")
def test_published_sizes(kind: str, data: dict[str, Any], vocab: int, expected: int) -> None:
    config = from_data(EncoderConfig if kind == "encoder" else DecoderConfig, data)
    with torch.device("meta"):
        model = config.assemble(vocab)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_its_examples_differ() -> None:
    assert len(set(TransformerXLConfig.examples())) == 3
