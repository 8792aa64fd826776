"""Every placement against its formula written out over a whole stack, and what all of them share."""

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.block import Block, Sublayer
from transduce.model.init.depth import deep_norm
from transduce.model.layout import dense, right_padded
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm, NormConfig
from transduce.model.residual.added import Added, drop_rows
from transduce.model.residual.norm_last import DeepNormConfig
from transduce.model.residual.residual import Place, ResidualConfig
from transduce.objectives.language import TranslationConfig
from transduce.optim.adamw import AdamWConfig

WIDTH, VOCAB, LAYERS = 12, 11, 3
KINDS = sorted(name for name, kind in kinds(ResidualConfig.folder).items() if not cast(Any, kind).conditioned)
NORMS = sorted(kinds(NormConfig.folder))


def decoder(residual: dict[str, Any], moved: float = 0.1, **more: Any) -> Model:
    data = {"width": WIDTH, "layers": LAYERS, "mixer": {"heads": 3}, "residual": {"dropout": 0.0, **residual}, **more}
    model = from_data(DecoderConfig, data).build(VOCAB).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # gains and biases start at constants, under which some mistakes would not show
        for p in model.parameters():
            p += moved * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return model.eval()


def ids(rows: int = 2, tokens: int = 5) -> Tensor:
    return torch.randint(0, VOCAB, (rows, tokens), generator=torch.Generator().manual_seed(1))


def features(model: Model, x: Tensor) -> Tensor:
    return model.features(Batch(x, dense(*x.shape), x))


