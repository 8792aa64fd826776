"""What is dropped, where, how often and how much of it: on every kind of part that has a `dropout`."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from transduce.config import from_data, kinds
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch, Steps
from transduce.model.embed.adaptive import AdaptiveEmbeddingConfig
from transduce.model.embed.convolutions import ConvolutionsConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.embed.table import TableConfig
from transduce.model.embed.trajectory import TrajectoryConfig
from transduce.model.embed.vectors import VectorsConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import dense
from transduce.model.mixers.additive import AdditiveConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.block_sparse import BlockSparseConfig
from transduce.model.mixers.differentiable_window import DifferentiableWindowConfig
from transduce.model.mixers.disentangled import DisentangledConfig
from transduce.model.mixers.latent import LatentConfig
from transduce.model.mixers.luong import LuongConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm
from transduce.model.ops.dropout import dropout
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.position import Positions
from transduce.model.residual.residual import ResidualConfig

WIDTH, P = 16, 0.3
DRAWS = 600  # rows, all alike, of which each drops something else
SIGMAS = 5.0


def moved(module: Any) -> Any:
    """Start values that hide nothing, in float64."""
    XavierInit().apply(module, Sizes(WIDTH, 0, 1), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.double()


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def entering(module: nn.Module, run: Callable[[], object]) -> Tensor:
    """What enters a module while something runs."""
    seen = list[Tensor]()
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run()
    handle.remove()
    return seen[-1]


def require_mask(kept: Tensor) -> None:
    """A share P of a mask is dropped, no more often together with a neighbour along any axis than by chance."""
    dropped = (~kept).double()
    assert abs(dropped.mean().item() - P) < SIGMAS * (P * (1 - P) / dropped.numel()) ** 0.5
    for axis in range(kept.ndim):
        if kept.shape[axis] > 1:
            one, other = dropped.narrow(axis, 0, kept.shape[axis] - 1), dropped.narrow(axis, 1, kept.shape[axis] - 1)
            together = (one * other).mean().item()
            assert abs(together - P * P) < 2 * SIGMAS * (P * P / one.numel()) ** 0.5, f"neighbours along axis {axis}"


# --- attention weights: each weight of each head is dropped by itself, after the softmax; the others do not add up to
# one again (as in tensor2tensor and torch.nn.MultiheadAttention)


def heads(x: Tensor, size: int) -> Tensor:
    """(1, N, H * D) -> (H, N, D)."""
    return x[0].unflatten(-1, (-1, size)).transpose(0, 1)


def of_v(m: Any, x: Tensor) -> Tensor:
    """(H, N, D), where a module has a map of values and as many of them as queries."""
    return heads(m.v(x), m.head_dim)


WEIGHTS: list[tuple[str, MixerConfig, Callable[[Any, Tensor], Tensor], int]] = [
    # name, config, values of tokens (H, N, D) with N at most D, tokens
    ("attention", AttentionConfig(heads=2), of_v, 5),
    ("grouped", AttentionConfig(heads=2, kv_heads=1), lambda m, x: of_v(m, x).expand(2, -1, -1), 5),
    ("softcap", AttentionConfig(heads=2, softcap=2.0), of_v, 5),
    ("near", AttentionConfig(heads=2, window=2), of_v, 5),
    ("latent", LatentConfig(heads=2, value=8), lambda m, x: latent_values(m, x), 5),
    ("luong-dot", LuongConfig(score="dot"), lambda m, x: x, 5),
    ("luong-general", LuongConfig(attentional=False), lambda m, x: x, 5),
    ("luong-concat", LuongConfig(score="concat"), lambda m, x: x, 5),
    ("additive", AdditiveConfig(heads=2, value=True), lambda m, x: heads(m.v(x), m.part), 5),
    ("disentangled", DisentangledConfig(heads=2), of_v, 5),
    ("window", DifferentiableWindowConfig(heads=2), of_v, 5),
    ("times window", DifferentiableWindowConfig(heads=2, use="multiplicative"), of_v, 5),
    ("short blocks", BlockSparseConfig(heads=2, block=4, random=0), of_v, 5),
    ("long blocks", BlockSparseConfig(heads=2, block=1, random=0), of_v, 8),
]


def latent_values(m: Any, x: Tensor) -> Tensor:
    c = m.kv_norm(m.kv_latent(x)[..., : m.sizes.rank])
    return heads(m.kv(c), m.sizes.plain + m.sizes.value)[..., m.sizes.plain :]


def used(m: Any, run: Callable[[], object], v: Tensor, joined: bool) -> Tensor:
    """(R, H, T, N): the weights that a run used, found by what came of the values (H, N, D)."""
    y = entering(m.out, run)
    y = y[..., : v.shape[0] * v.shape[2]] if joined else y
    return y.unflatten(-1, (v.shape[0], -1)).transpose(1, 2) @ torch.linalg.pinv(v)


@pytest.mark.parametrize(
    ("config", "values", "tokens"), [case[1:] for case in WEIGHTS], ids=[case[0] for case in WEIGHTS]
)
def test_weights_are_dropped_one_by_one_after_the_softmax(
    config: MixerConfig, values: Callable[[Any, Tensor], Tensor], tokens: int
) -> None:
    torch.manual_seed(0)
    m: Any = moved(replace(cast(Any, config), dropout=P).build(WIDTH, Positions()))
    x = numbers(1, tokens, WIDTH)
    many, grid, joined = (
        x.expand(DRAWS, -1, -1).contiguous(),
        dense(DRAWS, tokens),
        getattr(config, "attentional", False),
    )
    with torch.no_grad():
        v = values(m, x)
    runs: list[Callable[[Tensor, Any], object]] = []
    if "forward" not in m.cannot:
        runs += [lambda x, grid: m(x, grid), lambda x, grid: m.read(x, grid, m.write(x, grid))]
    runs += [lambda x, grid: m.encode(x, grid)]
    for run in runs:
        m.eval()
        exact = used(m, partial(run, x, dense(1, tokens)), v, joined)
        m.train()
        kept = used(m, partial(run, many, grid), v, joined) * (1 - P)
        seen = (exact.abs() > 1e-9).expand_as(kept)
        ratio = (kept / exact).masked_fill(~seen, 0.0)
        assert ((ratio.abs() < 1e-6) | ((ratio - 1).abs() < 1e-6)).all(), "a weight is dropped, or divided by 1 - p"
        assert (kept[~seen].abs() < 1e-9).all(), "what is not seen stays unseen"
        everywhere = seen[0].all(0).all(0)  # keys that all see, so that the mask has a shape
        require_mask(kept.abs()[..., everywhere] > 1e-9) if everywhere.any() else require_mask(kept[seen][None] > 1e-9)
        assert (
            (kept.mean(0) / (1 - P) - exact[0]).abs() <= SIGMAS * exact[0] * (P / (1 - P) / DRAWS) ** 0.5 + 1e-9
        ).all()


# --- feed-forwards: the features between the two maps (Vaswani et al. 2017's released code, `relu_dropout`)


def dropping_feedforwards() -> list[Any]:
    return [k for k in kinds(FeedForwardConfig.folder).values() if "dropout" in {f.name for f in fields(cast(Any, k))}]


@pytest.mark.parametrize("kind", dropping_feedforwards(), ids=lambda k: k.kind)
def test_feedforwards_drop_features_before_the_last_map(kind: Any) -> None:
    torch.manual_seed(0)
    plain, m = moved(kind(hidden=7).build(WIDTH)), moved(kind(hidden=7, dropout=P).build(WIDTH))
    m.load_state_dict(plain.state_dict())
    x = numbers(DRAWS, 5, WIDTH)
    assert torch.equal(m.eval()(x), plain(x))
    assert torch.equal(plain.train()(x), plain.eval()(x))
    exact = entering(m.down, lambda: m.eval()(x))
    kept = entering(m.down, lambda: m.train()(x)) * (1 - P)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, exact))
    live = (exact != 0).flatten()
    require_mask((kept != 0).flatten()[live])


def test_experts_are_the_feedforwards_that_drop() -> None:
    config = {"kind": "experts", "experts": 3, "inner": {"kind": "mlp", "hidden": 7, "dropout": P}, "shared": 1}
    data = {"width": WIDTH, "layers": 1, "mixer": {"heads": 2}, "residual": {"dropout": 0.0}, "feedforward": config}
    require_training_only(moved(from_data(DecoderConfig, data).build(11)))


# --- residuals: each feature of what is added, before it is added and normalised (Vaswani et al., sec. 5.4)


@pytest.mark.parametrize("kind", sorted(kinds(ResidualConfig.folder)))
def test_residuals_drop_features_of_what_they_add_and_nothing_of_the_stream(kind: str) -> None:
    torch.manual_seed(0)
    config = cast(Any, from_data(cast(Any, kinds(ResidualConfig.folder)[kind]), {"dropout": P}))
    plain = moved(replace(config, dropout=0.0).build(WIDTH, LayerNorm()))
    m = moved(config.build(WIDTH, LayerNorm()))
    m.load_state_dict(plain.state_dict())
    x, y = numbers(DRAWS, 5, WIDTH), numbers(DRAWS, 5, WIDTH).flip(0)
    stream = (x, x) if config.streams == 2 else x
    condition = (numbers(DRAWS, WIDTH),) if config.conditioned else ()

    def joined(part: Any, added: Tensor) -> Any:
        return part(stream, lambda _: (added, None), *condition)[0]

    def same(a: Any, b: Any) -> None:
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)

    same(joined(m.eval(), y), joined(plain.train(), y))
    dropped = list[Tensor]()
    handle = m.added.register_forward_hook(lambda *seen: dropped.append(seen[2]))
    out = joined(m.train(), y)
    handle.remove()
    before = plain.norm_after(y) if hasattr(plain, "norm_after") else y  # a sandwich normalises, then drops
    mask = dropped[0] != 0
    torch.testing.assert_close(dropped[0], torch.where(mask, before / (1 - P), 0.0))
    require_mask(mask)
    plain.added = Given(dropped[0])
    same(out, joined(plain, y))


class Given(nn.Module):
    """What is added, whatever it is asked."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, _: Tensor) -> Tensor:
        return self.x


