"""Numbers as vectors."""

import pytest
import torch

from transduce.errors import UserError
from transduce.model.embed.vectors import VectorsConfig
from transduce.model.layout import dense
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import SinusoidalConfig


def test_a_step_is_mapped_scaled_and_given_its_place() -> None:
    place = SinusoidalConfig().build(8, None)
    made = VectorsConfig().build(3, 8, LayerNorm(), place, scale=2.0, p=0.0)
    x, layout = torch.randn(2, 5, 3), dense(2, 5)
    project = made.project
    assert isinstance(project, torch.nn.Linear)
    expected = place.add(2 * (x @ project.weight.T + project.bias), layout.positions)
    torch.testing.assert_close(made(x, layout), expected)


def test_there_is_no_table_to_share() -> None:
    other = VectorsConfig().build(3, 8, LayerNorm(), SinusoidalConfig().build(8, None), scale=1.0, p=0.0)
    with pytest.raises(UserError, match="no table to share"):
        VectorsConfig().build(3, 8, LayerNorm(), other.positions, scale=1.0, p=0.0, shared=other)