def norm(x: Tensor, module: Any) -> Tensor:
    """LayerNorm as its paper has it."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + module.eps).sqrt() * module.weight + module.bias


def written_out(model: Model, x: Tensor, kind: str) -> Tensor:
    """The hidden states of a decoder by the formula of a placement."""
    stack: Any = model.stacks()[0]
    layout = dense(*x.shape)
    h = cast(Any, model).embed(x, layout)
    d = 0.5 * h
    for block in stack:
        if kind == "parallel":
            (residual,), (sum_,) = block.residuals, block.sublayers
            a = norm(h, residual.norm)
            h = h + sum(part(block, a, layout, None, None)[0] for part in sum_.parts)
            continue
        for residual, part in zip(block.residuals, block.sublayers, strict=True):

            def f(x: Tensor, part: Sublayer = part, block: Block = block) -> Tensor:
                return part(block, x, layout, None, None)[0]

            if kind == "none":
                h = f(h)
            elif kind == "add":
                h = h + f(h)
            elif kind == "pre-norm":
                h = h + f(norm(h, residual.norm))
            elif kind == "sandwich":
                h = h + norm(f(norm(h, residual.norm)), residual.norm_after)
            elif kind == "post-norm":
                h = norm(h + f(h), residual.norm)
            elif kind == "deep-norm":
                h = norm((2 * LAYERS) ** 0.25 * h + f(h), residual.norm)
            elif kind == "rezero":
                h = h + residual.a * f(h)
            elif kind == "highway":
                t = torch.sigmoid(h @ residual.gate.weight.T + residual.gate.bias)
                h = t * f(h) + (1 - t) * h
            else:
                u = f(h)
                h, d = norm(h + u, residual.norm), d + 0.5 * u
    if kind == "residual-dual":
        return 2.0 * h + norm(d, stack.leave.norm)
    return norm(h, stack.leave) if kind in ("pre-norm", "parallel", "sandwich") else h


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_the_formula_written_out_with_its_gradients(kind: str) -> None:
    model, x = decoder({"kind": kind, **({"scale": 0.5, "alpha": 2.0} if kind == "residual-dual" else {})}), ids()
    direction = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = []
    for y in (features(model, x), written_out(model, x, kind)):
        model.zero_grad()
        (y * direction).sum().backward()
        found.append([y.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(list(model.parameters())) + 1
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-9)


def test_residual_dual_without_its_sum_is_post_norm() -> None:
    dual, post = decoder({"kind": "residual-dual"}), decoder({"kind": "post-norm"})
    mine = dual.state_dict()
    post.load_state_dict({name: mine[name] for name in post.state_dict()})
    with torch.no_grad():
        leave: Any = dual.stacks()[0].leave
        leave.norm.weight.zero_()
        leave.norm.bias.zero_()
    torch.testing.assert_close(features(dual, ids()), features(post, ids()), atol=1e-12, rtol=0)


def test_residual_dual_without_its_stream_is_the_norm_of_its_sum() -> None:
    """With alpha = 0 what leaves is norm(d) alone, as with pre-norm."""
    dual, sums = decoder({"kind": "residual-dual", "alpha": 0.0}), list[Tensor]()
    leave: Any = dual.stacks()[0].leave
    leave.register_forward_pre_hook(lambda _, streams: sums.append(streams[0][1]))
    y = features(dual, ids())
    torch.testing.assert_close(y, norm(sums[0], leave.norm), atol=1e-12, rtol=0)


def test_what_leaves_residual_dual_does_not_depend_on_the_scale() -> None:
    one, tenth = (decoder({"kind": "residual-dual", "scale": s}) for s in (1.0, 0.1))
    torch.testing.assert_close(features(one, ids()), features(tenth, ids()), atol=1e-4, rtol=0)  # eps is 1e-7


def test_residual_dual_keeps_the_eps_of_the_released_code_where_it_leaves() -> None:
    leave: Any = decoder({"kind": "residual-dual"}).stacks()[0].leave
    assert leave.norm.eps == 1e-7
    assert from_data(DecoderConfig, {"norm": "none", "residual": "residual-dual"}).build(5) is not None


def test_alpha_and_beta_are_those_of_the_table() -> None:
    """Wang et al. 2022, fig. 2, for an encoder of 6 layers and a decoder of 3, and alone."""
    assert deep_norm(6, 0, encoder=True) == pytest.approx((12**0.25, 48**-0.25))
    assert deep_norm(3, 0, encoder=False) == pytest.approx((6**0.25, 24**-0.25))
    depth = (6**4 * 3) ** 0.0625
    assert deep_norm(6, 3, encoder=True) == pytest.approx((0.81 * depth, 0.87 / depth))
    assert deep_norm(3, 6, encoder=False) == pytest.approx((9**0.25, 36**-0.25))
    assert deep_norm(18, 18, encoder=True).alpha == pytest.approx(0.81 * math.exp(5 / 16 * math.log(18)))


def test_deep_norm_takes_alpha_from_the_place_or_from_the_user() -> None:
    data = {"width": WIDTH, "layers": 2, "encoder_layers": 4, "mixer": {"heads": 3}, "residual": "deep-norm"}
    above, below = from_data(EncoderDecoderConfig, data).build(VOCAB).stacks()
    alphas = [{cast(Any, r).alpha for block in stack for r in block.residuals} for stack in (above, below)]
    assert alphas == [{deep_norm(4, 2, encoder=True).alpha}, {deep_norm(2, 4, encoder=False).alpha}]
    assert cast(Any, DeepNormConfig(alpha=1.5).build(WIDTH, LayerNorm(), Place(1, 9))).alpha == 1.5


def test_rezero_starts_as_the_identity() -> None:
    model, x = decoder({"kind": "rezero"}, moved=0.0), ids()
    torch.testing.assert_close(features(model, x), cast(Any, model).embed(x, dense(2, 5)), atol=0, rtol=0)
    features(model, x).sum().backward()
    assert all(p.grad is not None and p.grad.abs() > 0 for n, p in model.named_parameters() if n.endswith(".a"))


def test_highway_starts_by_carrying() -> None:
    model = decoder({"kind": "highway", "bias": -3.0}, moved=0.0)
    assert all((p == -3).all() for n, p in model.named_parameters() if n.endswith("gate.bias"))


def test_drop_path_grows_with_the_layer_as_in_the_paper() -> None:
    model = decoder({"kind": "pre-norm", "drop_path": 0.6})
    paths = [cast(Any, r).added.path for block in model.stacks()[0] for r in cast(Block, block).residuals]
    assert paths == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6, 0.6])


def test_drop_path_drops_whole_rows_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    y = torch.randn(20_000, 2, 3)
    z = drop_rows(y, 0.3)
    dropped = (z == 0).all(-1).all(-1)
    torch.testing.assert_close(z[~dropped], y[~dropped] / 0.7)
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.01)  # three standard deviations


def test_drop_path_does_nothing_in_evaluation() -> None:
    model, x = decoder({"kind": "pre-norm", "drop_path": 0.5}), ids(rows=6)
    torch.testing.assert_close(features(model, x), features(decoder({"kind": "pre-norm"}), x), atol=0, rtol=0)
    assert not torch.equal(features(model.train(), x), features(model, x))


def test_drop_path_is_drawn_again_alike_when_activations_are_recomputed() -> None:
    model, x = decoder({"kind": "residual-dual", "drop_path": 0.5, "dropout": 0.2}).train(), ids(rows=6)
    found = []
    for recompute in (False, True):
        for block in model.stacks()[0].blocks if recompute else ():
            inner: Callable[..., Any] = block.forward
            block.forward = lambda *a, f=inner: torch.utils.checkpoint.checkpoint(f, *a, use_reentrant=False)
        torch.manual_seed(5)
        model.zero_grad()
        features(model, x).square().sum().backward()
        found.append([p.grad for p in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_layer_scale_starts_where_it_is_told_and_scales_what_is_added() -> None:
    scaled, x = decoder({"kind": "pre-norm", "layer_scale": 0.125}, moved=0.0), ids()
    gains = [p for n, p in scaled.named_parameters() if n.endswith("added.scale")]
    assert len(gains) == 2 * LAYERS
    assert all(g.shape == (WIDTH,) and (g == 0.125).all() for g in gains)
    y = torch.randn(2, 3, WIDTH)
    added = Added(WIDTH, 0.0, 0.0, 0.1)
    with torch.no_grad():
        assert added.scale is not None
        added.scale.copy_(torch.arange(WIDTH))
    torch.testing.assert_close(added(y), y * torch.arange(WIDTH))
    nothing = decoder({"kind": "pre-norm", "layer_scale": 0.0}, moved=0.0)
    torch.testing.assert_close(
        features(nothing, x), norm(cast(Any, nothing).embed(x, dense(2, 5)), nothing.stacks()[0].leave)
    )


def pair_batch() -> Batch:
    generator = torch.Generator().manual_seed(4)
    source, inputs = (torch.randint(0, VOCAB, (3, n), generator=generator) for n in (6, 5))
    here = right_padded(torch.tensor([5, 2, 4]), 5)
    targets = torch.where(here.valid, inputs.roll(-1, 1), -1)
    return Batch(inputs, here, targets, source, right_padded(torch.tensor([4, 6, 1]), 6))


@pytest.mark.parametrize("norms", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_placement_with_every_norm_learns_and_decodes_step_by_step(kind: str, norms: str) -> None:
    more = {"layer_scale": 0.5, **({} if kind == "none" else {"drop_path": 0.1})}
    data = {"width": WIDTH, "layers": 2, "mixer": {"heads": 3}, "residual": {"kind": kind, **more}, "norm": norms}
    pairs = pair_batch()
    assert pairs.source is not None
    assert pairs.source_layout is not None
    for config in (EncoderDecoderConfig, DecoderConfig):
        model = from_data(config, data).build(VOCAB)
        b = model.given(pairs.inputs, pairs.layout, pairs.source, pairs.source_layout)._replace(targets=pairs.targets)
        (optimizer,) = AdamWConfig(learning_rate=0.01).build(model)
        before = [p.detach().clone() for p in model.parameters()]
        for _ in range(
            3
        ):  # where a starts at 0, gradients pass a decoder at the second step, and an encoder at the third
            model.zero_grad()
            TranslationConfig().build()(model, b).total.backward()
            optimizer.step()
        for (name, p), q in zip(model.named_parameters(), before, strict=True):
            assert p.isfinite().all(), name
            assert not torch.equal(p, q), name
        model.eval()
        with torch.no_grad():
            expected = model.features(b)
            memory = model.remember(b.source, b.source_layout)
            state, parts = model.init_state(3, 5), []
            for t in range(5):
                y, state = model.step(b.inputs[:, [t]], b.layout.slice(t, t + 1), state, memory)
                parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1)[b.layout.valid], expected[b.layout.valid], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "none", "drop_path": 0.2}, "drop_path=0.2 leaves nothing of a row"),
        ({"kind": "pre-norm", "drop_path": 1.0}, "drop_path=1.0 is not a probability below 1"),
        ({"kind": "deep-norm", "alpha": 0}, "alpha=0.0 does not keep the stream"),
        ({"kind": "residual-dual", "scale": 0}, "scale=0.0 must be a positive number"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(DecoderConfig, {"residual": data})


def test_one_stack_has_streams_of_one_kind() -> None:
    data = {"width": WIDTH, "mixer": {"heads": 3}, "layers": [{"residual": "residual-dual"}, {}]}
    with pytest.raises(UserError, match="one stream and with two"):
        from_data(DecoderConfig, data).build(VOCAB)