# --- embeddings: the sum of tokens and positions (Vaswani et al., sec. 5.4), behind its norm where it has one (BERT)


def embeddings() -> list[EmbeddingConfig]:
    return [
        TableConfig(), TableConfig(types=2, norm=True), TableConfig(size=6), TableConfig(size=6, norm=True),
        TableConfig(size=6, project_first=True), TableConfig(size=6, norm=True, norm_last=True),
        AdaptiveEmbeddingConfig(cutoffs=(5, 9), div=2), VectorsConfig(),
    ]  # fmt: skip


@pytest.mark.parametrize("config", embeddings(), ids=str)
def test_embeddings_drop_features_of_tokens_with_their_positions(config: EmbeddingConfig) -> None:
    """Behind all but the map that brings few features to the width, which comes last where nothing else is said."""
    torch.manual_seed(0)
    place = LearnedConfig(limit=9).build(config.added_at(WIDTH), None)
    options: dict[str, Any] = {"scale": 2.0}
    plain = moved(config.build(11, WIDTH, LayerNorm(), place, p=0.0, **options))
    m = moved(config.build(11, WIDTH, LayerNorm(), place, p=P, **options))
    m.load_state_dict(plain.state_dict())
    ids, grid = torch.randint(0, 11, (DRAWS, 5)), dense(DRAWS, 5)
    ids = numbers(DRAWS, 5, 11) if isinstance(config, VectorsConfig) else ids
    exact = m.eval()(ids, grid)
    torch.testing.assert_close(exact, plain.train()(ids, grid), atol=0, rtol=0)
    last = getattr(config, "size", None) and not (config.project_first or config.norm_last)  # type: ignore[attr-defined]
    if last:
        exact = entering(m.project, lambda: m(ids, grid))
        kept = entering(m.project, lambda: m.train()(ids, grid))
    else:
        kept = m.train()(ids, grid)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, exact / (1 - P)), atol=1e-12, rtol=1e-12)
    require_mask(kept != 0)


