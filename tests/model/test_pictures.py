"""Embeddings of pictures and positions in a grid: shapes, published code, formulas, and that pictures stay apart."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import ViTConfig
from transformers.models.vit.modeling_vit import ViTEmbeddings

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.batch import Batch
from transduce.model.embed.convolutions import Conv, ConvolutionsConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.patches import Patches, PatchesConfig, suited
from transduce.model.embed.pictures import PictureEmbeddingConfig
from transduce.model.layout import Grid, Layout, dense
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.grid import Learned2dConfig, Sinusoidal2dConfig
from transduce.model.positions.position import Positions

WIDTH, CHANNELS = 12, 3
EMBEDDINGS: list[PictureEmbeddingConfig] = [
    PatchesConfig(picture=(8, 12), patch=4),
    PatchesConfig(picture=(8, 12), patch=4, class_token=True, norm=True, bias=False),
    PatchesConfig(picture=(9, 13), patch=5, stride=2, class_token=True),
    PatchesConfig(picture=(1, 1), patch=1),
    ConvolutionsConfig(picture=(8, 13), widths=(4, 16), strides=(2, 3)),
    ConvolutionsConfig(picture=(7, 5), widths=(8, 6), strides=(1, 2), blocks=2, class_token=True),
    ConvolutionsConfig(picture=(1, 1), widths=(5,), strides=(4,), kernel=5, blocks=1),
]
NAMES = [f"{config.kind}-{i}" for i, config in enumerate(EMBEDDINGS)]


def model_of(embedding: dict[str, Any], over: dict[str, Any] | None = None, channels: int = CHANNELS) -> Model:
    data = {
        "width": WIDTH, "layers": 1, "mixer": {"kind": "attention", "heads": 2}, "positions": "sinusoidal-2d",
        "embedding": embedding, "head": {"kind": "classes", "classes": 4, "pool": ["mean"]}, **(over or {}),
    }  # fmt: skip
    return from_data(EncoderConfig, data).build(channels).double().eval()


def built(config: PictureEmbeddingConfig, positions: Positions | None = None):
    embedding = config.build(CHANNELS, WIDTH, LayerNorm(), positions or Positions(), scale=1.0, p=0.0).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)
    return embedding


def pictures(config: PictureEmbeddingConfig, rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, CHANNELS, *config.sides(), generator=generator, dtype=torch.float64)


def test_every_embedding_of_pictures_stands_here() -> None:
    own = {kind for kind, cls in kinds(EmbeddingConfig.folder).items() if issubclass(cls, PictureEmbeddingConfig)}
    assert own == {config.kind for config in EMBEDDINGS}


@pytest.mark.parametrize("config", EMBEDDINGS, ids=NAMES)
def test_arrange_says_what_comes_out(config: PictureEmbeddingConfig) -> None:
    embedding, layout = built(config), dense(3, 1)
    arranged = embedding.arrange(layout)
    assert embedding(pictures(config, 3), layout).shape == (*arranged.positions.shape, WIDTH)
    assert arranged.positions[2].tolist() == list(range(arranged.positions.shape[1]))
    assert arranged.grid is not None
    before = int(config.class_token)
    places = list(zip(arranged.grid.rows[1].tolist(), arranged.grid.columns[1].tolist(), strict=True))
    rows, columns = max(r for r, _ in places) + 1, max(c for _, c in places) + 1
    assert places[:before] == [(-1, -1)] * before
    assert places[before:] == [(r, c) for r in range(rows) for c in range(columns)]


@pytest.mark.parametrize("config", EMBEDDINGS, ids=NAMES)
def test_a_picture_alone_is_what_it_is_in_a_batch(config: PictureEmbeddingConfig) -> None:
    embedding, some = built(config), pictures(config, 5)
    together = embedding(some, dense(5, 1))
    for row in range(5):
        alone = embedding(some[row : row + 1], dense(1, 1))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-10, atol=1e-10)


def test_patches_are_those_of_vit() -> None:
    theirs = ViTEmbeddings(ViTConfig(hidden_size=WIDTH, image_size=8, patch_size=4, num_channels=CHANNELS)).double()
    config = {"kind": "patches", "picture": [8, 8], "patch": 4, "class_token": True}
    model = model_of(config, {"positions": {"kind": "learned", "limit": 5}, "scale_embedding": False})
    ours = model.towers()[0].embed
    assert isinstance(ours, Patches)
    with torch.no_grad():
        projection = theirs.patch_embeddings.projection
        ours.project.weight.copy_(projection.weight.flatten(1))
        ours.project.bias.copy_(projection.bias)
        assert ours.first is not None
        theirs.cls_token.copy_(ours.first[None, None])
        theirs.position_embeddings.copy_(ours.positions.weight[None])
    some = torch.randn(2, CHANNELS, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(some, dense(2, 1)), theirs(some), rtol=1e-10, atol=1e-10)


def test_patches_that_do_not_overlap_are_those_that_do_with_their_own_stride() -> None:
    own = built(PatchesConfig(picture=(8, 12), patch=4))
    some = pictures(PatchesConfig(picture=(8, 12), patch=4), 2)
    unfolded = torch.nn.functional.unfold(some, 4, stride=4).mT
    assert torch.equal(own.cut(some), unfolded)


def test_a_convolution_is_that_of_torch() -> None:
    own, some = Conv(3, 5, 3, 2), torch.randn(2, 3, 7, 8)
    torch.nn.init.normal_(own.weight)
    expected = torch.nn.functional.conv2d(some, own.weight.view(5, 3, 3, 3), stride=2, padding=1)
    torch.testing.assert_close(own(some), expected)


@pytest.mark.parametrize(
    ("picture", "patch"), [((28, 28), 4), ((32, 32), 4), ((224, 224), 16), ((7, 5), 1), ((1, 1), 1)]
)
def test_a_patch_follows_from_the_picture(picture: tuple[int, int], patch: int) -> None:
    assert suited(picture) == patch


def of_mae(width: int, side: int) -> np.ndarray:
    """As facebookresearch/mae has it in util/pos_embed.py: columns go first."""
    columns, rows = np.meshgrid(np.arange(side, dtype=np.float64), np.arange(side, dtype=np.float64))
    omega = 1 / 10000 ** (np.arange(width // 4, dtype=np.float64) / (width / 4))
    halves = [np.outer(places.reshape(-1), omega) for places in (columns, rows)]
    return np.concatenate([f(half) for half in halves for f in (np.sin, np.cos)], axis=1)


def test_sines_and_cosines_are_those_of_mae() -> None:
    grid = Grid(*(x.flatten()[None] for x in torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")))
    added = (
        Sinusoidal2dConfig().build(16, None).add_to(torch.zeros(1, 25, 16), Layout(torch.arange(25)[None], grid=grid))
    )
    torch.testing.assert_close(added[0], torch.from_numpy(of_mae(16, 5)).float(), rtol=0, atol=1e-6)


def test_learned_places_are_a_row_and_a_column_and_none_for_a_class_token() -> None:
    ours = Learned2dConfig(limit=4).build(6, None)
    with torch.no_grad():
        for parameter in ours.parameters():
            torch.nn.init.normal_(parameter)
    grid = Grid(torch.tensor([[-1, 0, 2]]), torch.tensor([[-1, 3, 1]]))
    added = ours.add_to(torch.zeros(1, 3, 6), Layout(torch.arange(3)[None], grid=grid))[0]
    assert not added[0].any()
    rows, columns = ours.get_parameter("rows"), ours.get_parameter("columns")
    torch.testing.assert_close(added[1], torch.cat([rows[0], columns[3]]))
    torch.testing.assert_close(added[2], torch.cat([rows[2], columns[1]]))


@pytest.mark.parametrize("kind", ["sinusoidal-2d", "learned-2d"])
def test_patches_moved_with_their_places_change_nothing(kind: str) -> None:
    """Attention does not know the order in which patches are given, only where they stand."""
    model = model_of({"kind": "patches", "picture": [8, 12], "patch": 4}, {"positions": kind})
    embedding = model.towers()[0].embed
    x, layout = (
        embedding(torch.randn(2, CHANNELS, 8, 12, dtype=torch.float64), dense(2, 1)),
        embedding.arrange(dense(2, 1)),
    )
    order = torch.randperm(6)
    stack = model.stacks()[0]
    torch.testing.assert_close(stack(x[:, order], layout)[0], stack(x, layout)[0][:, order])


@pytest.mark.parametrize("mixer", ["attention", "lstm", "gated-delta", "ssm", "none"])
def test_any_mixer_stands_in_attention_s_place(mixer: str) -> None:
    parts = {"mixer": {"kind": mixer, "heads": 2} if mixer in ("attention", "gated-delta") else mixer, "width": 16}
    model = model_of({"kind": "patches", "picture": [8, 12], "patch": 4}, parts)
    some, layout = torch.randn(3, CHANNELS, 8, 12, dtype=torch.float64), dense(3, 1)
    together = model.pooled_head(model.features(Batch(some, layout, some)), model.arranged(layout))
    assert together.shape == (3, 4)
    for row in range(3):
        one = some[row : row + 1]
        alone = model.pooled_head(model.features(Batch(one, dense(1, 1), one)), model.arranged(dense(1, 1)))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-6, atol=1e-6)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"kind": "patches"}, {}, "does not know how large pictures are"),
    ({"kind": "patches", "picture": [9, 8], "patch": 4}, {}, "height 9 are not whole patches of 4"),
    ({"kind": "patches", "picture": [3, 3], "patch": 4}, {}, "are not whole patches"),
    ({"kind": "patches", "picture": [8, 8], "patch": 2, "stride": 3}, {}, "leaves out pixels"),
    ({"kind": "patches", "picture": [8]}, {}, "is not a height and a width"),
    ({"kind": "patches", "picture": [8, 8], "patch": 2}, {"positions": {"kind": "learned", "limit": 9}}, "16 slots"),
    ({"kind": "patches", "picture": [8, 8], "patch": 1}, {"positions": {"kind": "learned-2d", "limit": 4}}, "8 rows"),
    ({"kind": "patches", "picture": [8, 8], "patch": 4}, {"width": 10}, "no multiple of 4"),
    ({"kind": "convolutions", "picture": [8, 8], "widths": [4], "strides": [1, 2]}, {}, "one number for each stage"),
    ({"kind": "convolutions", "picture": [8, 8], "kernel": 2}, {}, "has no middle"),
]


@pytest.mark.parametrize(("embedding", "over", "sentence"), REFUSED, ids=[sentence for _, _, sentence in REFUSED])
def test_what_does_not_fit_gets_a_sentence(embedding: dict[str, Any], over: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        model_of(embedding, over)


def test_pictures_of_another_size_and_text_on_a_grid_are_refused() -> None:
    model = model_of({"kind": "patches", "picture": [8, 8], "patch": 4})
    some = torch.randn(1, CHANNELS, 8, 12, dtype=torch.float64)
    with pytest.raises(UserError, match="8 by 12 pixels, but this model reads 8 by 8"):
        model.features(Batch(some, dense(1, 1), some))
    text = from_data(EncoderConfig, {"width": 8, "layers": 1, "mixer": "lstm", "positions": "learned-2d"}).build(5)
    ids = torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(UserError, match="these inputs are a line"):
        text.features(Batch(ids, dense(1, 3), ids))
