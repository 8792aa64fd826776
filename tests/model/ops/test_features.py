import pytest
import torch

from transduce.errors import UserError
from transduce.model.ops.features import Favor, dpfp, elu, feature_map, require_nu, sum_normalised


def test_sizes_and_signs() -> None:
    x = torch.randn(3, 11, 6, dtype=torch.float64)
    for name, size in (("elu", 6), ("relu", 6), ("dpfp", 36), ("favor", 17), ("identity", 6)):
        phi, features = feature_map(name, 6, nu=3, features=17)  # type: ignore[arg-type]
        assert features == size
        assert phi(x).shape == (3, 11, size)
        assert phi(x).dtype == x.dtype
        assert name == "identity" or (phi(x) >= 0).all()
    assert (elu(x) > 0).all()
    assert feature_map("favor", 64)[1] == 266  # 64 ln 64


def test_dpfp_is_its_formula() -> None:
    x = torch.randn(5)
    y = [*x.clamp(min=0), *(-x).clamp(min=0)]
    expected = torch.stack([y[i] * y[i - j] for j in (1, 2) for i in range(10)])
    torch.testing.assert_close(dpfp(x, nu=2), expected)


def test_dpfp_of_opposite_quadrants_is_orthogonal() -> None:
    x = torch.randn(100, 2)
    assert not (dpfp(x) * dpfp(-x)).sum(-1).any()
    quadrants = torch.tensor([[1.0, 2.0], [-1.0, 2.0], [-1.0, -2.0], [1.0, -2.0]])
    gram = dpfp(quadrants) @ dpfp(quadrants).T
    assert torch.equal(gram, gram.diag().diag())
    assert (gram.diag() > 0).all()


def test_a_quarter_of_dpfp_is_not_zero() -> None:
    x = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    for nu in (1, 3):
        assert abs((dpfp(x, nu) != 0).float().mean().item() - 0.25) < 0.01


def test_sums_are_one() -> None:
    phi = sum_normalised(elu(torch.randn(20, 8, dtype=torch.float64)))
    torch.testing.assert_close(phi.sum(-1), torch.ones(20, dtype=torch.float64), atol=1e-5, rtol=0)
    assert not sum_normalised(torch.zeros(4)).any()


def test_favor_is_the_kernel_of_attention_on_average() -> None:
    """The error falls like one over the root of the number of features."""
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(40, 8, generator=g, dtype=torch.float64) / 2 for _ in range(2))
    kernel = (q @ k.T / 8**0.5).exp()

    def error(features: int) -> float:
        maps = [Favor(8, features, seed) for seed in range(8)]
        return torch.stack([(m(q) @ m(k).T / kernel - 1).square().mean() for m in maps]).mean().sqrt().item()

    few, more, many = error(32), error(512), error(8192)
    assert more < 0.5 * few
    assert many < 0.5 * more
    assert many < 0.05


def test_favor_directions_are_orthogonal_and_as_long_as_normal_ones() -> None:
    projection = Favor(16, 4000, seed=0).projection.double()
    block = projection[16:32]
    gram = block @ block.T
    torch.testing.assert_close(gram, gram.diag().diag(), atol=1e-4, rtol=0)
    assert abs(projection.square().sum(-1).mean().item() - 16) < 0.5
    assert projection.square().sum(-1).std() > 4  # chi squared with 16 degrees: sqrt(32)


def test_favor_is_drawn_from_its_seed_and_kept_in_checkpoints() -> None:
    one, same, other = (Favor(4, 9, seed) for seed in (3, 3, 4))
    assert torch.equal(one.projection, same.projection)
    assert not torch.equal(one.projection, other.projection)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.projection, other.projection)


def test_favor_does_not_overflow() -> None:
    x = torch.linspace(-1000, 1000, 64).expand(3, 64)
    assert Favor(64, 256, seed=0)(x).isfinite().all()


def test_too_many_shifts_are_refused() -> None:
    with pytest.raises(UserError, match="from 1 to 7"):
        require_nu(8, 4)