SEEING: list[EmbeddingConfig] = [
    PatchesConfig(picture=(4, 6), patch=2, class_token=True), ConvolutionsConfig(picture=(8, 8)),
]  # fmt: skip


@pytest.mark.parametrize("config", SEEING, ids=lambda config: config.kind)
def test_embeddings_of_pictures_drop_features_with_their_positions(config: EmbeddingConfig) -> None:
    torch.manual_seed(0)
    place = LearnedConfig(limit=64).build(config.added_at(WIDTH), None)
    plain = moved(config.build(3, WIDTH, LayerNorm(), place, scale=2.0, p=0.0))
    m = moved(config.build(3, WIDTH, LayerNorm(), place, scale=2.0, p=P))
    m.load_state_dict(plain.state_dict())
    height, width = config.picture  # type: ignore[attr-defined]
    pictures, grid = torch.randn(DRAWS // 8, 3, height, width).double(), dense(DRAWS // 8, 1)
    exact = m.eval()(pictures, grid)
    torch.testing.assert_close(exact, plain.eval()(pictures, grid), atol=0, rtol=0)
    m.train()
    for part in m.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    kept = m(pictures, grid)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, exact / (1 - P)), atol=1e-12, rtol=1e-12)
    require_mask(kept != 0)


def test_stems_of_sounds_drop_features_with_their_positions() -> None:
    torch.manual_seed(0)
    config, place = FramesConfig(), LearnedConfig(limit=9).build(WIDTH, None)
    plain = moved(config.build(3, WIDTH, LayerNorm(), place, scale=2.0, p=0.0))
    m = moved(config.build(3, WIDTH, LayerNorm(), place, scale=2.0, p=P))
    m.load_state_dict(plain.state_dict())
    frames, grid = torch.randn(DRAWS // 4, 7, 3).double(), dense(DRAWS // 4, 7)
    exact = m.eval()(frames, grid)
    torch.testing.assert_close(exact, plain.train()(frames, grid), atol=0, rtol=0)
    kept = m.train()(frames, grid)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, exact / (1 - P)), atol=1e-12, rtol=1e-12)
    require_mask(kept != 0)


