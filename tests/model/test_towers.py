"""Two towers: each reads alone, vectors have length 1, padding changes nothing, the scale begins as in the paper."""

import math

import pytest
import torch

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture.towers import TowersConfig
from transduce.model.batch import Batch
from transduce.model.heads.joint import Joint
from transduce.model.layout import dense, right_padded
from transduce.model.towers import Towers, sides

SIZES = {
    "width": 12, "layers": 2, "text_layers": 1, "channels": 3, "mixer": {"kind": "attention", "heads": 3},
    "embedding": {"kind": "patches", "patch": 2, "picture": [6, 4]}, "head": {"kind": "joint", "features": 5},
}  # fmt: skip


def towers(**more: object) -> Towers:
    model = from_data(TowersConfig, {**SIZES, **more}).build(23).double().eval()
    assert isinstance(model, Towers)
    return model


def vectors(model: Towers, pictures: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    one, other = sides(model) or (model, model)
    first = Batch(pictures, dense(len(pictures), 1), ids)
    second = Batch(ids, dense(len(ids), ids.shape[1]), ids)
    u = one.pooled_head(one.features(first), one.arranged(first.layout))
    return u, other.pooled_head(other.features(second), other.arranged(second.layout))


@pytest.mark.parametrize("mixer", ["attention", "lstm", "gated-delta"])
def test_a_pair_alone_has_the_vectors_it_has_among_others(mixer: str) -> None:
    model, generator = towers(mixer={"kind": mixer}), torch.Generator().manual_seed(0)
    pictures = torch.randn(4, 3, 6, 4, generator=generator, dtype=torch.float64)
    ids = torch.randint(0, 23, (4, 7), generator=generator)
    u, v = vectors(model, pictures, ids)
    for row in range(4):
        one, other = vectors(model, pictures[row : row + 1], ids[row : row + 1])
        torch.testing.assert_close(one[0], u[row], atol=1e-12, rtol=0)
        torch.testing.assert_close(other[0], v[row], atol=1e-12, rtol=0)
    torch.testing.assert_close(u.norm(dim=-1), torch.ones(4, dtype=torch.float64))
    layout = right_padded(torch.tensor([7, 3, 1, 5]), 7)
    batch = Batch(ids, layout, ids)
    padded = model.pooled_head(model.features(batch), model.arranged(layout))
    for row, length in enumerate((7, 3, 1, 5)):
        torch.testing.assert_close(
            vectors(model, pictures[:1], ids[row : row + 1, :length])[1][0], padded[row], atol=1e-12, rtol=0
        )


def test_nothing_moves_between_the_towers() -> None:
    model = towers()
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"pictures", "texts"}
    u, v = vectors(model, torch.randn(2, 3, 6, 4, dtype=torch.float64), torch.tensor([[1, 2], [3, 4]]))
    u.sum().backward()
    assert all(p.grad is None for p in model.texts.parameters())
    v.sum().backward()
    assert all(p.grad is not None for n, p in model.texts.named_parameters() if "log_scale" not in n)
    assert [tower.name for tower in model.towers()] == ["pictures", "texts"]


def test_there_is_one_scale_which_begins_as_in_the_paper() -> None:
    model = towers()
    assert isinstance(model.pictures.head, Joint)
    assert isinstance(model.texts.head, Joint)
    assert model.pictures.head.log_scale is None
    assert model.texts.head.log_scale is not None
    assert math.isclose(float(model.texts.head.log_scale.detach()), math.log(1 / 0.07), rel_tol=1e-6)
    u = torch.eye(5)[:2]
    assert torch.allclose(model.texts.head.scores(u, u), u @ u.T / 0.07)
    with torch.no_grad():
        model.texts.head.log_scale.fill_(9.0)  # exp(9) is more than 100
    assert float(model.texts.head.scores(u, u).detach().max()) == pytest.approx(100)


def test_what_it_cannot_be_asked_is_said() -> None:
    model = towers()
    pictures = torch.randn(1, 3, 6, 4, dtype=torch.float64)
    with pytest.raises(UserError, match="tower of its own"):
        model.features(Batch(pictures, dense(1, 1), pictures))
    with pytest.raises(UserError, match="token by token"):
        model.init_state(1, 4)
    with pytest.raises(UserError, match=r"model\.channels"):
        from_data(TowersConfig, {**SIZES, "channels": None}).build(23)
    for head, what in (({"scale": 200}, "at most 100"), ({"features": 0}, "features=0")):
        with pytest.raises(UserError, match=what):
            from_data(TowersConfig, {**SIZES, "head": {"kind": "joint", **head}})