def test_steps_of_episodes_drop_features_with_their_positions() -> None:
    torch.manual_seed(0)
    config, place = TrajectoryConfig(actions=4, steps=5), LearnedConfig(limit=15).build(WIDTH, None)
    plain = moved(config.build(3, WIDTH, LayerNorm(), place, scale=1.0, p=0.0))
    m = moved(config.build(3, WIDTH, LayerNorm(), place, scale=1.0, p=P))
    m.load_state_dict(plain.state_dict())
    rows = DRAWS // 8
    times = torch.arange(5).expand(rows, -1)
    steps, grid = Steps(torch.randn(rows, 5, 1), torch.randn(rows, 5, 3), times % 4, times), dense(rows, 15)
    exact = m.eval()(steps, grid)
    torch.testing.assert_close(exact, plain.train()(steps, grid), atol=0, rtol=0)
    kept = m.train()(steps, grid)
    torch.testing.assert_close(kept, torch.where(kept == 0, 0.0, exact / (1 - P)), atol=1e-12, rtol=1e-12)
    require_mask(kept != 0)


def test_every_kind_of_embedding_is_among_these() -> None:
    assert {type(config) for config in (*embeddings(), *SEEING, FramesConfig(), TrajectoryConfig())} == set(
        kinds(EmbeddingConfig.folder).values()
    )


# --- a whole model


def require_training_only(model: Model) -> None:
    ids = torch.randint(0, 11, (4, 9), generator=torch.Generator().manual_seed(3))
    batch = Batch(ids, dense(4, 9), ids)
    model.eval()
    assert torch.equal(model.features(batch), model.features(batch))
    exact = model.features(batch)
    model.train()
    one, two = model.features(batch), model.features(batch)
    assert ((one - exact).abs().amax(-1) > 1e-6).all()
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    "where",
    [
        {"residual": {"dropout": P}},
        {"residual": {"dropout": 0.0}, "mixer": {"heads": 2, "dropout": P}},
        {"residual": {"dropout": 0.0}, "feedforward": {"kind": "gated", "dropout": P}},
    ],
    ids=str,
)
def test_a_model_drops_in_training_only_wherever_it_does(where: dict[str, Any]) -> None:
    data = {"width": WIDTH, "layers": 2, "mixer": {"heads": 2}, **where}
    require_training_only(moved(from_data(DecoderConfig, data).build(11)))


@pytest.mark.parametrize("device_draws", [False, True])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_mean_is_kept_and_the_share_is_met(p: float, device_draws: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By our draws on a CPU, and by those of torch, which are used elsewhere and when compiled."""
    torch.manual_seed(0)
    if device_draws:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x = torch.full((257, 1021), 3.0)
    y = dropout(x, p, training=True)
    sigma = (p * (1 - p) / x.numel()) ** 0.5
    assert abs((y == 0).double().mean().item() - p) < SIGMAS * sigma + 1 / (1 << 16)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 3.0 / (1 - p)))
    assert abs(y.double().mean().item() - 3.0) < SIGMAS * 3.0 * (p / (1 - p) / x.numel()) ** 0.5 + 1e-3
    assert dropout(x, p, training=False) is x
    assert dropout(x, 0.0, training=True) is x
